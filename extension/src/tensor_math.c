/*
 * tensor_math.c
 *	  Element-wise + - * of tensors, and of a tensor and a number.
 *
 * The result has the dtype of the tensors.  Floats follow IEEE 754, as numpy
 * and PyTorch do: an overflow is infinity.  float16 and bfloat16 are computed
 * in float32 and rounded once more; a number beside a tensor of the smaller
 * floats is rounded to float32 first (PyTorch's rule).  Integers never wrap: an overflow is an
 * error.
 */
#include "tensor_format.h"

#include <math.h>

#include "common/int.h"
#include "common/shortest_dec.h"

#include "small_float.h"

typedef enum Operation
{
	ADD,
	SUBTRACT,
	MULTIPLY
} Operation;

/* A block of numbers in the type that they are computed in. */
typedef union Operands
{
	double		doubles[TENSOR_BLOCK];
	float		floats[TENSOR_BLOCK];
	DtypeBlock	block;			/* integers */
} Operands;

/* ---- dense numbers <-> operands ---- */

static void
load(Operands *operands, int dtype, const void *dense, int count)
{
	switch (dtype)
	{
		case DELC_FLOAT64:
		case DELC_FLOAT32:
			memcpy(operands, dense, count * delc_dtype_size(dtype));
			break;
		case DELC_FLOAT16:
			for (int i = 0; i < count; i++)
				operands->floats[i] = delc_float16_to_float(((const uint16 *) dense)[i]);
			break;
		case DELC_BFLOAT16:
			for (int i = 0; i < count; i++)
				operands->floats[i] = delc_bfloat16_to_float(((const uint16 *) dense)[i]);
			break;
		default:
			delc_block_widen(&operands->block, dtype, dense, count);
	}
}

static void
store(const Operands *operands, int dtype, void *dense, int count, int64 first)
{
	switch (dtype)
	{
		case DELC_FLOAT64:
		case DELC_FLOAT32:
			memcpy(dense, operands, count * delc_dtype_size(dtype));
			break;
		case DELC_FLOAT16:
			for (int i = 0; i < count; i++)
				((uint16 *) dense)[i] = delc_float16_of_double(operands->floats[i]);
			break;
		case DELC_BFLOAT16:
			for (int i = 0; i < count; i++)
				((uint16 *) dense)[i] = delc_bfloat16_of_double(operands->floats[i]);
			break;
		default:
			delc_block_narrow(&operands->block, dtype, dense, count, first);
	}
}

/* The same number everywhere. */
static void
load_scalar(Operands *operands, int dtype, double scalar)
{
	char		text[DOUBLE_SHORTEST_DECIMAL_LEN];

	if (delc_dtype_kind(dtype) == KIND_INTEGER)
	{
		double_to_shortest_decimal_buf(scalar, text);
		if (!(scalar >= -0x1p63 && scalar < 0x1p63) || scalar != rint(scalar))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("cannot compute %s tensors with %s",
							delc_dtype_name(dtype), text),
					 errdetail("Integer tensors take whole numbers of 64 bits."),
					 errhint("Convert the tensor first, with delc.as_dtype(tensor, 'float64').")));
		operands->block.integral = true;
		for (int i = 0; i < TENSOR_BLOCK; i++)
			operands->block.u.integers[i] = (int64) scalar;
	}
	else if (dtype == DELC_FLOAT64)
	{
		for (int i = 0; i < TENSOR_BLOCK; i++)
			operands->doubles[i] = scalar;
	}
	else
	{
		for (int i = 0; i < TENSOR_BLOCK; i++)
			operands->floats[i] = (float) scalar;
	}
}

/* ---- the operations ---- */

#define FLOAT_LOOP(field) \
	switch (operation) \
	{ \
		case ADD: \
			for (int i = 0; i < count; i++) \
				left->field[i] += right->field[i]; \
			break; \
		case SUBTRACT: \
			for (int i = 0; i < count; i++) \
				left->field[i] -= right->field[i]; \
			break; \
		case MULTIPLY: \
			for (int i = 0; i < count; i++) \
				left->field[i] *= right->field[i]; \
			break; \
	}

static bool
integer_overflows(Operation operation, int64 left, int64 right, int64 *result)
{
	switch (operation)
	{
		case ADD:
			return pg_add_s64_overflow(left, right, result);
		case SUBTRACT:
			return pg_sub_s64_overflow(left, right, result);
		default:
			return pg_mul_s64_overflow(left, right, result);
	}
}

static void
compute_integers(Operation operation, int64 *left, const int64 *right,
				 int count, int64 first)
{
	for (int i = 0; i < count; i++)
	{
		int64		result;

		if (integer_overflows(operation, left[i], right[i], &result))
			ereport(ERROR,
					(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
					 errmsg(INT64_FORMAT " %c " INT64_FORMAT " is out of range for dtype int64",
							left[i], "+-*"[operation], right[i]),
					 errdetail("It is element " INT64_FORMAT
							   " in row-major order, counted from 1.", first + i + 1)));
		left[i] = result;
	}
}

/* left = left operation right; first is the block's place in the tensor. */
static void
compute(Operation operation, int dtype, Operands *left, const Operands *right,
		int count, int64 first)
{
	if (dtype == DELC_FLOAT64)
		FLOAT_LOOP(doubles)
	else if (delc_dtype_kind(dtype) == KIND_FLOAT)
		FLOAT_LOOP(floats)
	else
		compute_integers(operation, left->block.u.integers,
						 right->block.u.integers, count, first);
}

/* ---- the functions ---- */

static void
refuse_bool(const DelcTensorHeader *header)
{
	if (header->dtype == DELC_BOOL)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("bool tensors have no arithmetic"),
				 errhint("Convert them first, for example with delc.as_dtype(tensor, 'int32').")));
}

static void
check_alike(const DelcTensorHeader *left, const DelcTensorHeader *right)
{
	refuse_bool(left);
	refuse_bool(right);
	if (left->dtype != right->dtype)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("tensors have different dtypes: %s and %s",
						delc_header_text(left), delc_header_text(right)),
				 errhint("Convert one of them with delc.as_dtype.")));
	if (!delc_shape_equal(left, right))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("tensors have different shapes: %s and %s",
						delc_header_text(left), delc_header_text(right)),
				 errdetail("Element-wise operations need the same shape; nothing is broadcast.")));
}

/*
 * The result of an operation on open tensors; where left or right is NULL, the
 * scalar takes its place.
 */
static struct varlena *
result_of(Operation operation, const TensorReader *left,
		  const TensorReader *right, double scalar)
{
	const DelcTensorHeader *header = &(left != NULL ? left : right)->layout.header;
	char	   *dense = palloc(Max(header->raw_bytes, 1));
	Operands   *constant = NULL;
	struct varlena *result;

	if (left == NULL || right == NULL)
	{
		constant = palloc(sizeof(Operands));
		load_scalar(constant, header->dtype, scalar);
	}
	for (int64 start = 0; start < header->elements; start += TENSOR_BLOCK)
	{
		int			count = (int) Min(TENSOR_BLOCK, header->elements - start);
		uint64		numbers[TENSOR_BLOCK];
		Operands	a;
		Operands	b;

		if (left != NULL)
		{
			delc_reader_read(left, start, count, numbers);
			load(&a, header->dtype, numbers, count);
		}
		else
			a = *constant;
		if (right != NULL)
		{
			delc_reader_read(right, start, count, numbers);
			load(&b, header->dtype, numbers, count);
		}
		compute(operation, header->dtype, &a, right != NULL ? &b : constant, count, start);
		store(&a, header->dtype, dense + start * header->item_size, count, start);
	}
	result = delc_tensor_encode(header->dtype, header->rank, header->dims, dense);
	pfree(dense);
	return result;
}

static Datum
with_tensor(Operation operation, Datum left, Datum right)
{
	TensorReader a;
	TensorReader b;
	DelcTensorHeader left_header;
	DelcTensorHeader right_header;

	delc_tensor_header(left, &left_header);
	delc_tensor_header(right, &right_header);
	check_alike(&left_header, &right_header);
	delc_reader_open(&a, left, 0);
	delc_reader_open(&b, right, 0);
	return PointerGetDatum(result_of(operation, &a, &b, 0));
}

static Datum
with_scalar(Operation operation, Datum value, double scalar, bool scalar_left)
{
	TensorReader reader;

	delc_reader_open(&reader, value, 0);
	refuse_bool(&reader.layout.header);
	return PointerGetDatum(result_of(operation, scalar_left ? NULL : &reader,
									 scalar_left ? &reader : NULL, scalar));
}

#define OPERATOR_FUNCTIONS(name, operation) \
PG_FUNCTION_INFO_V1(delc_tensor_##name); \
Datum \
delc_tensor_##name(PG_FUNCTION_ARGS) \
{ \
	return with_tensor(operation, PG_GETARG_WHOLE_TENSOR(0), \
					   PG_GETARG_WHOLE_TENSOR(1)); \
} \
PG_FUNCTION_INFO_V1(delc_tensor_##name##_scalar); \
Datum \
delc_tensor_##name##_scalar(PG_FUNCTION_ARGS) \
{ \
	return with_scalar(operation, PG_GETARG_DATUM(0), PG_GETARG_FLOAT8(1), false); \
} \
PG_FUNCTION_INFO_V1(delc_scalar_##name##_tensor); \
Datum \
delc_scalar_##name##_tensor(PG_FUNCTION_ARGS) \
{ \
	return with_scalar(operation, PG_GETARG_DATUM(1), PG_GETARG_FLOAT8(0), true); \
}

OPERATOR_FUNCTIONS(add, ADD)
OPERATOR_FUNCTIONS(subtract, SUBTRACT)
OPERATOR_FUNCTIONS(multiply, MULTIPLY)
