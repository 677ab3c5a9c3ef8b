/*
 * restore_jobs.c: decodes chains of fetched values in threads.
 *
 * Threads compute on memory of their own and read what was fetched.  They
 * are joined before anything else happens; signals are blocked in them, so that
 * PostgreSQL's handlers run in its own thread, whose flags stop the work.
 */
#include "threaded.h"
#include "restore_jobs.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

/* ---- one job ---- */

/* A copy of numbers that the chain may write over or free. */
static char *
copied(const char *numbers, int64 bytes)
{
	return memcpy(threaded_alloc(Max(bytes, 1)), numbers, bytes);
}

/* A chain that goes on from numbers that others still need. */
static void
continue_chain(DeltaChain *chain, const RestoreJob *job)
{
	DeltaLayout layout;

	delc_delta_parse(&layout, job->values[0].bytes, job->values[0].total, ERRCODE_DATA_CORRUPTED);
	chain->header = layout.base;
	if (layout.base.raw_bytes != job->base_bytes)
		delc_delta_damaged("It is from a base of another size.");
	if (chain->planes >= chain->header.item_size)
		chain->planes = 0;
	chain->numbers = copied(job->base, job->base_bytes);
	chain->crc = delc_crc32c(chain->numbers, job->base_bytes);
	if (job->grandbase != NULL)
	{
		chain->previous = copied(job->grandbase, job->base_bytes);
		chain->previous_crc = delc_crc32c(chain->previous, job->base_bytes);
	}
	chain->values = 1;
}

#define DEFINE_KEEP_PLANES(type) \
static void \
keep_##type(type *numbers, int64 elements, int zeros) \
{ \
	type		mask = (type) (~UINT64CONST(0) << (8 * zeros)); \
	for (int64 i = 0; i < elements; i++) \
		numbers[i] &= mask; \
}

DEFINE_KEEP_PLANES(uint16)
DEFINE_KEEP_PLANES(uint32)
DEFINE_KEEP_PLANES(uint64)

/* Zeros in the bytes below the first planes (0: all are kept). */
void
keep_planes(const DelcTensorHeader *header, char *numbers, int planes)
{
	int			zeros = header->item_size - planes;

	if (planes < 1 || zeros < 1)
		return;
	if (header->item_size == 2)
		keep_uint16((uint16 *) numbers, header->elements, zeros);
	else if (header->item_size == 4)
		keep_uint32((uint32 *) numbers, header->elements, zeros);
	else
		keep_uint64((uint64 *) numbers, header->elements, zeros);
}

/* As delc.checksum(). */
static uint32
checksum_of(const DelcTensorHeader *header, const char *numbers)
{
	uint8		kind[2] = {header->dtype, header->rank};
	uint32		crc = delc_crc32c_add(CRC32C_START, kind, sizeof(kind));

	crc = delc_crc32c_add(crc, header->dims, header->rank * sizeof(int64));
	return delc_crc32c_add(crc, numbers, header->raw_bytes) ^ 0xFFFFFFFF;
}

static void
check_room(const RestoreJob *job, const DelcTensorHeader *header)
{
	if (job->into != NULL && header->raw_bytes != job->into_bytes)
		delc_delta_damaged("It has another size than it should have.");
}

/* A value that is whole, for which no chain has to be watched. */
static void
decode_whole(DeltaChain *chain, const RestoreJob *job)
{
	const FetchedValue *value = &job->values[0];
	TensorLayout layout;

	delc_layout_parse(&layout, value->bytes, value->total, ERRCODE_DATA_CORRUPTED);
	chain->header = layout.header;
	check_room(job, &layout.header);
	chain->numbers = job->into != NULL ? job->into : threaded_alloc(Max(layout.header.raw_bytes, 1));
	delc_bytes_decode(value->bytes, value->total,
					  chain->planes == 0 ? 0 : delc_planes_of_bytes(&layout, chain->planes), chain->numbers);
}

static void
restore_chain(DeltaChain *chain, const RestoreJob *job)
{
	int			first = 0;

	if (job->base != NULL)
		continue_chain(chain, job);
	else
	{
		delc_chain_begin_bytes(chain, job->values[0].bytes, job->values[0].total);
		first = 1;
	}
	for (int i = first; i < job->count && !chain->interrupted; i++)
	{
		StoredValue delta = {0, job->values[i].bytes, job->values[i].total};

		chain->goes_on = i + 1 < job->count;
		chain->keeps_previous = chain->goes_on &&
			delc_needs_grandbase(job->values[i + 1].bytes, job->values[i + 1].total);
		delc_chain_add(chain, &delta);
	}
}

/* Numbers of a chain to where they are wanted. */
static void
hand_over(RestoreJob *job, const DeltaChain *chain)
{
	if (job->into == NULL)
	{
		threaded_keep(job, chain->numbers);
		return;
	}
	check_room(job, &chain->header);
	if (chain->numbers != job->into)
		memcpy(job->into, chain->numbers, chain->header.raw_bytes);
	job->numbers = job->into;
}

static void
restore_one(RestoreJob *job)
{
	DeltaChain	chain;

	delc_chain_start(&chain, NULL, job->planes);
	chain.interruptible = false;
	if (job->base == NULL && job->count == 1)
		decode_whole(&chain, job);
	else
		restore_chain(&chain, job);
	if (chain.interrupted)
		return;
	if (job->planes == 0 && job->keep == 0)
		job->checksum = checksum_of(&chain.header, chain.numbers);
	keep_planes(&chain.header, chain.numbers, job->keep);
	job->header = chain.header;
	hand_over(job, &chain);
	job->done = true;
}

/* ---- all jobs ---- */

typedef struct Pool
{
	RestoreJob **jobs;			/* the longest first */
	int			count;
	atomic_int	next;
} Pool;

static int64
work_of(const RestoreJob *job)
{
	int64		bytes = 0;

	for (int i = 0; i < job->count; i++)
		bytes += job->values[i].there;
	return bytes;
}

static int
compare_work(const void *a, const void *b)
{
	int64		left = work_of(*(RestoreJob *const *) a);
	int64		right = work_of(*(RestoreJob *const *) b);

	return left < right ? 1 : left > right ? -1 : 0;
}

static bool
interrupt_waits(void)
{
	return InterruptPending && (QueryCancelPending || ProcDiePending);
}

static void *
work(void *argument)
{
	Pool	   *pool = argument;
	int			next;

	while ((next = atomic_fetch_add(&pool->next, 1)) < pool->count && !interrupt_waits())
		threaded_run(pool->jobs[next], restore_one);
	threaded_rest();
	return NULL;
}

/* With fewer helpers where the system gives no more threads. */
static void
work_with_helpers(Pool *pool, int helpers)
{
	pthread_t  *threads = malloc(helpers * sizeof(pthread_t));
	int			started = 0;
	sigset_t	all;
	sigset_t	before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	while (threads != NULL && started < helpers &&
		   pthread_create(&threads[started], NULL, work, pool) == 0)
		started++;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	work(pool);
	for (int i = 0; i < started; i++)
		pthread_join(threads[i], NULL);
	free(threads);
}

void
restore_jobs(RestoreJob *jobs, int count, int threads)
{
	Pool		pool = {.count = count};

	pool.jobs = malloc(Max(count, 1) * sizeof(RestoreJob *));
	if (pool.jobs == NULL)
	{
		for (int i = 0; i < count; i++)
		{
			jobs[i].failed = jobs[i].out_of_memory = true;
			strlcpy(jobs[i].message, "out of memory", sizeof(jobs[i].message));
		}
		return;
	}
	for (int i = 0; i < count; i++)
		pool.jobs[i] = &jobs[i];
	qsort(pool.jobs, count, sizeof(RestoreJob *), compare_work);
	(void) delc_crc32c("", 1);	/* its first call may choose a function, which two threads must not */
	if (Min(threads, count) > 1)
		work_with_helpers(&pool, Min(threads, count) - 1);
	else
		work(&pool);
	free(pool.jobs);
}
