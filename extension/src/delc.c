/*
 * delc.c: loading of the extension's library.
 */
#include "delc.h"

#if PG_VERSION_NUM >= 180000
PG_MODULE_MAGIC_EXT(
					.name = "delc",
					.version = "0.1.0"
);
#else
PG_MODULE_MAGIC;
#endif

PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	delc_define_settings();
	delc_progress_initialize();
	delc_failed_run_initialize();
}
