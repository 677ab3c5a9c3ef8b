/*
 * pack_toast.c: reading values that a table stores out of line, many of them
 * in a row.
 *
 * For every such value PostgreSQL opens the TOAST relation and its index and
 * begins an index scan, which takes longer than copying a few thousand bytes.
 * Here they stay open from pack_toast_begin to pack_toast_end. Both, and all
 * reading between them, happen under the portal's resource owner, which gives
 * everything back when an error comes between; then only memory is left, and
 * that goes with the packer.
 */
#include "pack_toast.h"

#include "access/detoast.h"
#include "access/genam.h"
#include "access/heaptoast.h"
#include "access/htup_details.h"
#include "access/skey.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/toast_internals.h"
#include "catalog/pg_class.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

#define ATTRIBUTE_VALUE_ID 1
#define ATTRIBUTE_CHUNK_NUMBER 2
#define ATTRIBUTE_CHUNK_DATA 3

/* A TOAST relation that values came from. */
struct ToastSource
{
	Oid			relation_id;
	Relation	relation;		/* NULL: not kept open, its values are read in PostgreSQL's own way */
	Relation   *indexes;
	int			indexes_count;
	IndexScanDesc scan;
	TupleTableSlot *slot;
};

/* ---- from the first value to the last ---- */

/*
 * Starts keeping TOAST relations open; tables are the Oids of what the query
 * reads. What an earlier run left behind when an error ended it is forgotten.
 */
void
pack_toast_begin(PackToast *state, MemoryContext parent, const List *tables)
{
	if (state->context != NULL)
		MemoryContextDelete(state->context);
	memset(state, 0, sizeof(*state));
	state->tables = tables;
	state->context = AllocSetContextCreate(parent, "delc packed toast", ALLOCSET_DEFAULT_SIZES);
}

static void
close_source(ToastSource *source)
{
	if (source->relation == NULL)
		return;
	index_endscan(source->scan);
	ExecDropSingleTupleTableSlot(source->slot);
	toast_close_indexes(source->indexes, source->indexes_count, AccessShareLock);
	table_close(source->relation, AccessShareLock);
}

void
pack_toast_end(PackToast *state)
{
	ListCell   *cell;

	foreach(cell, state->sources)
		close_source(lfirst(cell));
	if (state->context != NULL)
		MemoryContextDelete(state->context);
	memset(state, 0, sizeof(*state));
}

/* ---- where values come from ---- */

static bool
has_toast_relation(Oid table, Oid toast_relation)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(table));
	bool		has = false;

	if (HeapTupleIsValid(tuple))
	{
		has = ((Form_pg_class) GETSTRUCT(tuple))->reltoastrelid == toast_relation;
		ReleaseSysCache(tuple);
	}
	return has;
}

/*
 * Values may also come from a table that a function of the query has read. It
 * is not open while the query runs, so the function may drop it at its next
 * call, which an open TOAST relation would forbid.
 */
static bool
belongs_to_query(const PackToast *state, Oid toast_relation)
{
	ListCell   *cell;

	foreach(cell, state->tables)
		if (has_toast_relation(lfirst_oid(cell), toast_relation))
			return true;
	return false;
}

static Snapshot
toast_snapshot(PackToast *state)
{
#if PG_VERSION_NUM >= 180000
	return get_toast_snapshot();
#else
	init_toast_snapshot(&state->snapshot);
	return &state->snapshot;
#endif
}

static IndexScanDesc
begin_scan(PackToast *state, Relation relation, Relation index)
{
	Snapshot	snapshot = toast_snapshot(state);

#if PG_VERSION_NUM >= 180000
	return index_beginscan(relation, index, snapshot, NULL, 1, 0);
#else
	return index_beginscan(relation, index, snapshot, 1, 0);
#endif
}

static void
open_source(PackToast *state, ToastSource *source)
{
	Relation	relation = table_open(source->relation_id, AccessShareLock);
	int			valid;

	/* Another access method may store values in another form. */
	if (relation->rd_tableam->relation_fetch_toast_slice != heap_fetch_toast_slice)
	{
		table_close(relation, AccessShareLock);
		return;
	}
	valid = toast_open_indexes(relation, AccessShareLock, &source->indexes, &source->indexes_count);
	source->scan = begin_scan(state, relation, source->indexes[valid]);
	source->slot = table_slot_create(relation, NULL);
	source->relation = relation;
}

static ToastSource *
find_source(PackToast *state, Oid relation_id)
{
	ListCell   *cell;
	MemoryContext old;
	ToastSource *source;

	foreach(cell, state->sources)
	{
		source = lfirst(cell);
		if (source->relation_id == relation_id)
			return source;
	}
	old = MemoryContextSwitchTo(state->context);
	source = palloc0(sizeof(ToastSource));
	source->relation_id = relation_id;
	if (belongs_to_query(state, relation_id))
		open_source(state, source);
	state->sources = lappend(state->sources, source);
	MemoryContextSwitchTo(old);
	return source;
}

/* ---- one value ---- */

/* The buffer, with room for so many bytes after its header. */
static struct varlena *
value_buffer(PackToast *state, int32 bytes)
{
	Size		size = (Size) bytes + VARHDRSZ;

	if (state->capacity < size)
	{
		if (state->buffer != NULL)
			pfree(state->buffer);
		state->buffer = NULL;
		state->capacity = 0;
		state->buffer = MemoryContextAlloc(state->context, size);
		state->capacity = size;
	}
	SET_VARSIZE(state->buffer, size);
	return state->buffer;
}

/* Checks a chunk and copies it to its place; returns how many bytes it has. */
static int32
copy_chunk(const ToastSource *source, Oid value_id, int32 expected_number, char *target, int32 left)
{
	bool		isnull;
	int32		number = DatumGetInt32(slot_getattr(source->slot, ATTRIBUTE_CHUNK_NUMBER, &isnull));
	struct varlena *chunk = (struct varlena *)
		DatumGetPointer(slot_getattr(source->slot, ATTRIBUTE_CHUNK_DATA, &isnull));
	int32		expected_size = Min(left, (int32) TOAST_MAX_CHUNK_SIZE);
	int32		size;

	if (isnull || (VARATT_IS_EXTENDED(chunk) && !VARATT_IS_SHORT(chunk)))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("found toasted toast chunk for toast value %u in %s",
						value_id, RelationGetRelationName(source->relation))));
	if (number != expected_number || left == 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("unexpected chunk number %d (expected %s%d) for toast value %u in %s",
						number, left == 0 ? "none from " : "", expected_number, value_id,
						RelationGetRelationName(source->relation))));
	size = VARSIZE_ANY_EXHDR(chunk);
	if (size != expected_size)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("unexpected chunk size %d (expected %d) in chunk %d for toast value %u in %s",
						size, expected_size, number, value_id, RelationGetRelationName(source->relation))));
	memcpy(target, VARDATA_ANY(chunk), size);
	return size;
}

static struct varlena *
fetch_value(PackToast *state, ToastSource *source, Oid value_id, int32 bytes)
{
	struct varlena *value = value_buffer(state, bytes);
	int32		done = 0;
	int32		chunks = 0;
	ScanKeyData key;

	ScanKeyInit(&key, ATTRIBUTE_VALUE_ID, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(value_id));
	(void) toast_snapshot(state);
	index_rescan(source->scan, &key, 1, NULL, 0);
	while (index_getnext_slot(source->scan, ForwardScanDirection, source->slot))
	{
		CHECK_FOR_INTERRUPTS();
		done += copy_chunk(source, value_id, chunks++, VARDATA(value) + done, bytes - done);
	}
	/* At its end the scan holds no page any more, only the slot does. */
	ExecClearTuple(source->slot);
	if (done != bytes)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("missing chunk number %d for toast value %u in %s",
						chunks, value_id, RelationGetRelationName(source->relation))));
	return value;
}

/*
 * The value in full and with a header of four bytes, as PG_DETOAST_DATUM gives
 * it. It may lie in memory that the next call overwrites: do not keep it.
 */
struct varlena *
pack_detoast(PackToast *state, Datum value)
{
	struct varlena *pointer = (struct varlena *) DatumGetPointer(value);
	struct varatt_external external;

	if (state->context == NULL || !VARATT_IS_EXTERNAL_ONDISK(pointer))
		return PG_DETOAST_DATUM(value);
	VARATT_EXTERNAL_GET_POINTER(external, pointer);
	if (VARATT_EXTERNAL_IS_COMPRESSED(external))
		return PG_DETOAST_DATUM(value);
	if (state->last == NULL || state->last->relation_id != external.va_toastrelid)
		state->last = find_source(state, external.va_toastrelid);
	if (state->last->relation == NULL)
		return PG_DETOAST_DATUM(value);
	return fetch_value(state, state->last, external.va_valueid, VARATT_EXTERNAL_GET_EXTSIZE(external));
}
