/*
 * tensor_compare.c
 *	  Equality, order and hashing.
 *
 * Tensors are equal when dtype, shape and every bit of the numbers are: NaN
 * equals a NaN with the same payload, and -0 differs from 0.  That makes an
 * equivalence for DISTINCT, GROUP BY and joins, however the planes happen to
 * be encoded.  The order (dtype, rank, dims, bytes) serves sorting and unique
 * indexes and means nothing numerically.
 */
#include "tensor_format.h"

#include "common/hashfn.h"

static int
compare_headers(const DelcTensorHeader *a, const DelcTensorHeader *b)
{
	if (a->dtype != b->dtype)
		return a->dtype < b->dtype ? -1 : 1;
	if (a->rank != b->rank)
		return a->rank < b->rank ? -1 : 1;
	for (int axis = 0; axis < a->rank; axis++)
	{
		if (a->dims[axis] != b->dims[axis])
			return a->dims[axis] < b->dims[axis] ? -1 : 1;
	}
	return 0;
}

static int
compare_numbers(const TensorReader *a, const TensorReader *b)
{
	int64		elements = a->layout.header.elements;
	int			item_size = a->layout.header.item_size;
	int			result = 0;

	for (int64 start = 0; start < elements && result == 0; start += TENSOR_BLOCK)
	{
		uint64		left[TENSOR_BLOCK];
		uint64		right[TENSOR_BLOCK];
		int64		count = Min(TENSOR_BLOCK, elements - start);

		delc_reader_read(a, start, count, left);
		delc_reader_read(b, start, count, right);
		result = memcmp(left, right, count * item_size);
	}
	return result;
}

/* Are the stored bytes the same?  They need not be for the numbers to be. */
static bool
same_bytes(const TensorReader *a, const TensorReader *b)
{
	return a->layout.total_bytes == b->layout.total_bytes &&
		memcmp(a->bytes, b->bytes, a->layout.total_bytes) == 0;
}

static int
compare(Datum left, Datum right)
{
	TensorLayout left_layout;
	TensorLayout right_layout;
	TensorReader a;
	TensorReader b;
	int			result;

	delc_layout_read(left, &left_layout);
	delc_layout_read(right, &right_layout);
	result = compare_headers(&left_layout.header, &right_layout.header);
	if (result != 0)
		return result;
	delc_reader_open(&a, left, 0);
	delc_reader_open(&b, right, 0);
	if (!same_bytes(&a, &b))
		result = compare_numbers(&a, &b);
	/* index scans compare in a context that lives long: leave nothing */
	delc_reader_close(&a);
	delc_reader_close(&b);
	return result;
}

#define COMPARISON(name, operator) \
PG_FUNCTION_INFO_V1(delc_tensor_##name); \
Datum \
delc_tensor_##name(PG_FUNCTION_ARGS) \
{ \
	PG_RETURN_BOOL(compare(PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)) operator 0); \
}

COMPARISON(eq, ==)
COMPARISON(ne, !=)
COMPARISON(lt, <)
COMPARISON(le, <=)
COMPARISON(ge, >=)
COMPARISON(gt, >)

PG_FUNCTION_INFO_V1(delc_tensor_cmp);
Datum
delc_tensor_cmp(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(compare(PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)));
}

static uint64
hash(Datum value, uint64 seed)
{
	TensorReader reader;
	const DelcTensorHeader *header = &reader.layout.header;
	uint64		result;

	delc_reader_open(&reader, value, 0);
	result = hash_bytes_extended((const unsigned char *) header->dims,
								 header->rank * sizeof(int64),
								 seed ^ (uint64) header->dtype);
	for (int64 start = 0; start < header->elements; start += TENSOR_BLOCK)
	{
		uint64		dense[TENSOR_BLOCK];
		int64		count = Min(TENSOR_BLOCK, header->elements - start);

		delc_reader_read(&reader, start, count, dense);
		/* seed 0 means "no seed" to hash_bytes_extended: keep the chain going */
		result = hash_bytes_extended((const unsigned char *) dense,
									 count * header->item_size, result | 1);
	}
	delc_reader_close(&reader);
	return result;
}

PG_FUNCTION_INFO_V1(delc_tensor_hash);
Datum
delc_tensor_hash(PG_FUNCTION_ARGS)
{
	PG_RETURN_UINT32((uint32) hash(PG_GETARG_DATUM(0), 0));
}

PG_FUNCTION_INFO_V1(delc_tensor_hash_extended);
Datum
delc_tensor_hash_extended(PG_FUNCTION_ARGS)
{
	PG_RETURN_UINT64(hash(PG_GETARG_DATUM(0), PG_GETARG_INT64(1)));
}
