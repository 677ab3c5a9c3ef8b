/*
 * tensor_shape.c
 *	  Shapes: limits, comparison, text.
 */
#include "tensor_format.h"

#include "catalog/pg_type.h"
#include "common/int.h"
#include "utils/array.h"

static void
check_rank(int rank, int sqlstate)
{
	if (rank < 0 || rank > TENSOR_MAX_RANK)
		ereport(ERROR,
				(errcode(sqlstate),
				 errmsg("a tensor cannot have rank %d", rank),
				 errdetail("The rank of a tensor is 0 to %d.", TENSOR_MAX_RANK)));
}

static void pg_attribute_noreturn()
too_large(int dtype, int rank, const int64 *dims)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("tensor %s%s is too large",
					delc_dtype_name(dtype), delc_shape_text(rank, dims)),
			 errdetail("One tensor holds at most " INT64_FORMAT " bytes (128 MiB).",
					   TENSOR_MAX_BYTES),
			 errhint("Keep larger tensors in chunks, one per row, split along the first axis.")));
	pg_unreachable();
}

/*
 * Fill a header for dtype and dims.  sqlstate is what a rank or dimension
 * outside the rules is reported as.  An empty tensor may have any other
 * dimensions, as long as their product, were none of them 0, is a number of
 * bytes that fits 64 bits: that is what numpy and PyTorch demand too.
 */
void
delc_shape_set(DelcTensorHeader *header, int dtype, int rank,
			   const int64 *dims, int sqlstate)
{
	int64		bytes;
	bool		empty = false;

	if (delc_dtype_size(dtype) == 0)
		ereport(ERROR,
				(errcode(sqlstate),
				 errmsg("unknown dtype code %d", dtype),
				 errdetail("dtype codes are %d to %d.",
						   DELC_DTYPE_FIRST, DELC_DTYPE_LAST)));
	check_rank(rank, sqlstate);
	memset(header, 0, sizeof(*header));
	header->dtype = dtype;
	header->rank = rank;
	header->item_size = delc_dtype_size(dtype);
	bytes = header->item_size;
	for (int axis = 0; axis < rank; axis++)
	{
		if (dims[axis] < 0)
			ereport(ERROR,
					(errcode(sqlstate),
					 errmsg("dimension %d of a tensor cannot be " INT64_FORMAT,
							axis + 1, dims[axis]),
					 errdetail("The shape is %s; dimensions are 0 or more.",
							   delc_shape_text(rank, dims))));
		header->dims[axis] = dims[axis];
		if (dims[axis] == 0)
			empty = true;
		else if (pg_mul_s64_overflow(bytes, dims[axis], &bytes))
			too_large(dtype, rank, dims);
	}
	header->raw_bytes = empty ? 0 : bytes;
	header->elements = header->raw_bytes / header->item_size;
	if (header->raw_bytes > TENSOR_MAX_BYTES)
		too_large(dtype, rank, dims);
}

bool
delc_shape_equal(const DelcTensorHeader *a, const DelcTensorHeader *b)
{
	return a->rank == b->rank &&
		memcmp(a->dims, b->dims, a->rank * sizeof(int64)) == 0;
}

/* "[2,3]" */
char *
delc_shape_text(int rank, const int64 *dims)
{
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfoChar(&text, '[');
	for (int axis = 0; axis < rank; axis++)
		appendStringInfo(&text, axis == 0 ? INT64_FORMAT : "," INT64_FORMAT,
						 dims[axis]);
	appendStringInfoChar(&text, ']');
	return text.data;
}

/* "float32[2,3]" */
char *
delc_header_text(const DelcTensorHeader *header)
{
	return psprintf("%s%s", delc_dtype_name(header->dtype),
					delc_shape_text(header->rank, header->dims));
}

/* Read a bigint[] as dims; returns the rank.  Signs are not checked here. */
int
delc_shape_from_array(Datum array, int64 *dims)
{
	ArrayType  *shape = DatumGetArrayTypeP(array);
	int			rank;

	if (ARR_NDIM(shape) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("a shape is a one-dimensional array, not one of %d dimensions",
						ARR_NDIM(shape))));
	if (array_contains_nulls(shape))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("a shape cannot contain NULL")));
	Assert(ARR_ELEMTYPE(shape) == INT8OID);
	rank = ArrayGetNItems(ARR_NDIM(shape), ARR_DIMS(shape));
	check_rank(rank, ERRCODE_INVALID_PARAMETER_VALUE);
	memcpy(dims, ARR_DATA_PTR(shape), rank * sizeof(int64));
	return rank;
}
