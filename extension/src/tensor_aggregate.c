/*
 * tensor_aggregate.c
 *	  sum(tensor), avg(tensor), avg(tensor, weight).
 *
 * The state holds one number per element in the aggregate's memory context and
 * is added to in place: doubles for floats, and for all means; int64 with
 * overflow checks for sums of integers and bool.  States can be combined and
 * travel between parallel workers.
 */
#include "aggregate.h"
#include "tensor_format.h"

#include <math.h>

#include "common/int.h"
#include "libpq/pqformat.h"

#define STATE_MAGIC 0x7E5A0001

typedef struct SumState
{
	int			dtype;			/* of the input */
	int			result_dtype;
	bool		integral;		/* sums are int64, else double */
	int			rank;
	int64		dims[TENSOR_MAX_RANK];
	int64		elements;
	int64		count;			/* rows added */
	double		weight;			/* their weights added up */
	union
	{
		double	   *floats;
		int64	   *integers;
	}			sums;
} SumState;

/* ---- states ---- */

/*
 * The dtype of a result.  Sums of float16 and bfloat16 would soon be infinite,
 * or lose what is added: they come out as float32.  Sums of integers are
 * int64, their means float64.
 */
static int
result_dtype(int dtype, bool integral)
{
	switch (dtype)
	{
		case DELC_FLOAT64:
			return DELC_FLOAT64;
		case DELC_FLOAT32:
		case DELC_FLOAT16:
		case DELC_BFLOAT16:
			return DELC_FLOAT32;
		default:
			return integral ? DELC_INT64 : DELC_FLOAT64;
	}
}

/* A state of zeros for tensors like header, in the given context. */
static SumState *
make_state(MemoryContext context, const DelcTensorHeader *header, bool mean)
{
	SumState   *state = MemoryContextAllocZero(context, sizeof(SumState));
	DelcTensorHeader result;

	state->dtype = header->dtype;
	state->integral = !mean && delc_dtype_kind(header->dtype) != KIND_FLOAT;
	state->result_dtype = result_dtype(header->dtype, state->integral);
	/* before allocating: the result must fit one datum */
	delc_shape_set(&result, state->result_dtype, header->rank, header->dims,
				   ERRCODE_INVALID_PARAMETER_VALUE);
	state->rank = header->rank;
	memcpy(state->dims, header->dims, sizeof(state->dims));
	state->elements = header->elements;
	state->sums.floats =
		MemoryContextAllocZero(context, Max(header->elements, 1) * sizeof(double));
	return state;
}

static void
check_like_state(const SumState *state, const DelcTensorHeader *header)
{
	if (state->dtype == header->dtype && state->rank == header->rank &&
		memcmp(state->dims, header->dims, sizeof(state->dims)) == 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_DATA_EXCEPTION),
			 errmsg("tensors of an aggregate differ: %s%s and %s",
					delc_dtype_name(state->dtype),
					delc_shape_text(state->rank, state->dims),
					delc_header_text(header)),
			 errdetail("All rows must have the same dtype and shape.")));
}

static void pg_attribute_noreturn()
sum_overflow(int64 element)
{
	ereport(ERROR,
			(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
			 errmsg("the sum of tensors is out of range for dtype int64"),
			 errdetail("It is element " INT64_FORMAT
					   " in row-major order, counted from 1.", element + 1)));
	pg_unreachable();
}

static void
add_integers(SumState *state, const int64 *numbers, int64 start, int64 count)
{
	int64	   *sums = state->sums.integers + start;

	for (int64 i = 0; i < count; i++)
	{
		if (pg_add_s64_overflow(sums[i], numbers[i], &sums[i]))
			sum_overflow(start + i);
	}
}

/* Add a block's numbers times weight. */
static void
add_block(SumState *state, const DtypeBlock *block, int64 start, int count,
		  double weight)
{
	double	   *sums = state->sums.floats + start;

	if (state->integral)
		add_integers(state, block->u.integers, start, count);
	else if (block->integral)
	{
		for (int i = 0; i < count; i++)
			sums[i] += (double) block->u.integers[i] * weight;
	}
	else if (weight == 1)
	{
		for (int i = 0; i < count; i++)
			sums[i] += block->u.floats[i];
	}
	else
	{
		for (int i = 0; i < count; i++)
			sums[i] += block->u.floats[i] * weight;
	}
}

static void
add_tensor(SumState *state, Datum value, double weight)
{
	TensorReader reader;

	delc_reader_open(&reader, value, 0);
	check_like_state(state, &reader.layout.header);
	/* a row of weight 0 leaves no trace, not even of its infinities */
	for (int64 start = 0; weight != 0 && start < state->elements; start += TENSOR_BLOCK)
	{
		uint64		dense[TENSOR_BLOCK];
		DtypeBlock	block;
		int			count = (int) Min(TENSOR_BLOCK, state->elements - start);

		delc_reader_read(&reader, start, count, dense);
		delc_block_widen(&block, state->dtype, dense, count);
		add_block(state, &block, start, count, weight);
	}
	state->count++;
	state->weight += weight;
	delc_reader_close(&reader);
}

/* ---- transition ---- */

static Datum
accumulate(FunctionCallInfo fcinfo, bool mean, double weight)
{
	MemoryContext context = aggregate_context(fcinfo);
	SumState   *state = PG_ARGISNULL(0) ? NULL : (SumState *) PG_GETARG_POINTER(0);
	Datum		value = PG_GETARG_WHOLE_TENSOR(1);

	if (state == NULL)
	{
		DelcTensorHeader header;

		delc_tensor_header(value, &header);
		state = make_state(context, &header, mean);
	}
	add_tensor(state, value, weight);
	PG_RETURN_POINTER(state);
}

static Datum
unchanged(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	PG_RETURN_DATUM(PG_GETARG_DATUM(0));
}

PG_FUNCTION_INFO_V1(delc_tensor_sum_step);
Datum
delc_tensor_sum_step(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(1))
		return unchanged(fcinfo);
	return accumulate(fcinfo, false, 1);
}

PG_FUNCTION_INFO_V1(delc_tensor_mean_step);
Datum
delc_tensor_mean_step(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(1))
		return unchanged(fcinfo);
	return accumulate(fcinfo, true, 1);
}

PG_FUNCTION_INFO_V1(delc_tensor_weighted_mean_step);
Datum
delc_tensor_weighted_mean_step(PG_FUNCTION_ARGS)
{
	double		weight;

	if (PG_ARGISNULL(1) || PG_ARGISNULL(2))
		return unchanged(fcinfo);
	weight = PG_GETARG_FLOAT8(2);
	if (!isfinite(weight) || weight < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a weight of avg(tensor, weight) cannot be %g", weight),
				 errdetail("Weights are finite and 0 or more.")));
	return accumulate(fcinfo, true, weight);
}

/* ---- combining ---- */

static bool
same_kind(const SumState *a, const SumState *b)
{
	return a->dtype == b->dtype && a->integral == b->integral;
}

static void
add_state(SumState *state, const SumState *other)
{
	DelcTensorHeader header;

	delc_shape_set(&header, other->dtype, other->rank, other->dims,
				   ERRCODE_INVALID_PARAMETER_VALUE);
	check_like_state(state, &header);
	if (!same_kind(state, other))
		elog(ERROR, "states of different tensor aggregates");
	if (state->integral)
		add_integers(state, other->sums.integers, 0, state->elements);
	else
	{
		for (int64 i = 0; i < state->elements; i++)
			state->sums.floats[i] += other->sums.floats[i];
	}
	state->count += other->count;
	state->weight += other->weight;
}

PG_FUNCTION_INFO_V1(delc_tensor_sum_combine);
Datum
delc_tensor_sum_combine(PG_FUNCTION_ARGS)
{
	MemoryContext context = aggregate_context(fcinfo);
	SumState   *state = PG_ARGISNULL(0) ? NULL : (SumState *) PG_GETARG_POINTER(0);
	const SumState *other;

	if (PG_ARGISNULL(1))
		return unchanged(fcinfo);
	other = (const SumState *) PG_GETARG_POINTER(1);
	if (state == NULL)
	{
		DelcTensorHeader header;

		delc_shape_set(&header, other->dtype, other->rank, other->dims,
					   ERRCODE_INVALID_PARAMETER_VALUE);
		state = make_state(context, &header, !other->integral);
		if (!same_kind(state, other))
			elog(ERROR, "states of different tensor aggregates");
	}
	add_state(state, other);
	PG_RETURN_POINTER(state);
}

/*
 * A state as bytes: magic, dtype, integral, rank, dims, count, weight, sums,
 * in the byte order of this machine, which all parallel workers share.
 */
typedef struct SerializedState
{
	uint32		magic;
	uint8		dtype;
	uint8		integral;
	uint8		rank;
	uint8		unused;
	int64		dims[TENSOR_MAX_RANK];
	int64		count;
	double		weight;
} SerializedState;

PG_FUNCTION_INFO_V1(delc_tensor_sum_serialize);
Datum
delc_tensor_sum_serialize(PG_FUNCTION_ARGS)
{
	const SumState *state;
	SerializedState head = {STATE_MAGIC};
	int64		sums_bytes;
	bytea	   *result;

	aggregate_context(fcinfo);
	state = (const SumState *) PG_GETARG_POINTER(0);
	sums_bytes = state->elements * sizeof(double);
	head.dtype = state->dtype;
	head.integral = state->integral;
	head.rank = state->rank;
	memcpy(head.dims, state->dims, sizeof(head.dims));
	head.count = state->count;
	head.weight = state->weight;
	result = palloc(VARHDRSZ + sizeof(head) + sums_bytes);
	SET_VARSIZE(result, VARHDRSZ + sizeof(head) + sums_bytes);
	memcpy(VARDATA(result), &head, sizeof(head));
	memcpy(VARDATA(result) + sizeof(head), state->sums.floats, sums_bytes);
	PG_RETURN_BYTEA_P(result);
}

static void pg_attribute_noreturn()
bad_state(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
			 errmsg("not a valid state of a tensor aggregate")));
	pg_unreachable();
}

PG_FUNCTION_INFO_V1(delc_tensor_sum_deserialize);
Datum
delc_tensor_sum_deserialize(PG_FUNCTION_ARGS)
{
	bytea	   *bytes;
	SerializedState head;
	DelcTensorHeader header;
	SumState   *state;

	aggregate_context(fcinfo);
	bytes = PG_GETARG_BYTEA_PP(0);
	if (VARSIZE_ANY_EXHDR(bytes) < sizeof(head))
		bad_state();
	memcpy(&head, VARDATA_ANY(bytes), sizeof(head));
	if (head.magic != STATE_MAGIC || head.integral > 1 || head.count < 0)
		bad_state();
	delc_shape_set(&header, head.dtype, head.rank, head.dims,
				   ERRCODE_INVALID_BINARY_REPRESENTATION);
	if (VARSIZE_ANY_EXHDR(bytes) - sizeof(head) != header.elements * sizeof(double))
		bad_state();
	state = make_state(CurrentMemoryContext, &header, !head.integral);
	if (state->integral != head.integral)
		bad_state();
	state->count = head.count;
	state->weight = head.weight;
	memcpy(state->sums.floats, VARDATA_ANY(bytes) + sizeof(head),
		   header.elements * sizeof(double));
	PG_RETURN_POINTER(state);
}

/* ---- results ---- */

/*
 * The sums divided, rounded to the result's dtype.  Overflow is infinity, as
 * in all arithmetic of float tensors.
 */
static struct varlena *
result_of_floats(const SumState *state, double divisor)
{
	int			item_size = delc_dtype_size(state->result_dtype);
	char	   *dense = palloc(Max(state->elements * item_size, 1));
	struct varlena *result;

	for (int64 i = 0; i < state->elements; i++)
	{
		double		number = state->sums.floats[i] / divisor;

		if (state->result_dtype == DELC_FLOAT64)
			((double *) dense)[i] = number;
		else
			((float *) dense)[i] = (float) number;
	}
	result = delc_tensor_encode(state->result_dtype, state->rank, state->dims, dense);
	pfree(dense);
	return result;
}

PG_FUNCTION_INFO_V1(delc_tensor_sum_final);
Datum
delc_tensor_sum_final(PG_FUNCTION_ARGS)
{
	const SumState *state;

	aggregate_context(fcinfo);
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	state = (const SumState *) PG_GETARG_POINTER(0);
	if (state->integral)
		PG_RETURN_TENSOR(delc_tensor_encode(DELC_INT64, state->rank, state->dims,
											state->sums.integers));
	PG_RETURN_TENSOR(result_of_floats(state, 1));
}

PG_FUNCTION_INFO_V1(delc_tensor_mean_final);
Datum
delc_tensor_mean_final(PG_FUNCTION_ARGS)
{
	const SumState *state;

	aggregate_context(fcinfo);
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	state = (const SumState *) PG_GETARG_POINTER(0);
	if (state->weight == 0)
		ereport(ERROR,
				(errcode(ERRCODE_DIVISION_BY_ZERO),
				 errmsg("the weights of avg(tensor, weight) add up to zero")));
	PG_RETURN_TENSOR(result_of_floats(state, state->weight));
}
