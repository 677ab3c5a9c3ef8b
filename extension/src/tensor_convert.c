/*
 * tensor_convert.c
 *	  Numbers of one dtype as another.
 *
 * Every conversion goes through a block of doubles (from floats) or of int64
 * (from integers and bool): both hold all numbers of the narrower types
 * exactly, so that each number is rounded once, to nearest even.  Numbers that
 * the target cannot hold are errors, never wrapped or clipped.
 */
#include "tensor_format.h"

#include <math.h>

#include "common/shortest_dec.h"

#include "small_float.h"

/* ---- to a block ---- */

#define WIDEN(type, field, expression) \
	do { \
		const type *from = dense; \
		for (int i = 0; i < elements; i++) \
			block->u.field[i] = (expression); \
	} while (0)

/*
 * Read at most TENSOR_BLOCK numbers of dtype, aligned for it, into the block.
 */
void
delc_block_widen(DtypeBlock *block, int dtype, const void *dense, int elements)
{
	Assert(elements <= TENSOR_BLOCK);
	block->integral = delc_dtype_kind(dtype) != KIND_FLOAT;
	switch ((DelcDtype) dtype)
	{
		case DELC_FLOAT64:
			WIDEN(double, floats, from[i]);
			break;
		case DELC_FLOAT32:
			WIDEN(float, floats, from[i]);
			break;
		case DELC_FLOAT16:
			WIDEN(uint16, floats, delc_float16_to_float(from[i]));
			break;
		case DELC_BFLOAT16:
			WIDEN(uint16, floats, delc_bfloat16_to_float(from[i]));
			break;
		case DELC_INT64:
			WIDEN(int64, integers, from[i]);
			break;
		case DELC_INT32:
			WIDEN(int32, integers, from[i]);
			break;
		case DELC_INT16:
			WIDEN(int16, integers, from[i]);
			break;
		case DELC_INT8:
			WIDEN(int8, integers, from[i]);
			break;
		case DELC_UINT8:
			WIDEN(uint8, integers, from[i]);
			break;
		case DELC_BOOL:
			WIDEN(uint8, integers, from[i] != 0);
			break;
	}
}

/* ---- from a block ---- */

static void pg_attribute_noreturn()
out_of_range(const char *number, int dtype, int64 element)
{
	ereport(ERROR,
			(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
			 errmsg("%s is out of range for dtype %s",
					number, delc_dtype_name(dtype)),
			 errdetail("It is element " INT64_FORMAT
					   " in row-major order, counted from 1.", element + 1)));
	pg_unreachable();
}

static void pg_attribute_noreturn()
float_out_of_range(double number, int dtype, int64 element)
{
	char		text[DOUBLE_SHORTEST_DECIMAL_LEN];

	double_to_shortest_decimal_buf(number, text);
	out_of_range(text, dtype, element);
}

static void pg_attribute_noreturn()
integer_out_of_range(int64 number, int dtype, int64 element)
{
	out_of_range(psprintf(INT64_FORMAT, number), dtype, element);
}

/*
 * Loops over a block.  "rounded" is the number in the target type; one that
 * became infinite without having been infinite is out of range.
 */
#define NARROW_FLOATS(type, expression, is_infinite) \
	do { \
		type	   *to = dense; \
		for (int i = 0; i < elements; i++) \
		{ \
			double		number = block->u.floats[i]; \
			type		rounded = (expression); \
			if (unlikely(is_infinite) && isfinite(number)) \
				float_out_of_range(number, dtype, first + i); \
			to[i] = rounded; \
		} \
	} while (0)

/* low and above are doubles; above is one more than the largest integer. */
#define ROUND_TO_INTEGERS(type, low, above) \
	do { \
		type	   *to = dense; \
		for (int i = 0; i < elements; i++) \
		{ \
			double		number = rint(block->u.floats[i]); \
			if (unlikely(!(number >= (low) && number < (above)))) \
				float_out_of_range(block->u.floats[i], dtype, first + i); \
			to[i] = (type) number; \
		} \
	} while (0)

static void
narrow_floats(const DtypeBlock *block, int dtype, void *dense, int elements,
			  int64 first)
{
	switch ((DelcDtype) dtype)
	{
		case DELC_FLOAT64:
			memcpy(dense, block->u.floats, elements * sizeof(double));
			break;
		case DELC_FLOAT32:
			NARROW_FLOATS(float, (float) number, isinf(rounded));
			break;
		case DELC_FLOAT16:
			NARROW_FLOATS(uint16, delc_float16_of_double(number),
						  (rounded & 0x7FFF) == 0x7C00);
			break;
		case DELC_BFLOAT16:
			NARROW_FLOATS(uint16, delc_bfloat16_of_double(number),
						  (rounded & 0x7FFF) == 0x7F80);
			break;
		case DELC_INT64:
			ROUND_TO_INTEGERS(int64, -0x1p63, 0x1p63);
			break;
		case DELC_INT32:
			ROUND_TO_INTEGERS(int32, -0x1p31, 0x1p31);
			break;
		case DELC_INT16:
			ROUND_TO_INTEGERS(int16, -0x1p15, 0x1p15);
			break;
		case DELC_INT8:
			ROUND_TO_INTEGERS(int8, -0x1p7, 0x1p7);
			break;
		case DELC_UINT8:
			ROUND_TO_INTEGERS(uint8, 0.0, 0x1p8);
			break;
		case DELC_BOOL:
			for (int i = 0; i < elements; i++)
				((uint8 *) dense)[i] = block->u.floats[i] != 0;
			break;
	}
}

#define FROM_INTEGERS(type, expression) \
	do { \
		type	   *to = dense; \
		for (int i = 0; i < elements; i++) \
		{ \
			int64		number = block->u.integers[i]; \
			to[i] = (expression); \
		} \
	} while (0)

#define NARROW_INTEGERS(type, low, high) \
	do { \
		type	   *to = dense; \
		for (int i = 0; i < elements; i++) \
		{ \
			int64		number = block->u.integers[i]; \
			if (unlikely(number < (low) || number > (high))) \
				integer_out_of_range(number, dtype, first + i); \
			to[i] = (type) number; \
		} \
	} while (0)

/*
 * The double nearest to an int64 may lie halfway between two small floats
 * where the integer does not.  Setting the lowest bit of an inexact, truncated
 * mantissa (rounding to odd) keeps the second rounding honest.
 */
static double
int64_rounded_to_odd(int64 number)
{
	double		nearest = (double) number;
	double		truncated;
	uint64		bits;

	if (number >= -(INT64CONST(1) << 53) && number <= (INT64CONST(1) << 53))
		return nearest;
	truncated = nearest;
	if ((number > 0 && (nearest >= 0x1p63 || (int64) nearest > number)) ||
		(number < 0 && (int64) nearest < number))
		truncated = nextafter(nearest, 0);
	memcpy(&bits, &truncated, sizeof(bits));
	if ((int64) truncated != number)
		bits |= 1;
	memcpy(&truncated, &bits, sizeof(bits));
	return truncated;
}

static void
narrow_integers(const DtypeBlock *block, int dtype, void *dense, int elements,
				int64 first)
{
	switch ((DelcDtype) dtype)
	{
		case DELC_FLOAT64:
			FROM_INTEGERS(double, (double) number);
			break;
		case DELC_FLOAT32:
			FROM_INTEGERS(float, (float) number);
			break;
		case DELC_FLOAT16:
			FROM_INTEGERS(uint16, delc_float16_of_double((double) number));
			for (int i = 0; i < elements; i++)
				if ((((uint16 *) dense)[i] & 0x7FFF) == 0x7C00)
					integer_out_of_range(block->u.integers[i], dtype, first + i);
			break;
		case DELC_BFLOAT16:
			FROM_INTEGERS(uint16,
						  delc_bfloat16_of_double(int64_rounded_to_odd(number)));
			break;
		case DELC_INT64:
			memcpy(dense, block->u.integers, elements * sizeof(int64));
			break;
		case DELC_INT32:
			NARROW_INTEGERS(int32, PG_INT32_MIN, PG_INT32_MAX);
			break;
		case DELC_INT16:
			NARROW_INTEGERS(int16, PG_INT16_MIN, PG_INT16_MAX);
			break;
		case DELC_INT8:
			NARROW_INTEGERS(int8, PG_INT8_MIN, PG_INT8_MAX);
			break;
		case DELC_UINT8:
			NARROW_INTEGERS(uint8, 0, PG_UINT8_MAX);
			break;
		case DELC_BOOL:
			FROM_INTEGERS(uint8, number != 0);
			break;
	}
}

/*
 * Write the block as numbers of dtype, to memory aligned for it.  first is the
 * position of the block's first number in the tensor, for error messages.
 */
void
delc_block_narrow(const DtypeBlock *block, int dtype, void *dense,
				  int elements, int64 first)
{
	if (block->integral)
		narrow_integers(block, dtype, dense, elements, first);
	else
		narrow_floats(block, dtype, dense, elements, first);
}

/* ---- whole tensors ---- */

/* Convert dense numbers, both sides aligned for their dtype. */
void
delc_convert(int from, const void *source, int to, void *target, int64 elements)
{
	int			from_size = delc_dtype_size(from);
	int			to_size = delc_dtype_size(to);

	for (int64 start = 0; start < elements; start += TENSOR_BLOCK)
	{
		DtypeBlock	block;
		int			count = (int) Min(TENSOR_BLOCK, elements - start);

		delc_block_widen(&block, from, (const char *) source + start * from_size,
						 count);
		delc_block_narrow(&block, to, (char *) target + start * to_size, count,
						  start);
	}
}

/*
 * Read all elements of an open tensor as numbers of dtype.  Narrowing goes
 * through an aligned buffer: target may lie anywhere.
 */
static void
read_as(const TensorReader *reader, int dtype, char *target)
{
	const DelcTensorHeader *header = &reader->layout.header;
	int			size = delc_dtype_size(dtype);

	for (int64 start = 0; start < header->elements; start += TENSOR_BLOCK)
	{
		DtypeBlock	block;
		int64		dense[TENSOR_BLOCK];
		int			count = (int) Min(TENSOR_BLOCK, header->elements - start);

		delc_reader_read(reader, start, count, dense);
		delc_block_widen(&block, header->dtype, dense, count);
		delc_block_narrow(&block, dtype, dense, count, start);
		memcpy(target + start * size, dense, count * size);
	}
}

void
delc_tensor_pack(Datum value, int target_dtype, void *out,
				 int64 expected_elements)
{
	TensorReader reader;
	const DelcTensorHeader *header = &reader.layout.header;

	if (delc_dtype_size(target_dtype) == 0)
		elog(ERROR, "unknown dtype code %d", target_dtype);
	delc_reader_open(&reader, value, 0);
	if (header->elements != expected_elements)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("tensor %s has " INT64_FORMAT " elements instead of "
						INT64_FORMAT, delc_header_text(header),
						header->elements, expected_elements)));
	if (header->dtype == target_dtype)
		delc_reader_read(&reader, 0, header->elements, out);
	else
		read_as(&reader, target_dtype, out);
	delc_reader_close(&reader);
}

/* The tensor with its numbers converted. */
struct varlena *
delc_tensor_as_dtype(Datum value, int dtype)
{
	DelcTensorHeader header;
	DelcTensorHeader converted;
	char	   *dense;
	struct varlena *result;

	delc_tensor_header(value, &header);
	if (header.dtype == dtype)
		return PG_DETOAST_DATUM_COPY(value);
	delc_shape_set(&converted, dtype, header.rank, header.dims,
				   ERRCODE_INVALID_PARAMETER_VALUE);
	dense = palloc(Max(converted.raw_bytes, 1));
	delc_tensor_pack(value, dtype, dense, header.elements);
	result = delc_tensor_encode(dtype, header.rank, header.dims, dense);
	pfree(dense);
	return result;
}
