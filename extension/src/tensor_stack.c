/*
 * tensor_stack.c
 *	  stack(tensor): rows side by side along a new first axis.
 */
#include "aggregate.h"
#include "tensor_format.h"

#include "utils/memutils.h"

typedef struct StackState
{
	DelcTensorHeader header;	/* of each row */
	int64		rows;
	int64		capacity;		/* bytes allocated */
	char	   *dense;
	MemoryContext context;
} StackState;

static StackState *
make_state(MemoryContext context, Datum value)
{
	StackState *state = MemoryContextAllocZero(context, sizeof(StackState));

	delc_tensor_header(value, &state->header);
	if (state->header.rank == TENSOR_MAX_RANK)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("cannot stack tensors of rank %d", state->header.rank),
				 errdetail("The rank of a tensor is 0 to %d.", TENSOR_MAX_RANK)));
	state->context = context;
	return state;
}

/* The shape of the result so far; refuses one that is too large. */
static void
stacked_header(const StackState *state, int64 rows, DelcTensorHeader *stacked)
{
	int64		dims[TENSOR_MAX_RANK];

	dims[0] = rows;
	memcpy(dims + 1, state->header.dims, state->header.rank * sizeof(int64));
	delc_shape_set(stacked, state->header.dtype, state->header.rank + 1, dims,
				   ERRCODE_INVALID_PARAMETER_VALUE);
}

/* Make room for so many bytes, at least doubling up to the most that fits. */
static void
reserve(StackState *state, int64 bytes)
{
	int64		capacity;

	if (bytes <= state->capacity)
		return;
	capacity = Min(Max(Max(2 * state->capacity, bytes), 1024), TENSOR_MAX_BYTES);
	state->dense = state->dense == NULL ?
		MemoryContextAlloc(state->context, capacity) :
		repalloc(state->dense, capacity);
	state->capacity = capacity;
}

static void
add_row(StackState *state, Datum value)
{
	DelcTensorHeader row;
	DelcTensorHeader stacked;

	delc_tensor_header(value, &row);
	if (row.dtype != state->header.dtype || !delc_shape_equal(&row, &state->header))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("cannot stack tensors that differ: %s and %s",
						delc_header_text(&state->header), delc_header_text(&row)),
				 errdetail("Row " INT64_FORMAT " is the first that differs.",
						   state->rows + 1)));
	stacked_header(state, state->rows + 1, &stacked);
	reserve(state, stacked.raw_bytes);
	if (row.raw_bytes > 0)
		delc_tensor_decode(value, 0, state->dense + state->rows * row.raw_bytes);
	state->rows++;
}

PG_FUNCTION_INFO_V1(delc_tensor_stack_step);
Datum
delc_tensor_stack_step(PG_FUNCTION_ARGS)
{
	MemoryContext context = aggregate_context(fcinfo);
	StackState *state = PG_ARGISNULL(0) ? NULL : (StackState *) PG_GETARG_POINTER(0);
	Datum		value;

	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("cannot stack NULL"),
				 errdetail("Row " INT64_FORMAT " is NULL.",
						   state == NULL ? 1 : state->rows + 1),
				 errhint("Leave NULLs out with FILTER (WHERE ... IS NOT NULL).")));
	value = PG_GETARG_WHOLE_TENSOR(1);
	if (state == NULL)
		state = make_state(context, value);
	add_row(state, value);
	PG_RETURN_POINTER(state);
}

PG_FUNCTION_INFO_V1(delc_tensor_stack_final);
Datum
delc_tensor_stack_final(PG_FUNCTION_ARGS)
{
	const StackState *state;
	DelcTensorHeader stacked;

	aggregate_context(fcinfo);
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	state = (const StackState *) PG_GETARG_POINTER(0);
	stacked_header(state, state->rows, &stacked);
	PG_RETURN_TENSOR(delc_tensor_encode(stacked.dtype, stacked.rank, stacked.dims,
										state->dense));
}
