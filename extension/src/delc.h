/*
 * delc.h: what the parts of delc.so share, and what delc_plpython.so may call.
 */
#ifndef DELC_H
#define DELC_H

#include "postgres.h"

#include "fmgr.h"

#if PG_VERSION_NUM < 140000
#error "delc needs PostgreSQL 14 or later"
#endif

/* settings.c */
extern char *delc_python_path;
extern int	delc_memory_limit_mb;
extern int	delc_threads;
extern int	delc_cache_size_mb;
extern void delc_define_settings(void);
extern PGDLLEXPORT const char *delc_setting_python_path(void);

/* progress.c */
extern void delc_progress_initialize(void);
extern PGDLLEXPORT void delc_progress_start(int64 run_id, const char *operation, const char *subject);
extern PGDLLEXPORT void delc_progress_report(const char *phase, int epoch, int epochs,
											 int64 batch, int64 batches, double loss);
extern PGDLLEXPORT void delc_progress_end(void);

/* failed_run.c */
extern void delc_failed_run_initialize(void);

#endif							/* DELC_H */
