/*
 * row_match.c
 *	  Which rows of a source are new or changed against the stored rows of a
 *	  version, and which of those are gone.
 *
 * Each side is read once.  Of the stored rows only digests are kept, by key;
 * the rows of the source stream past them, a batch at a time, and those that
 * differ are the result.  PostgreSQL's own join would keep whole rows, and
 * spend most of its time waiting for memory.
 *
 * Keys are told apart by their images, so the caller sees to it that values of
 * the keys' types are equal only if their images are.
 */
#include "delc.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "materialize.h"
#include "plain_select.h"
#include "row_table.h"
#include "tcop/utility.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/snapmgr.h"

#define BATCH_ROWS	128
#define BATCH_BYTES ((Size) 1024 * 1024)

/* In front of a stored row's columns: delc_row, delc_version, delc_split. */
#define STORED_COLUMNS	3

/* Behind a source row's columns in the result: whether it is one, whether it repeats a key, the stored row and its split. */
#define RESULT_COLUMNS	4

/* Rows of the source that wait for being looked up. */
typedef struct Batch
{
	MemoryContext context;		/* what values point to */
	int			rows;
	Datum	   *values;			/* row by row */
	bool	   *nulls;
	RowDigest	keys[BATCH_ROWS];
	RowDigest	digests[BATCH_ROWS];
	bool		has_key[BATCH_ROWS];	/* whether no value of the key is NULL */
} Batch;

typedef struct Match
{
	int			columns;		/* of the source */
	DigestColumn *keys;
	int			key_count;
	DigestColumn *others;
	int			other_count;
	DigestColumn *all;
	RowDigester digester;
	RowTable   *table;
	Batch		batch;
	ReturnSetInfo *result;
	Datum	   *result_values;
	bool	   *result_nulls;
} Match;

typedef struct MatchReceiver
{
	DestReceiver public;
	Match	   *match;
} MatchReceiver;

/* ---- columns ---- */

static void
wrong_columns(const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("the rows cannot be matched"),
			 errdetail_internal("%s", detail),
			 errhint("The source and the result have the stored columns behind delc_row, delc_version and delc_split;"
					 " the result has four more: boolean, boolean, bigint, \"char\".")));
}

/* The columns from first on have the types of the result's first columns. */
static void
check_columns(const Match *match, TupleDesc descriptor, int first)
{
	TupleDesc	result = match->result->setDesc;

	if (descriptor->natts != first + match->columns)
		wrong_columns(psprintf("A query has %d columns instead of %d.", descriptor->natts, first + match->columns));
	for (int i = 0; i < match->columns; i++)
	{
		Oid			given = getBaseType(TupleDescAttr(descriptor, first + i)->atttypid);
		Oid			wanted = getBaseType(TupleDescAttr(result, i)->atttypid);

		if (given != wanted)
			wrong_columns(psprintf("Column %d of a query is %s, and %s in the result.", first + i + 1,
								   format_type_be(given), format_type_be(wanted)));
	}
}

static void
check_result(TupleDesc result)
{
	static const Oid types[RESULT_COLUMNS] = {BOOLOID, BOOLOID, INT8OID, CHAROID};
	int			first = result->natts - RESULT_COLUMNS;

	if (first < 1)
		wrong_columns(psprintf("The result has %d columns.", result->natts));
	for (int i = 0; i < RESULT_COLUMNS; i++)
	{
		if (TupleDescAttr(result, first + i)->atttypid != types[i])
			wrong_columns(psprintf("Column %d of the result is %s.", first + i + 1,
								   format_type_be(TupleDescAttr(result, first + i)->atttypid)));
	}
}

/* Tell the columns of the key, given by their positions from 1, from the others. */
static void
choose_columns(Match *match, ArrayType *positions)
{
	TupleDesc	result = match->result->setDesc;
	Datum	   *elements;
	int			count;
	bool	   *is_key = palloc0(sizeof(bool) * match->columns);

	if (array_contains_nulls(positions))
		wrong_columns("The position of a key is NULL.");
	deconstruct_array(positions, INT4OID, sizeof(int32), true, TYPALIGN_INT, &elements, NULL, &count);
	if (count == 0)
		wrong_columns("There is no key.");
	match->all = palloc(sizeof(DigestColumn) * match->columns);
	match->keys = palloc(sizeof(DigestColumn) * count);
	match->others = palloc(sizeof(DigestColumn) * match->columns);
	for (int i = 0; i < match->columns; i++)
	{
		match->all[i].position = i;
		get_typlenbyval(TupleDescAttr(result, i)->atttypid, &match->all[i].length, &match->all[i].by_value);
	}
	for (int i = 0; i < count; i++)
	{
		int32		position = DatumGetInt32(elements[i]);

		if (position < 1 || position > match->columns)
			wrong_columns(psprintf("There is no column %d that could be a key.", position));
		is_key[position - 1] = true;
		match->keys[match->key_count++] = match->all[position - 1];
	}
	for (int i = 0; i < match->columns; i++)
	{
		if (!is_key[i])
			match->others[match->other_count++] = match->all[i];
	}
}

/* ---- the result ---- */

/* Give a row of the source (or none), and the stored row with its key (or NULL). */
static void
emit(Match *match, const Datum *values, const bool *nulls, bool is_repeated, const TableRow *stored)
{
	int			columns = match->columns;
	Datum	   *result_values = match->result_values;
	bool	   *result_nulls = match->result_nulls;

	if (values != NULL)
	{
		memcpy(result_values, values, sizeof(Datum) * columns);
		memcpy(result_nulls, nulls, sizeof(bool) * columns);
	}
	else
		memset(result_nulls, true, sizeof(bool) * columns);
	result_values[columns] = BoolGetDatum(true);
	result_nulls[columns] = values == NULL;
	result_values[columns + 1] = BoolGetDatum(is_repeated);
	result_nulls[columns + 1] = false;
	result_nulls[columns + 2] = result_nulls[columns + 3] = stored == NULL;
	if (stored != NULL)
	{
		result_values[columns + 2] = Int64GetDatum((int64) stored->number);
		result_values[columns + 3] = CharGetDatum((char) stored->split);
	}
	tuplestore_putvalues(match->result->setResult, match->result->setDesc, result_values, result_nulls);
}

/* Stored rows that no row of the source was matched with. */
static void
emit_gone(Match *match)
{
	for (Size i = 0; i < match->table->used; i++)
	{
		if (i % 65536 == 0)
			CHECK_FOR_INTERRUPTS();
		if (!match->table->rows[i].is_matched)
			emit(match, NULL, NULL, false, &match->table->rows[i]);
	}
}

/* ---- the source ---- */

static void
begin_batches(Match *match)
{
	Batch	   *batch = &match->batch;

	batch->context = AllocSetContextCreate(CurrentMemoryContext, "delc batch of rows", ALLOCSET_DEFAULT_SIZES);
	batch->values = palloc(sizeof(Datum) * match->columns * BATCH_ROWS);
	batch->nulls = palloc(sizeof(bool) * match->columns * BATCH_ROWS);
}

static void
finish_batch(Match *match)
{
	Batch	   *batch = &match->batch;
	TableRow   *found[BATCH_ROWS];

	row_table_find(match->table, batch->keys, batch->rows, found);
	for (int i = 0; i < batch->rows; i++)
	{
		TableRow   *stored = batch->has_key[i] ? found[i] : NULL;
		bool		is_repeated = stored != NULL && stored->is_matched;

		if (stored != NULL)
			stored->is_matched = true;
		if (stored == NULL || is_repeated || !same_digests(&stored->values, &batch->digests[i]))
			emit(match, batch->values + (Size) i * match->columns, batch->nulls + (Size) i * match->columns,
				 is_repeated, stored);
	}
	batch->rows = 0;
	MemoryContextReset(batch->context);
}

/* Keep a copy of a row: what the executor hands over is gone with the next one. */
static void
keep_row(Match *match, Datum *values, bool *nulls)
{
	Batch	   *batch = &match->batch;
	Datum	   *kept = batch->values + (Size) batch->rows * match->columns;
	MemoryContext before = MemoryContextSwitchTo(batch->context);

	memcpy(batch->nulls + (Size) batch->rows * match->columns, nulls, sizeof(bool) * match->columns);
	for (int i = 0; i < match->columns; i++)
	{
		const DigestColumn *column = &match->all[i];

		if (column->by_value || nulls[i])
			kept[i] = values[i];
		else
			kept[i] = datumCopy(values[i], false, column->length);
	}
	MemoryContextSwitchTo(before);
}

static bool
take_source_row(TupleTableSlot *slot, DestReceiver *self)
{
	Match	   *match = ((MatchReceiver *) self)->match;
	Batch	   *batch = &match->batch;
	int			row = batch->rows;

	slot_getallattrs(slot);
	batch->has_key[row] = true;
	for (int i = 0; i < match->key_count; i++)
	{
		if (slot->tts_isnull[match->keys[i].position])
			batch->has_key[row] = false;
	}
	batch->keys[row] = row_digest(&match->digester, match->keys, match->key_count, slot->tts_values, slot->tts_isnull);
	batch->digests[row] = row_digest(&match->digester, match->others, match->other_count, slot->tts_values,
									 slot->tts_isnull);
	keep_row(match, slot->tts_values, slot->tts_isnull);
	batch->rows++;
	if (batch->rows == BATCH_ROWS || MemoryContextMemAllocated(batch->context, false) > BATCH_BYTES)
		finish_batch(match);
	return true;
}

static void
begin_source(DestReceiver *self, int operation, TupleDesc descriptor)
{
	check_columns(((MatchReceiver *) self)->match, descriptor, 0);
}

/* ---- the stored rows ---- */

static bool
take_stored_row(TupleTableSlot *slot, DestReceiver *self)
{
	Match	   *match = ((MatchReceiver *) self)->match;
	TableRow	row = {{{0}}};
	int64		number;

	slot_getallattrs(slot);
	number = DatumGetInt64(slot->tts_values[0]);
	if (slot->tts_isnull[0] || slot->tts_isnull[2] || number < 0 || number >= INT64CONST(1) << ROW_NUMBER_BITS)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("a stored row has no valid number and split"),
				 errdetail("Numbers are from 0 to " INT64_FORMAT ".", (INT64CONST(1) << ROW_NUMBER_BITS) - 1)));
	row.number = number;
	row.split = (uint8) DatumGetChar(slot->tts_values[2]);
	row.key = row_digest(&match->digester, match->keys, match->key_count, slot->tts_values + STORED_COLUMNS,
						 slot->tts_isnull + STORED_COLUMNS);
	row.values = row_digest(&match->digester, match->others, match->other_count, slot->tts_values + STORED_COLUMNS,
							slot->tts_isnull + STORED_COLUMNS);
	row_table_add(match->table, &row);
	return true;
}

static void
begin_stored(DestReceiver *self, int operation, TupleDesc descriptor)
{
	check_columns(((MatchReceiver *) self)->match, descriptor, STORED_COLUMNS);
	if (TupleDescAttr(descriptor, 0)->atttypid != INT8OID || TupleDescAttr(descriptor, 2)->atttypid != CHAROID)
		wrong_columns("The stored rows do not begin with their number, version and split.");
}

/* ---- queries ---- */

static void
end_receiver(DestReceiver *self)
{
}

/* Whether the query can run under the snapshot that there is: one that locks rows takes its own. */
static bool
is_read_only(SPIPlanPtr plan)
{
	CachedPlan *cached = SPI_plan_get_cached_plan(plan);
	bool		found = cached != NULL && CommandIsReadOnly(linitial_node(PlannedStmt, cached->stmt_list));

	if (cached != NULL)
		ReleaseCachedPlan(cached, NULL);	/* as a plan that is not saved */
	return found;
}

/* Run the query as the caller, each row to the receiver. */
static void
run_query(Match *match, const char *query, bool (*take_row) (TupleTableSlot *, DestReceiver *),
		  void (*begin) (DestReceiver *, int, TupleDesc))
{
	/* SPI takes DestNone for a command whose rows nobody wants; other kinds mean nothing to it. */
	MatchReceiver receiver = {{take_row, begin, end_receiver, end_receiver, DestTuplestore}, match};
	SPIPlanPtr	plan = delc_prepare_select(query, CURSOR_OPT_PARALLEL_OK);
	SPIExecuteOptions options = {
		.read_only = is_read_only(plan),
		.must_return_tuples = true,
		.dest = (DestReceiver *) &receiver
	};
	int			status = SPI_execute_plan_extended(plan, &options);

	if (status != SPI_OK_SELECT)
		elog(ERROR, "could not run the query: %s", SPI_result_code_string(status));
}

/* The result's columns come from the query's list of them. */
static void
require_column_list(FunctionCallInfo fcinfo)
{
	if (get_call_result_type(fcinfo, NULL, NULL) != TYPEFUNC_COMPOSITE)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("match_rows is called without a list of its columns"),
				 errhint("Call it in FROM, as in SELECT * FROM delc.match_rows(…) AS m(id bigint, …).")));
}

/*
 * match_rows(source text, stored text, keys integer[], stored_rows bigint):
 * the rows that differ, as SETOF record.
 */
PG_FUNCTION_INFO_V1(delc_match_rows);
Datum
delc_match_rows(PG_FUNCTION_ARGS)
{
	char	   *source = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *stored = text_to_cstring(PG_GETARG_TEXT_PP(1));
	ArrayType  *keys = PG_GETARG_ARRAYTYPE_P(2);
	int64		stored_rows = PG_GETARG_INT64(3);
	ReturnSetInfo *result;
	Match	   *match;

	require_column_list(fcinfo);
	result = begin_materialized_set(fcinfo);
	check_result(result->setDesc);
	SPI_connect();
	match = palloc0(sizeof(Match));
	match->result = result;
	match->columns = result->setDesc->natts - RESULT_COLUMNS;
	match->result_values = palloc0(sizeof(Datum) * result->setDesc->natts);
	match->result_nulls = palloc(sizeof(bool) * result->setDesc->natts);
	choose_columns(match, keys);
	row_digester_begin(&match->digester);
	match->table = row_table_create(CurrentMemoryContext, stored_rows, (Size) delc_memory_limit_mb * 1024 * 1024);
	begin_batches(match);

	run_query(match, stored, take_stored_row, begin_stored);
	row_table_index(match->table);
	run_query(match, source, take_source_row, begin_source);
	finish_batch(match);
	emit_gone(match);
	SPI_finish();
	return (Datum) 0;
}
