/*
 * progress.c: what running operations report, visible to every session.
 *
 * PostgreSQL's own progress views are closed to extensions, so each backend
 * that runs an operation writes to a slot in shared memory. PostgreSQL 17
 * gives a named segment on demand; older versions reserve the memory at
 * server start, which needs shared_preload_libraries = 'delc'.
 */
#include "delc.h"

#include <math.h>

#include "access/xact.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "materialize.h"
#include "mb/pg_wchar.h"
#if PG_VERSION_NUM >= 170000
#include "storage/dsm_registry.h"
#endif

#define PROGRESS_SLOTS 256
#define PROGRESS_TEXT 128
#define PROGRESS_COLUMNS 14

typedef struct ProgressSlot
{
	slock_t		mutex;
	int			pid;			/* 0: free */
	Oid			database_id;
	Oid			user_id;
	int64		run_id;
	char		operation[PROGRESS_TEXT];
	char		subject[PROGRESS_TEXT];
	char		phase[PROGRESS_TEXT];
	int			epoch;
	int			epochs;
	int64		batch;
	int64		batches;
	double		loss;
	TimestampTz started_at;
	TimestampTz updated_at;
} ProgressSlot;

static ProgressSlot *progress_slots = NULL;
static int	my_slot = -1;

#if PG_VERSION_NUM >= 150000 && PG_VERSION_NUM < 170000
static shmem_request_hook_type previous_shmem_request_hook = NULL;
#endif
#if PG_VERSION_NUM < 170000
static shmem_startup_hook_type previous_shmem_startup_hook = NULL;
#endif

static void
initialize_slots(void *memory)
{
	ProgressSlot *slots = memory;

	memset(slots, 0, sizeof(ProgressSlot) * PROGRESS_SLOTS);
	for (int i = 0; i < PROGRESS_SLOTS; i++)
		SpinLockInit(&slots[i].mutex);
}

#if PG_VERSION_NUM < 170000
static void
progress_shmem_request(void)
{
#if PG_VERSION_NUM >= 150000
	if (previous_shmem_request_hook)
		previous_shmem_request_hook();
#endif
	RequestAddinShmemSpace(MAXALIGN(sizeof(ProgressSlot) * PROGRESS_SLOTS));
}

static void
progress_shmem_startup(void)
{
	bool		found;

	if (previous_shmem_startup_hook)
		previous_shmem_startup_hook();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	progress_slots = ShmemInitStruct("delc progress", sizeof(ProgressSlot) * PROGRESS_SLOTS, &found);
	if (!found)
		initialize_slots(progress_slots);
	LWLockRelease(AddinShmemInitLock);
}
#endif

/* The slots, or NULL where this server version has none without preloading. */
static ProgressSlot *
get_slots(void)
{
#if PG_VERSION_NUM >= 170000
	bool		found;

	if (progress_slots == NULL)
		progress_slots = GetNamedDSMSegment("delc progress",
											sizeof(ProgressSlot) * PROGRESS_SLOTS,
											initialize_slots, &found);
#endif
	return progress_slots;
}

static void
copy_text(char *target, const char *source)
{
	/* A cut in the middle of a character would break the view for everyone. */
	int			length = source ? pg_mbcliplen(source, strlen(source), PROGRESS_TEXT - 1) : 0;

	if (length > 0)
		memcpy(target, source, length);
	target[length] = '\0';
}

static void
release_slot(int code, Datum argument)
{
	delc_progress_end();
}

static void
release_slot_at_transaction_end(XactEvent event, void *argument)
{
	if (event == XACT_EVENT_ABORT || event == XACT_EVENT_COMMIT)
		delc_progress_end();
}

void
delc_progress_initialize(void)
{
#if PG_VERSION_NUM < 170000
	if (process_shared_preload_libraries_in_progress)
	{
#if PG_VERSION_NUM >= 150000
		previous_shmem_request_hook = shmem_request_hook;
		shmem_request_hook = progress_shmem_request;
#else
		progress_shmem_request();
#endif
		previous_shmem_startup_hook = shmem_startup_hook;
		shmem_startup_hook = progress_shmem_startup;
	}
#endif
	RegisterXactCallback(release_slot_at_transaction_end, NULL);
}

/* Fills a free slot; with none free the operation runs without reporting. */
void
delc_progress_start(int64 run_id, const char *operation, const char *subject)
{
	static bool exit_registered = false;
	ProgressSlot *slots = get_slots();
	TimestampTz now = GetCurrentTimestamp();

	if (slots == NULL)
		return;
	if (!exit_registered)
	{
		before_shmem_exit(release_slot, (Datum) 0);
		exit_registered = true;
	}
	delc_progress_end();

	for (int i = 0; i < PROGRESS_SLOTS && my_slot < 0; i++)
	{
		ProgressSlot *slot = &slots[i];

		SpinLockAcquire(&slot->mutex);
		if (slot->pid == 0)
		{
			slot->pid = MyProcPid;
			slot->database_id = MyDatabaseId;
			slot->user_id = GetUserId();
			slot->run_id = run_id;
			slot->phase[0] = '\0';
			slot->operation[0] = '\0';
			slot->subject[0] = '\0';
			slot->epoch = slot->epochs = 0;
			slot->batch = slot->batches = 0;
			slot->loss = NAN;
			slot->started_at = slot->updated_at = now;
			my_slot = i;
		}
		SpinLockRelease(&slot->mutex);
	}

	if (my_slot >= 0)
	{
		char		operation_text[PROGRESS_TEXT];
		char		subject_text[PROGRESS_TEXT];
		ProgressSlot *slot = &slots[my_slot];

		copy_text(operation_text, operation);
		copy_text(subject_text, subject);
		SpinLockAcquire(&slot->mutex);
		memcpy(slot->operation, operation_text, PROGRESS_TEXT);
		memcpy(slot->subject, subject_text, PROGRESS_TEXT);
		SpinLockRelease(&slot->mutex);
	}
}

void
delc_progress_report(const char *phase, int epoch, int epochs, int64 batch, int64 batches, double loss)
{
	ProgressSlot *slot;
	TimestampTz now;
	char		phase_text[PROGRESS_TEXT];

	if (my_slot < 0)
		return;
	slot = &progress_slots[my_slot];
	now = GetCurrentTimestamp();
	copy_text(phase_text, phase);

	SpinLockAcquire(&slot->mutex);
	memcpy(slot->phase, phase_text, PROGRESS_TEXT);
	slot->epoch = epoch;
	slot->epochs = epochs;
	slot->batch = batch;
	slot->batches = batches;
	if (!isnan(loss))			/* else the last one stays */
		slot->loss = loss;
	slot->updated_at = now;
	SpinLockRelease(&slot->mutex);
}

void
delc_progress_end(void)
{
	if (my_slot < 0)
		return;
	SpinLockAcquire(&progress_slots[my_slot].mutex);
	progress_slots[my_slot].pid = 0;
	SpinLockRelease(&progress_slots[my_slot].mutex);
	my_slot = -1;
}

static Datum
count_or_null(int64 count, int64 total, bool *isnull)
{
	*isnull = (total == 0);
	return Int64GetDatum(count);
}

static void
put_slot(ReturnSetInfo *result, const ProgressSlot *slot)
{
	Datum		values[PROGRESS_COLUMNS] = {0};
	bool		nulls[PROGRESS_COLUMNS] = {0};
	int			i = 0;

	values[i++] = Int32GetDatum(slot->pid);
	values[i++] = ObjectIdGetDatum(slot->database_id);
	values[i++] = ObjectIdGetDatum(slot->user_id);
	values[i++] = Int64GetDatum(slot->run_id);
	values[i++] = CStringGetTextDatum(slot->operation);
	values[i++] = CStringGetTextDatum(slot->subject);
	values[i++] = CStringGetTextDatum(slot->phase);
	values[i] = count_or_null(slot->epoch, slot->epochs, &nulls[i]);
	i++;
	values[i] = count_or_null(slot->epochs, slot->epochs, &nulls[i]);
	i++;
	values[i] = count_or_null(slot->batch, slot->batches, &nulls[i]);
	i++;
	values[i] = count_or_null(slot->batches, slot->batches, &nulls[i]);
	i++;
	nulls[i] = isnan(slot->loss);
	values[i++] = Float8GetDatum(slot->loss);
	values[i++] = TimestampTzGetDatum(slot->started_at);
	values[i++] = TimestampTzGetDatum(slot->updated_at);
	Assert(i == PROGRESS_COLUMNS);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

PG_FUNCTION_INFO_V1(delc_progress_slots);

/* One row for each operation that runs at this moment, in any database. */
Datum
delc_progress_slots(PG_FUNCTION_ARGS)
{
	ProgressSlot *slots = get_slots();
	ReturnSetInfo *result;

	if (slots == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("progress is not recorded because delc was not loaded at server start"),
				 errhint("Add delc to shared_preload_libraries and restart the server.")));

	result = begin_materialized_set(fcinfo);

	for (int i = 0; i < PROGRESS_SLOTS; i++)
	{
		ProgressSlot copy;

		SpinLockAcquire(&slots[i].mutex);
		copy = slots[i];
		SpinLockRelease(&slots[i].mutex);
		if (copy.pid != 0)
			put_slot(result, &copy);
	}
	return (Datum) 0;
}
