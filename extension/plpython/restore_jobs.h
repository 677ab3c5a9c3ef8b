/*
 * restore_jobs.h: chains of stored values, decoded in threads.
 */
#ifndef DELC_RESTORE_JOBS_H
#define DELC_RESTORE_JOBS_H

#include <setjmp.h>

#include "fetched.h"

struct ThreadedBlock;

typedef struct RestoreJob
{
	/* what is to be done */
	int			count;			/* of values, in the order of the chain */
	const FetchedValue *values;
	int			planes;			/* to decode; 0: all */
	int			keep;			/* planes of what was decoded; 0: all */
	const char *base;			/* the numbers that all values are deltas from, or NULL */
	int64		base_bytes;
	const char *grandbase;		/* those that it is a delta from itself, or NULL */
	char	   *into;			/* where the numbers are to be put, or NULL: into memory of their own */
	int64		into_bytes;

	/* what came of it */
	bool		done;			/* if not: an interrupt is waiting, or failed */
	bool		failed;
	bool		out_of_memory;	/* if failed: nothing is wrong with the values */
	char		message[512];
	char		detail[512];
	DelcTensorHeader header;
	uint32		checksum;		/* delc.checksum() of the numbers; 0 if not all were decoded or kept */
	void	   *memory;			/* for threaded_release(), by the caller; NULL with into */
	char	   *numbers;		/* in it */

	/* while it is under way */
	struct ThreadedBlock *blocks;
	jmp_buf		escape;
} RestoreJob;

/* Does all jobs, in at most so many threads, the caller's own among them. */
extern void restore_jobs(RestoreJob *jobs, int count, int threads);

/* Zeros in the bytes of numbers below the first planes (0: all are kept). */
extern void keep_planes(const DelcTensorHeader *header, char *numbers, int planes);

/* One job, in the caller's thread. */
extern void threaded_run(RestoreJob *job, void (*work) (RestoreJob *job));
extern void threaded_keep(RestoreJob *job, char *numbers);
extern void threaded_release(void *memory);
extern void threaded_rest(void);

#endif							/* DELC_RESTORE_JOBS_H */
