/*
 * delta_functions.c
 *	  Deltas in SQL: make one, apply one, tell whether a value is one, restore a chain.
 */
#include "aggregate.h"
#include "delta.h"

#include "utils/builtins.h"
#include "utils/memutils.h"

PG_FUNCTION_INFO_V1(delc_tensor_is_delta);
Datum
delc_tensor_is_delta(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(delc_is_delta(PG_GETARG_DATUM(0)));
}

static void
check_dtypes(const char *what, const DelcTensorHeader *header, const DelcTensorHeader *base)
{
	if (header->dtype == base->dtype)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("there is no delta between tensors of dtype %s and %s",
					delc_dtype_name(base->dtype), delc_dtype_name(header->dtype)),
			 errdetail("The base is %s, the %s %s.", delc_header_text(base), what,
					   delc_header_text(header)),
			 errhint("Convert one of them with delc.as_dtype, or store it whole.")));
}

static char *
decoded(Datum value, DelcTensorHeader *header)
{
	char	   *numbers;

	delc_tensor_header(value, header);
	numbers = palloc(Max(header->raw_bytes, 1));
	delc_tensor_decode(value, 0, numbers);
	return numbers;
}

PG_FUNCTION_INFO_V1(delc_tensor_delta);
Datum
delc_tensor_delta(PG_FUNCTION_ARGS)
{
	DeltaInput	input = {0};
	DelcTensorHeader grandbase;
	int			method;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2))
		PG_RETURN_NULL();
	method = delc_delta_method(text_to_cstring(PG_GETARG_TEXT_PP(2)));
	delc_tensor_header(PG_GETARG_DATUM(0), &input.base);
	delc_tensor_header(PG_GETARG_DATUM(1), &input.header);
	check_dtypes("target is", &input.header, &input.base);
	input.base_numbers = decoded(PG_GETARG_DATUM(0), &input.base);
	input.target_numbers = decoded(PG_GETARG_DATUM(1), &input.header);
	if (!PG_ARGISNULL(3))
	{
		delc_tensor_header(PG_GETARG_DATUM(3), &grandbase);
		check_dtypes("grandbase is", &grandbase, &input.base);
		/* one of another shape predicts nothing, and is not needed */
		if (method == DELTA_SUB && delc_shape_equal(&grandbase, &input.base))
			input.grandbase_numbers = decoded(PG_GETARG_DATUM(3), &grandbase);
	}
	PG_RETURN_TENSOR(delc_delta_encode(&input, method));
}

static void
check_is_delta(Datum value)
{
	DelcTensorHeader header;

	if (delc_is_delta(value))
		return;
	delc_tensor_header(value, &header);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("tensor %s is no delta", delc_header_text(&header)),
			 errdetail("It is a whole value, which nothing needs to be applied to."),
			 errhint("delc.is_delta(tensor) tells which a stored value is.")));
}

/* The newest value of a chain as a tensor; the chain is used up. */
static struct varlena *
chain_value(DeltaChain *chain)
{
	struct varlena *value;

	delc_chain_drop_previous(chain);
	value = delc_tensor_encode(chain->header.dtype, chain->header.rank, chain->header.dims,
							   chain->numbers);
	pfree(chain->numbers);
	chain->numbers = NULL;
	return value;
}

/* Give a chain its grandbase, where it has the base's shape. */
static void
set_grandbase(DeltaChain *chain, Datum value)
{
	DelcTensorHeader header;

	delc_tensor_header(value, &header);
	check_dtypes("grandbase is", &header, &chain->header);
	if (!delc_shape_equal(&header, &chain->header))
		return;
	chain->previous = decoded(value, &header);
	chain->previous_crc = delc_crc32c(chain->previous, header.raw_bytes);
}

PG_FUNCTION_INFO_V1(delc_tensor_apply_delta);
Datum
delc_tensor_apply_delta(PG_FUNCTION_ARGS)
{
	DeltaChain	chain;
	StoredValue delta;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	check_is_delta(PG_GETARG_DATUM(1));
	delc_chain_start(&chain, CurrentMemoryContext, 0);
	delc_chain_begin(&chain, PG_GETARG_DATUM(0));
	if (!PG_ARGISNULL(2))
		set_grandbase(&chain, PG_GETARG_DATUM(2));
	delta = delc_stored_datum(PG_GETARG_DATUM(1));
	delc_chain_add(&chain, &delta);
	PG_RETURN_TENSOR(chain_value(&chain));
}

/* ---- the stored bytes ---- */

/* Stored value and bytea are the same varlena. */
PG_FUNCTION_INFO_V1(delc_tensor_encoded);
Datum
delc_tensor_encoded(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(PG_GETARG_DATUM(0));
}

/* ---- restore ---- */

static void
check_row(FunctionCallInfo fcinfo, const DeltaChain *chain)
{
	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("value " INT64_FORMAT " of a chain is NULL",
						chain == NULL ? 1 : chain->values + 1)));
	if (chain == NULL && delc_is_delta(PG_GETARG_DATUM(1)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a chain begins with a whole value, not with a delta"),
				 errhint("Order the rows: delc.restore(value ORDER BY hop).")));
	if (chain != NULL)
		check_is_delta(PG_GETARG_DATUM(1));
}

static int
wanted_planes(FunctionCallInfo fcinfo)
{
	if (PG_NARGS() < 3 || PG_ARGISNULL(2))
		return 0;
	if (PG_GETARG_INT32(2) < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("cannot read %d planes of a tensor", PG_GETARG_INT32(2)),
				 errhint("Ask for 1 (the most significant byte of each element) or more.")));
	return PG_GETARG_INT32(2);
}

PG_FUNCTION_INFO_V1(delc_tensor_restore_step);
Datum
delc_tensor_restore_step(PG_FUNCTION_ARGS)
{
	MemoryContext context = aggregate_context(fcinfo);
	DeltaChain *chain = PG_ARGISNULL(0) ? NULL : (DeltaChain *) PG_GETARG_POINTER(0);

	check_row(fcinfo, chain);
	if (chain == NULL)
	{
		chain = MemoryContextAlloc(context, sizeof(DeltaChain));
		delc_chain_start(chain, context, wanted_planes(fcinfo));
		delc_chain_begin(chain, PG_GETARG_DATUM(1));
	}
	else
	{
		StoredValue delta = delc_stored_datum(PG_GETARG_DATUM(1));

		delc_chain_add(chain, &delta);
	}
	PG_RETURN_POINTER(chain);
}

PG_FUNCTION_INFO_V1(delc_tensor_restore_final);
Datum
delc_tensor_restore_final(PG_FUNCTION_ARGS)
{
	aggregate_context(fcinfo);
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	PG_RETURN_TENSOR(chain_value((DeltaChain *) PG_GETARG_POINTER(0)));
}
