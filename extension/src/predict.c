/*
 * predict.c: prediction by row and by set.
 *
 * PL/Python would turn every number of a row into a Python object, so the row
 * is packed here, and Python sees dense arrays. What belongs to a model is
 * looked up once for each snapshot, not once for each row.
 */
#include "pack.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "materialize.h"
#include "parser/parse_func.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/typcache.h"

extern Datum delc_tensor_to_vector(PG_FUNCTION_ARGS);

/* ---- the layouts of rows, by handle; Python holds a prediction for each ---- */

/*
 * A session that keeps asking with rows of new forms must not grow for ever:
 * the oldest layout makes room for the newest. Handles count up, so that one
 * whose layout is gone is known as such; row.py (KEPT_FORMS) counts along.
 */
#define KEPT_FORMS 128

static Packer *row_packers[KEPT_FORMS];
static int32 newest_handle = -1;

/* The type of the rows for which a prediction is being prepared. */
static TupleDesc preparing_descriptor = NULL;

static int32
remember_row_packer(Packer *packer)
{
	int			slot = ++newest_handle % KEPT_FORMS;

	if (row_packers[slot] != NULL)
		MemoryContextDelete(row_packers[slot]->context);
	row_packers[slot] = packer;
	return newest_handle;
}

/* The packer of a handle, or NULL when it is gone. Never throws: Python calls it. */
Packer *
delc_packer_of_handle(int32 handle)
{
	if (handle < 0 || handle > newest_handle || handle <= newest_handle - KEPT_FORMS)
		return NULL;
	return row_packers[handle % KEPT_FORMS];
}

PG_FUNCTION_INFO_V1(delc_define_row_layout);

/* define_row_layout(kinds, groups, widths, dtypes) → handle; only while a prediction is prepared */
Datum
delc_define_row_layout(PG_FUNCTION_ARGS)
{
	PackLayout	layout;
	Packer	   *packer;

	if (preparing_descriptor == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("no prediction is being prepared")));
	pack_layout_from_arguments(&layout, PG_GETARG_ARRAYTYPE_P(0), PG_GETARG_ARRAYTYPE_P(1),
							   PG_GETARG_ARRAYTYPE_P(2), PG_GETARG_ARRAYTYPE_P(3));
	packer = packer_create(TopMemoryContext, preparing_descriptor, &layout, 1);
	packer_begin_batch(packer);
	PG_RETURN_INT32(remember_row_packer(packer));
}

/* ---- what a snapshot shows ---- */

/* Two snapshots with equal keys show the same rows of every table. */
typedef struct SnapshotKey
{
	TransactionId xmin;
	TransactionId xmax;
	TransactionId own;
	uint32		running;
	int32		running_children;
	uint32		running_hash;
	CommandId	command;
	uint32		suboverflowed;
} SnapshotKey;

static void
snapshot_key(SnapshotKey *key)
{
	Snapshot	snapshot = GetActiveSnapshot();

	memset(key, 0, sizeof(*key));
	key->xmin = snapshot->xmin;
	key->xmax = snapshot->xmax;
	key->own = GetTopTransactionIdIfAny();
	key->running = snapshot->xcnt;
	key->running_children = snapshot->subxcnt;
	key->command = snapshot->curcid;
	key->suboverflowed = snapshot->suboverflowed;
	if (snapshot->xcnt > 0)
		key->running_hash = hash_bytes((const unsigned char *) snapshot->xip,
									   snapshot->xcnt * sizeof(TransactionId));
	/* A copy of a snapshot with too many subtransactions has none of them: their parents are all there is to tell. */
	if (snapshot->subxip != NULL && snapshot->subxcnt > 0)
		key->running_hash ^= hash_bytes((const unsigned char *) snapshot->subxip,
										snapshot->subxcnt * sizeof(TransactionId));
}

/* ---- the state of one call site ---- */

typedef struct PredictCall
{
	MemoryContext context;
	FmgrInfo	prepare;
	FmgrInfo	finish;
	bool		prepared;
	char	   *model;
	char	   *argument;		/* further argument of the function, "" without */
	SnapshotKey snapshot;
	Oid			row_type;
	int32		row_typmod;
	TupleDesc	descriptor;
	int32		handle;
	Packer	   *packer;
	Datum	   *values;
	bool	   *nulls;
} PredictCall;

static void
find_function(const char *name, int arguments, const Oid *types, FmgrInfo *info, MemoryContext context)
{
	Oid			function = LookupFuncName(list_make2(makeString("delc"), makeString(pstrdup(name))),
										  arguments, types, false);

	fmgr_info_cxt(function, info, context);
}

static PredictCall *
call_state(FunctionCallInfo fcinfo, const char *finish_name)
{
	static const Oid prepare_types[] = {TEXTOID, TEXTARRAYOID, TEXTARRAYOID, TEXTOID};
	static const Oid finish_types[] = {INT4OID};
	PredictCall *call = fcinfo->flinfo->fn_extra;

	if (call == NULL)
	{
		call = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(PredictCall));
		call->context = fcinfo->flinfo->fn_mcxt;
		find_function("prepare_prediction", 4, prepare_types, &call->prepare, call->context);
		find_function(finish_name, 1, finish_types, &call->finish, call->context);
		fcinfo->flinfo->fn_extra = call;
	}
	return call;
}

static void
null_argument(const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
			 errmsg("the %s is NULL", what),
			 errhint("Leave out such rows with WHERE … IS NOT NULL, or replace NULL with coalesce().")));
}

/* ---- the input: a row, or one value ---- */

static void
unknown_input(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INDETERMINATE_DATATYPE),
			 errmsg("the type of the input is not known"),
			 errhint("Cast it, for example '{1,2,3}'::real[].")));
}

/* A descriptor of one nameless column for inputs that are no rows. */
static TupleDesc
single_value_descriptor(Oid type_id)
{
	TupleDesc	descriptor = CreateTemplateTupleDesc(1);

	TupleDescInitEntry(descriptor, 1, "", type_id, -1, 0);
#if PG_VERSION_NUM >= 190000
	TupleDescFinalize(descriptor);
#endif
	return descriptor;
}

static TupleDesc
row_descriptor(Oid type_id, int32 typmod)
{
	TupleDesc	shared = lookup_rowtype_tupdesc(type_id, typmod);
	TupleDesc	copy = CreateTupleDescCopy(shared);

	ReleaseTupleDesc(shared);
	return copy;
}

static ArrayType *
text_array(Datum *texts, int count)
{
	return construct_array(texts, count, TEXTOID, -1, false, TYPALIGN_INT);
}

static void
describe_columns(TupleDesc descriptor, ArrayType **names, ArrayType **types)
{
	Datum	   *name_texts = palloc(sizeof(Datum) * Max(descriptor->natts, 1));
	Datum	   *type_texts = palloc(sizeof(Datum) * Max(descriptor->natts, 1));

	for (int i = 0; i < descriptor->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(descriptor, i);
		int32		typmod = attribute->atttypmod;
		Oid			type_id = attribute->attisdropped ? TEXTOID :
			getBaseTypeAndTypmod(attribute->atttypid, &typmod);

		/* A dropped column keeps its place, under a name that no column can have. */
		name_texts[i] = CStringGetTextDatum(attribute->attisdropped ? "" : NameStr(attribute->attname));
		type_texts[i] = CStringGetTextDatum(format_type_with_typemod(type_id, typmod));
	}
	*names = text_array(name_texts, descriptor->natts);
	*types = text_array(type_texts, descriptor->natts);
}

static bool
still_prepared(const PredictCall *call, const char *model, const char *argument,
			   Oid row_type, int32 row_typmod, const SnapshotKey *snapshot)
{
	return call->prepared && delc_packer_of_handle(call->handle) != NULL &&
		call->row_type == row_type && call->row_typmod == row_typmod &&
		memcmp(&call->snapshot, snapshot, sizeof(*snapshot)) == 0 &&
		strcmp(call->model, model) == 0 && strcmp(call->argument, argument) == 0;
}

static void
prepare(PredictCall *call, const char *model, const char *argument,
		Oid row_type, int32 row_typmod, const SnapshotKey *snapshot)
{
	MemoryContext old = MemoryContextSwitchTo(call->context);
	ArrayType  *names;
	ArrayType  *types;

	call->prepared = false;
	call->model = pstrdup(model);
	call->argument = pstrdup(argument);
	call->row_type = row_type;
	call->row_typmod = row_typmod;
	call->descriptor = type_is_rowtype(row_type) ?
		row_descriptor(row_type, row_typmod) : single_value_descriptor(row_type);
	call->values = palloc0(sizeof(Datum) * Max(call->descriptor->natts, 1));
	call->nulls = palloc0(sizeof(bool) * Max(call->descriptor->natts, 1));
	MemoryContextSwitchTo(old);

	describe_columns(call->descriptor, &names, &types);
	preparing_descriptor = call->descriptor;
	PG_TRY();
	{
		call->handle = DatumGetInt32(FunctionCall4(&call->prepare, CStringGetTextDatum(model),
												   PointerGetDatum(names), PointerGetDatum(types),
												   CStringGetTextDatum(argument)));
	}
	PG_FINALLY();
	{
		preparing_descriptor = NULL;
	}
	PG_END_TRY();

	call->packer = delc_packer_of_handle(call->handle);
	if (call->packer == NULL)
		elog(ERROR, "unknown prediction %d", call->handle);
	call->snapshot = *snapshot;
	call->prepared = true;
}

static void
pack_input(PredictCall *call, Datum input)
{
	packer_begin_single_row(call->packer);
	if (type_is_rowtype(call->row_type))
	{
		HeapTupleHeader row = DatumGetHeapTupleHeader(input);
		HeapTupleData tuple;

		memset(&tuple, 0, sizeof(tuple));
		tuple.t_len = HeapTupleHeaderGetDatumLength(row);
		tuple.t_data = row;
		heap_deform_tuple(&tuple, call->descriptor, call->values, call->nulls);
	}
	else
	{
		call->values[0] = input;
		call->nulls[0] = false;
	}
	packer_add_row(call->packer, call->values, call->nulls);
}

/* Prepares the call where needed, packs the input and lets Python compute. */
static Datum
predict_input(FunctionCallInfo fcinfo, const char *finish_name, const char *argument)
{
	PredictCall *call = call_state(fcinfo, finish_name);
	Oid			row_type = get_fn_expr_argtype(fcinfo->flinfo, 1);
	int32		row_typmod = -1;
	SnapshotKey snapshot;
	char	   *model;

	if (PG_ARGISNULL(0))
		null_argument("model");
	if (!OidIsValid(row_type) || row_type == UNKNOWNOID)
		unknown_input();
	if (PG_ARGISNULL(1))
		null_argument("input");

	model = text_to_cstring(PG_GETARG_TEXT_PP(0));
	if (type_is_rowtype(row_type))
	{
		HeapTupleHeader row = DatumGetHeapTupleHeader(PG_GETARG_DATUM(1));

		row_type = HeapTupleHeaderGetTypeId(row);
		row_typmod = HeapTupleHeaderGetTypMod(row);
	}
	snapshot_key(&snapshot);
	if (!still_prepared(call, model, argument, row_type, row_typmod, &snapshot))
		prepare(call, model, argument, row_type, row_typmod, &snapshot);
	pack_input(call, PG_GETARG_DATUM(1));
	return FunctionCall1(&call->finish, Int32GetDatum(call->handle));
}

PG_FUNCTION_INFO_V1(delc_predict);
PG_FUNCTION_INFO_V1(delc_predict_value);
PG_FUNCTION_INFO_V1(delc_predict_probability);
PG_FUNCTION_INFO_V1(delc_embed);

/* predict(model text, input "any", reading text) → text */
Datum
delc_predict(PG_FUNCTION_ARGS)
{
	char	   *reading;

	if (PG_ARGISNULL(2))
		null_argument("reading");
	reading = text_to_cstring(PG_GETARG_TEXT_PP(2));
	PG_RETURN_DATUM(predict_input(fcinfo, "predict_packed", strcmp(reading, "full") == 0 ? "" : reading));
}

/* predict_value(model text, input "any") → double precision */
Datum
delc_predict_value(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(predict_input(fcinfo, "predict_value_packed", ""));
}

/* predict_probability(model text, input "any", label text) → double precision */
Datum
delc_predict_probability(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(2))
		null_argument("label");
	PG_RETURN_DATUM(predict_input(fcinfo, "predict_probability_packed", text_to_cstring(PG_GETARG_TEXT_PP(2))));
}

/* embed(model text, input "any", layer text) → vector */
Datum
delc_embed(PG_FUNCTION_ARGS)
{
	char	   *layer = PG_ARGISNULL(2) ? "" : text_to_cstring(PG_GETARG_TEXT_PP(2));

	PG_RETURN_DATUM(DirectFunctionCall1(delc_tensor_to_vector, predict_input(fcinfo, "embed_packed", layer)));
}
