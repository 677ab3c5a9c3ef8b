/*
 * settings.c: the configuration settings of the extension.
 */
#include "delc.h"

#include <limits.h>

#include "utils/guc.h"

#ifndef DELC_PYTHON_PATH
#define DELC_PYTHON_PATH "/usr/local/lib/delc/python"
#endif

char	   *delc_python_path = NULL;
int			delc_memory_limit_mb = 4096;
int			delc_threads = 0;
int			delc_trial_workers = 0;
int			delc_cache_size_mb = 1024;

void
delc_define_settings(void)
{
	/*
	 * Whoever sets this path decides what code the server's operating-system
	 * user runs, so only superusers may, and the reserved prefix below keeps
	 * a placeholder of the same name from taking its place.
	 */
	DefineCustomStringVariable("delc.python_path",
							   "Folders, separated by colons, where the server finds the package delc and its libraries.",
							   NULL,
							   &delc_python_path,
							   DELC_PYTHON_PATH,
							   PGC_SUSET, 0,
							   NULL, NULL, NULL);

	DefineCustomIntVariable("delc.memory_limit",
							"How much memory one call of delc may take.",
							"A call that needs more ends with an error before it takes it.",
							&delc_memory_limit_mb,
							4096, 16, INT_MAX,
							PGC_SUSET, GUC_UNIT_MB,
							NULL, NULL, NULL);

	DefineCustomIntVariable("delc.threads",
							"How many threads training and prediction use; 0 means one for each processor.",
							NULL,
							&delc_threads,
							0, 0, 1024,
							PGC_USERSET, 0,
							NULL, NULL, NULL);

	DefineCustomIntVariable("delc.trial_workers",
							"How many trials of a query run at a time; 0 means one for each processor, 1 in the session's own process.",
							NULL,
							&delc_trial_workers,
							0, 0, 1024,
							PGC_USERSET, 0,
							NULL, NULL, NULL);

	/*
	 * All sessions share what it bounds, so it is not for a single one to set.
	 */
	DefineCustomIntVariable("delc.cache_size",
							"How much disk the parameters may take that all sessions map into their memory.",
							"0 means that each session reads parameters for itself.",
							&delc_cache_size_mb,
							1024, 0, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_MB,
							NULL, NULL, NULL);

#if PG_VERSION_NUM >= 150000
	MarkGUCPrefixReserved("delc");
#else
	EmitWarningsOnPlaceholders("delc");
#endif
}

const char *
delc_setting_python_path(void)
{
	return delc_python_path;
}
