/*
 * failed_run.c: the record of a run that failed outlives its transaction.
 *
 * A background worker writes the record in a transaction of its own. The
 * record reaches it through a dynamic shared memory segment that is pinned,
 * so that it survives a backend which is being terminated.
 */
#include "delc.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/dsm.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#define WRITE_FAILED_RUN "SELECT delc.write_failed_run($1::pg_catalog.jsonb)"
#define WAIT_STEP_US 2000
#define WAIT_STEPS 150

/* What the worker needs to find its database and its record. */
typedef struct FailedRunAddress
{
	Oid			database_id;
	Oid			owner_id;
	dsm_handle	segment;
} FailedRunAddress;

/* The record to write if this backend's transaction ends without saying how the run went. */
static char *running_record = NULL;
static Oid	running_owner = InvalidOid;

PGDLLEXPORT void delc_failed_run_main(Datum argument);

static dsm_segment *
create_segment(const char *record)
{
	dsm_segment *segment = dsm_create(strlen(record) + 1, DSM_CREATE_NULL_IF_MAXSEGMENTS);

	if (segment != NULL)
	{
		strcpy(dsm_segment_address(segment), record);
		dsm_pin_segment(segment);
	}
	return segment;
}

static bool
register_worker(Oid owner_id, dsm_handle handle, BackgroundWorkerHandle **worker_handle)
{
	BackgroundWorker worker;
	FailedRunAddress address;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_notify_pid = MyProcPid;
	strlcpy(worker.bgw_library_name, "delc", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "delc_failed_run_main", sizeof(worker.bgw_function_name));
	strlcpy(worker.bgw_name, "delc: record of a failed run", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "delc failed run", BGW_MAXLEN);

	address.database_id = MyDatabaseId;
	address.owner_id = owner_id;
	address.segment = handle;
	memcpy(worker.bgw_extra, &address, sizeof(address));
	StaticAssertStmt(sizeof(address) <= BGW_EXTRALEN, "address must fit bgw_extra");

	return RegisterDynamicBackgroundWorker(&worker, worker_handle);
}

/*
 * Starts the worker that writes the record. Where none can be had the record
 * goes to the server log, so that it is not lost without a trace.
 */
static BackgroundWorkerHandle *
write_outside_transaction(Oid owner_id, const char *record)
{
	dsm_segment *segment = create_segment(record);
	BackgroundWorkerHandle *worker = NULL;

	if (segment != NULL)
	{
		dsm_handle	handle = dsm_segment_handle(segment);
		bool		registered = register_worker(owner_id, handle, &worker);

		if (!registered)
			dsm_unpin_segment(handle);
		dsm_detach(segment);
		if (registered)
			return worker;
	}
	ereport(LOG,
			(errmsg("could not record a failed run: no background worker or shared memory was free"),
			 errdetail("Record: %s", record),
			 errhint("Raise max_worker_processes.")));
	return NULL;
}

/*
 * Waits a moment for the worker, so that who sees the error also sees the
 * record. Interrupts are left alone: the caller is about to fail anyway.
 */
static void
wait_for_worker(BackgroundWorkerHandle *worker)
{
	pid_t		pid;

	for (int i = 0; i < WAIT_STEPS; i++)
	{
		if (GetBackgroundWorkerPid(worker, &pid) == BGWH_STOPPED)
			return;
		pg_usleep(WAIT_STEP_US);
	}
}

static void
forget_running_record(void)
{
	if (running_record != NULL)
		pfree(running_record);
	running_record = NULL;
}

static void
on_transaction_end(XactEvent event, void *argument)
{
	if (running_record == NULL)
		return;
	if (event == XACT_EVENT_ABORT)
	{
		/* Python had no chance to say what happened: the backend is being terminated. */
		write_outside_transaction(running_owner, running_record);
		forget_running_record();
	}
	else if (event == XACT_EVENT_COMMIT)
		forget_running_record();
}

void
delc_failed_run_initialize(void)
{
	RegisterXactCallback(on_transaction_end, NULL);
}

PG_FUNCTION_INFO_V1(delc_announce_run);
PG_FUNCTION_INFO_V1(delc_finish_run);
PG_FUNCTION_INFO_V1(delc_record_failed_run);

/* Keeps the record to be written should the backend end in the middle of the run. */
Datum
delc_announce_run(PG_FUNCTION_ARGS)
{
	char	   *record = text_to_cstring(PG_GETARG_TEXT_PP(0));

	forget_running_record();
	running_owner = GetUserId();
	running_record = MemoryContextStrdup(TopMemoryContext, record);
	PG_RETURN_VOID();
}

Datum
delc_finish_run(PG_FUNCTION_ARGS)
{
	forget_running_record();
	PG_RETURN_VOID();
}

/* Writes the record of a failed run outside the transaction, and waits a moment for it. */
Datum
delc_record_failed_run(PG_FUNCTION_ARGS)
{
	char	   *record = text_to_cstring(PG_GETARG_TEXT_PP(0));
	BackgroundWorkerHandle *worker;

	forget_running_record();
	worker = write_outside_transaction(GetUserId(), record);
	if (worker != NULL)
		wait_for_worker(worker);
	PG_RETURN_BOOL(worker != NULL);
}

static void
execute_write(const char *record)
{
	Oid			types[1] = {TEXTOID};
	Datum		values[1];

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	SPI_connect();
	PushActiveSnapshot(GetTransactionSnapshot());
	pgstat_report_activity(STATE_RUNNING, WRITE_FAILED_RUN);

	values[0] = CStringGetTextDatum(record);
	if (SPI_execute_with_args(WRITE_FAILED_RUN, 1, types, values, NULL, false, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not write the record of a failed run");

	SPI_finish();
	PopActiveSnapshot();
	CommitTransactionCommand();
	pgstat_report_activity(STATE_IDLE, NULL);
}

/* The background worker. */
void
delc_failed_run_main(Datum argument)
{
	FailedRunAddress address;
	dsm_segment *segment;
	char	   *record;

	memcpy(&address, MyBgworkerEntry->bgw_extra, sizeof(address));
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();

	segment = dsm_attach(address.segment);
	if (segment == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the record of a failed run is gone")));
	record = MemoryContextStrdup(TopMemoryContext, dsm_segment_address(segment));
	dsm_unpin_segment(address.segment);
	dsm_detach(segment);

	BackgroundWorkerInitializeConnectionByOid(address.database_id, address.owner_id, 0);
	execute_write(record);
}
