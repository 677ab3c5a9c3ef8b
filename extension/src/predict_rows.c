/*
 * predict_rows.c: predictions for the rows of a query, as a set of rows.
 *
 * Python computes them batch by batch; the rows (key, rank, label, …) are
 * formed here, next to the keys that the packer kept.
 */
#include "pack.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "materialize.h"
#include "miscadmin.h"
#include "parser/parse_func.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#define PREDICTION_COLUMNS 5
#define DETAILED_COLUMNS 12
#define RUN_ARGUMENTS 7
#define DETAILED_ARGUMENT 6

/* How each prediction of the current batch was come by: predict_rows_progressive() alone. */
typedef struct PredictionDetail
{
	int32		bits;
	int32		method;			/* its place among the sink's methods */
	int32		certified;
	int32		unused;
	double		low;
	double		high;
	double		error_rate;		/* NaN: none */
} PredictionDetail;

/* Where the predictions of the running call go; calls may nest. */
typedef struct PredictionSink
{
	ReturnSetInfo *result;
	MemoryContext context;
	Datum	   *labels;
	int			labels_count;
	bool		probabilities;	/* scores are probabilities, else values */
	bool		detailed;		/* the rows have columns for details */
	Datum	   *methods;
	int			methods_count;
	bytea	   *details;		/* of the current batch */
	struct PredictionSink *outer;
} PredictionSink;

static PredictionSink *sink = NULL;

static PredictionSink *
require_sink(void)
{
	if (sink == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("no prediction of rows is running")));
	return sink;
}

PG_FUNCTION_INFO_V1(delc_predict_rows);

/*
 * predict_rows(model text, query text, top_k integer, key text, reading text)
 * → (key, rank, label, probability, value); with a tolerance as sixth argument
 * predict_rows_progressive(…), which says more of each prediction.
 */
Datum
delc_predict_rows(PG_FUNCTION_ARGS)
{
	static const Oid types[] = {TEXTOID, TEXTOID, INT4OID, TEXTOID, TEXTOID, FLOAT8OID, BOOLOID};
	PredictionSink here = {0};
	FmgrInfo	run;
	LOCAL_FCINFO(call, RUN_ARGUMENTS);

	here.result = begin_materialized_set(fcinfo);
	here.context = CurrentMemoryContext;
	here.outer = sink;
	here.detailed = here.result->setDesc->natts == DETAILED_COLUMNS;
	fmgr_info(LookupFuncName(list_make2(makeString("delc"), makeString("run_prediction")),
							 RUN_ARGUMENTS, types, false), &run);
	InitFunctionCallInfoData(*call, &run, RUN_ARGUMENTS, InvalidOid, NULL, NULL);
	for (int i = 0; i < RUN_ARGUMENTS; i++)
	{
		bool		given = i < PG_NARGS();

		call->args[i].value = given ? PG_GETARG_DATUM(i) : (Datum) 0;
		call->args[i].isnull = given ? PG_ARGISNULL(i) : true;
	}
	call->args[DETAILED_ARGUMENT].value = BoolGetDatum(here.detailed);
	call->args[DETAILED_ARGUMENT].isnull = false;

	sink = &here;
	PG_TRY();
	{
		FunctionCallInvoke(call);
	}
	PG_FINALLY();
	{
		sink = here.outer;
	}
	PG_END_TRY();
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(delc_begin_predictions);

/* begin_predictions(labels text[], probabilities boolean): what the codes of the rows to come mean */
Datum
delc_begin_predictions(PG_FUNCTION_ARGS)
{
	PredictionSink *current = require_sink();
	MemoryContext old = MemoryContextSwitchTo(current->context);
	bool	   *nulls;

	deconstruct_array(DatumGetArrayTypePCopy(PG_GETARG_DATUM(0)), TEXTOID, -1, false, TYPALIGN_INT,
					  &current->labels, &nulls, &current->labels_count);
	for (int i = 0; i < current->labels_count; i++)
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("label %d is NULL", i + 1)));
	current->probabilities = PG_GETARG_BOOL(1);
	MemoryContextSwitchTo(old);
	PG_RETURN_VOID();
}

static void
require_bytes(const bytea *data, Size expected, const char *what)
{
	if (VARSIZE_ANY_EXHDR(data) != expected)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s has %zu bytes, expected %zu", what, VARSIZE_ANY_EXHDR(data), expected)));
}

PG_FUNCTION_INFO_V1(delc_emit_details);

/*
 * emit_details(methods text[], details bytea): how the predictions of the next
 * emit_predictions() were come by, a PredictionDetail for each.
 */
Datum
delc_emit_details(PG_FUNCTION_ARGS)
{
	PredictionSink *current = require_sink();
	MemoryContext old = MemoryContextSwitchTo(current->context);
	bool	   *nulls;

	if (current->details != NULL)
		pfree(current->details);
	current->details = DatumGetByteaPCopy(PG_GETARG_DATUM(1));
	deconstruct_array(DatumGetArrayTypePCopy(PG_GETARG_DATUM(0)), TEXTOID, -1, false, TYPALIGN_INT,
					  &current->methods, &nulls, &current->methods_count);
	for (int i = 0; i < current->methods_count; i++)
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("method %d is NULL", i + 1)));
	MemoryContextSwitchTo(old);
	PG_RETURN_VOID();
}

static void
set_number(Datum *values, bool *nulls, int column, double number)
{
	values[column] = Float8GetDatum(number);
	nulls[column] = isnan(number);
}

/* planes, bits, certified, method, margin_low, margin_high, error_rate */
static void
detail_columns(const PredictionSink *current, int64 prediction, Datum *values, bool *nulls)
{
	PredictionDetail detail;

	memcpy(&detail, VARDATA(current->details) + prediction * sizeof(detail), sizeof(detail));
	if (detail.method < 0 || detail.method >= current->methods_count)
		elog(ERROR, "method %d is not known", detail.method);
	values[5] = Float8GetDatum(detail.bits / 8.0);
	values[6] = Int32GetDatum(detail.bits);
	values[7] = BoolGetDatum(detail.certified != 0);
	values[8] = current->methods[detail.method];
	set_number(values, nulls, 9, detail.low);
	set_number(values, nulls, 10, detail.high);
	set_number(values, nulls, 11, detail.error_rate);
}

static void
put_prediction(PredictionSink *current, const Packer *packer, int64 prediction, int64 row, int rank, int32 code,
			   double score)
{
	Datum		values[DETAILED_COLUMNS] = {0};
	bool		nulls[DETAILED_COLUMNS] = {false, false, false, true, true};
	int			score_column = current->probabilities ? 3 : 4;

	if (packer->keys != NULL && packer->keys[row] != NULL)
		values[0] = CStringGetTextDatum(packer->keys[row]);
	else if (packer->key_column < 0)
		values[0] = CStringGetTextDatum(psprintf("%lld", (long long) (packer->first_row + row + 1)));
	else
		nulls[0] = true;
	values[1] = Int32GetDatum(rank);
	values[2] = current->labels[code];
	values[score_column] = Float8GetDatum(score);
	nulls[score_column] = false;
	if (current->detailed)
		detail_columns(current, prediction, values, nulls);
	tuplestore_putvalues(current->result->setResult, current->result->setDesc, values, nulls);
}

PG_FUNCTION_INFO_V1(delc_emit_predictions);

/*
 * emit_predictions(portal text, k integer, codes bytea, scores bytea): k
 * predictions for each row of the portal's current batch. codes: int32,
 * negative for none; scores: float64.
 */
Datum
delc_emit_predictions(PG_FUNCTION_ARGS)
{
	PredictionSink *current = require_sink();
	Packer	   *packer = delc_packer_of_portal(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	int32		k = PG_GETARG_INT32(1);
	bytea	   *codes = PG_GETARG_BYTEA_PP(2);
	bytea	   *scores = PG_GETARG_BYTEA_PP(3);
	MemoryContext row_context;
	MemoryContext old;

	if (packer == NULL || k < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("there is no batch to which the predictions belong")));
	require_bytes(codes, (Size) packer->rows * k * sizeof(int32), "codes");
	require_bytes(scores, (Size) packer->rows * k * sizeof(double), "scores");
	if (current->detailed)
	{
		if (current->details == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("the predictions have no details")));
		require_bytes(current->details, (Size) packer->rows * k * sizeof(PredictionDetail), "details");
	}

	row_context = AllocSetContextCreate(CurrentMemoryContext, "delc prediction", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(row_context);
	for (int64 i = 0; i < packer->rows * k; i++)
	{
		int32		code;
		double		score;

		memcpy(&code, VARDATA_ANY(codes) + i * sizeof(code), sizeof(code));
		memcpy(&score, VARDATA_ANY(scores) + i * sizeof(score), sizeof(score));
		if (code >= current->labels_count)
			elog(ERROR, "prediction %d has no label", code);
		if (code >= 0)
			put_prediction(current, packer, i, i / k, (int) (i % k) + 1, code, score);
		if (i % 1024 == 0)
			CHECK_FOR_INTERRUPTS();
		MemoryContextReset(row_context);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(row_context);
	PG_RETURN_INT64(packer->rows);
}
