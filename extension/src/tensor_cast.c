/*
 * tensor_cast.c
 *	  Arrays and pgvector's vector to tensors and back.
 */
#include "tensor_format.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

/* pgvector's layout, and the most dimensions it takes. */
typedef struct PgVector
{
	int32		vl_len_;
	int16		dim;
	int16		unused;
	float		x[FLEXIBLE_ARRAY_MEMBER];
} PgVector;

#define PGVECTOR_MAX_DIM 16000

/* ---- arrays to tensors ---- */

/* The dtype with the values of an array's element type; numeric as float64. */
static int
dtype_of_element_type(Oid type)
{
	switch (type)
	{
		case FLOAT4OID:
			return DELC_FLOAT32;
		case FLOAT8OID:
		case NUMERICOID:
			return DELC_FLOAT64;
		case INT2OID:
			return DELC_INT16;
		case INT4OID:
			return DELC_INT32;
		case INT8OID:
			return DELC_INT64;
		case BOOLOID:
			return DELC_BOOL;
	}
	ereport(ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("cannot make a tensor of %s", format_type_be(get_array_type(type))),
			 errdetail("Arrays of real, double precision, numeric, smallint, integer, bigint and boolean can be tensors.")));
	return -1;
}

/* "[2][3]", the subscripts of the element at an offset. */
static char *
subscript_text(const ArrayType *array, int64 offset)
{
	StringInfoData text;
	int64		stride = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));

	initStringInfo(&text);
	for (int axis = 0; axis < ARR_NDIM(array); axis++)
	{
		stride /= ARR_DIMS(array)[axis];
		appendStringInfo(&text, "[" INT64_FORMAT "]",
						 offset / stride + ARR_LBOUND(array)[axis]);
		offset %= stride;
	}
	return text.data;
}

static void
refuse_nulls(ArrayType *array)
{
	bits8	   *bitmap = ARR_NULLBITMAP(array);
	int64		items = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));

	for (int64 i = 0; bitmap != NULL && i < items; i++)
	{
		if (!(bitmap[i / 8] & (1 << (i % 8))))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("a tensor cannot contain NULL"),
					 errdetail("Element %s of the array is NULL.",
							   subscript_text(array, i)),
					 errhint("Replace it, or use 'NaN' in an array of floats.")));
	}
}

/* numeric[] has no numbers to copy: each is converted. */
static double *
doubles_of_numerics(ArrayType *array, int64 items)
{
	Datum	   *values;
	int			count;
	double	   *doubles = palloc(Max(items, 1) * sizeof(double));

	deconstruct_array(array, NUMERICOID, -1, false, TYPALIGN_INT, &values, NULL,
					  &count);
	for (int i = 0; i < count; i++)
		doubles[i] = DatumGetFloat8(DirectFunctionCall1(numeric_float8, values[i]));
	return doubles;
}

/* The tensor of an array, in the dtype of its elements. */
static struct varlena *
tensor_of_array(ArrayType *array)
{
	int			dtype = dtype_of_element_type(ARR_ELEMTYPE(array));
	int			rank = Max(ARR_NDIM(array), 1); /* '{}' has none */
	int64		dims[TENSOR_MAX_RANK] = {0};
	DelcTensorHeader header;
	const void *dense = ARR_DATA_PTR(array);

	refuse_nulls(array);
	for (int axis = 0; axis < ARR_NDIM(array); axis++)
		dims[axis] = ARR_DIMS(array)[axis];
	delc_shape_set(&header, dtype, rank, dims, ERRCODE_INVALID_PARAMETER_VALUE);
	if (ARR_ELEMTYPE(array) == NUMERICOID)
		dense = doubles_of_numerics(array, header.elements);
	return delc_tensor_encode(dtype, rank, dims, dense);
}

PG_FUNCTION_INFO_V1(delc_array_to_tensor);
Datum
delc_array_to_tensor(PG_FUNCTION_ARGS)
{
	PG_RETURN_TENSOR(tensor_of_array(PG_GETARG_ARRAYTYPE_P(0)));
}

/*
 * tensor(value, dtype, shape): dtype and shape may be NULL, for the array's
 * own.
 */
PG_FUNCTION_INFO_V1(delc_tensor_construct);
Datum
delc_tensor_construct(PG_FUNCTION_ARGS)
{
	Datum		value;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	value = PointerGetDatum(tensor_of_array(PG_GETARG_ARRAYTYPE_P(0)));
	if (!PG_ARGISNULL(1))
	{
		int			dtype = delc_dtype_require(text_to_cstring(PG_GETARG_TEXT_PP(1)),
											   ERRCODE_INVALID_PARAMETER_VALUE);

		value = PointerGetDatum(delc_tensor_as_dtype(value, dtype));
	}
	if (!PG_ARGISNULL(2))
		value = DirectFunctionCall2(delc_tensor_reshaped, value, PG_GETARG_DATUM(2));
	PG_RETURN_DATUM(value);
}

/* ---- tensors to arrays ---- */

/* Check that a shape can be an array's; copies the dims as int. */
static void
array_shape(const DelcTensorHeader *header, int *dims, int *lower_bounds)
{
	if (header->rank == 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("a tensor of rank 0 cannot be an array"),
				 errhint("Use delc.reshape(tensor, '{1}') first.")));
	if (header->rank > MAXDIM)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a tensor of rank %d cannot be an array", header->rank),
				 errdetail("Arrays have at most %d dimensions.", MAXDIM),
				 errhint("Join dimensions with delc.reshape first.")));
	for (int axis = 0; axis < header->rank; axis++)
	{
		dims[axis] = (int) header->dims[axis];
		lower_bounds[axis] = 1;
	}
}

/* An array of a fixed-width type whose numbers are those of dtype. */
static ArrayType *
array_of_tensor(Datum value, Oid element_type, int dtype)
{
	DelcTensorHeader header;
	int			dims[MAXDIM];
	int			lower_bounds[MAXDIM];
	int64		size;
	ArrayType  *array;

	delc_tensor_header(value, &header);
	if (header.elements == 0)
		return construct_empty_array(element_type);
	array_shape(&header, dims, lower_bounds);
	size = ARR_OVERHEAD_NONULLS(header.rank) + header.elements * delc_dtype_size(dtype);
	if (!AllocSizeIsValid(size) || header.elements > MaxArraySize)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("tensor %s is too large for an array of %s",
						delc_header_text(&header), format_type_be(element_type)),
				 errhint("Keep larger tensors in chunks, one per row, split along the first axis.")));
	array = palloc0(size);
	SET_VARSIZE(array, size);
	array->ndim = header.rank;
	array->dataoffset = 0;
	array->elemtype = element_type;
	memcpy(ARR_DIMS(array), dims, header.rank * sizeof(int));
	memcpy(ARR_LBOUND(array), lower_bounds, header.rank * sizeof(int));
	delc_tensor_pack(value, dtype, ARR_DATA_PTR(array), header.elements);
	return array;
}

PG_FUNCTION_INFO_V1(delc_tensor_to_real_array);
Datum
delc_tensor_to_real_array(PG_FUNCTION_ARGS)
{
	PG_RETURN_ARRAYTYPE_P(array_of_tensor(PG_GETARG_WHOLE_TENSOR(0), FLOAT4OID, DELC_FLOAT32));
}

PG_FUNCTION_INFO_V1(delc_tensor_to_double_array);
Datum
delc_tensor_to_double_array(PG_FUNCTION_ARGS)
{
	PG_RETURN_ARRAYTYPE_P(array_of_tensor(PG_GETARG_WHOLE_TENSOR(0), FLOAT8OID, DELC_FLOAT64));
}

PG_FUNCTION_INFO_V1(delc_tensor_to_smallint_array);
Datum
delc_tensor_to_smallint_array(PG_FUNCTION_ARGS)
{
	PG_RETURN_ARRAYTYPE_P(array_of_tensor(PG_GETARG_WHOLE_TENSOR(0), INT2OID, DELC_INT16));
}

PG_FUNCTION_INFO_V1(delc_tensor_to_integer_array);
Datum
delc_tensor_to_integer_array(PG_FUNCTION_ARGS)
{
	PG_RETURN_ARRAYTYPE_P(array_of_tensor(PG_GETARG_WHOLE_TENSOR(0), INT4OID, DELC_INT32));
}

PG_FUNCTION_INFO_V1(delc_tensor_to_bigint_array);
Datum
delc_tensor_to_bigint_array(PG_FUNCTION_ARGS)
{
	PG_RETURN_ARRAYTYPE_P(array_of_tensor(PG_GETARG_WHOLE_TENSOR(0), INT8OID, DELC_INT64));
}

PG_FUNCTION_INFO_V1(delc_tensor_to_boolean_array);
Datum
delc_tensor_to_boolean_array(PG_FUNCTION_ARGS)
{
	PG_RETURN_ARRAYTYPE_P(array_of_tensor(PG_GETARG_WHOLE_TENSOR(0), BOOLOID, DELC_BOOL));
}

/* ---- pgvector ---- */

PG_FUNCTION_INFO_V1(delc_vector_to_tensor);
Datum
delc_vector_to_tensor(PG_FUNCTION_ARGS)
{
	PgVector   *vector = (PgVector *) PG_DETOAST_DATUM(PG_GETARG_DATUM(0));
	int64		dims[1] = {vector->dim};

	if (vector->dim < 0 ||
		VARSIZE(vector) != offsetof(PgVector, x) + vector->dim * sizeof(float))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("not a vector: %d bytes for %d dimensions",
						(int) VARSIZE(vector), vector->dim)));
	PG_RETURN_TENSOR(delc_tensor_encode(DELC_FLOAT32, 1, dims, vector->x));
}

static void
check_vector_shape(const DelcTensorHeader *header)
{
	if (header->rank != 1)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("tensor %s cannot be a vector", delc_header_text(header)),
				 errdetail("A vector has rank 1."),
				 errhint("Use delc.reshape(tensor, '{-1}') first.")));
	if (header->elements < 1 || header->elements > PGVECTOR_MAX_DIM)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("tensor %s cannot be a vector", delc_header_text(header)),
				 errdetail("A vector has 1 to %d dimensions.", PGVECTOR_MAX_DIM)));
}

PG_FUNCTION_INFO_V1(delc_tensor_to_vector);
Datum
delc_tensor_to_vector(PG_FUNCTION_ARGS)
{
	Datum		value = PG_GETARG_WHOLE_TENSOR(0);
	DelcTensorHeader header;
	Size		size;
	PgVector   *vector;

	delc_tensor_header(value, &header);
	check_vector_shape(&header);
	size = offsetof(PgVector, x) + header.elements * sizeof(float);
	vector = palloc0(size);
	SET_VARSIZE(vector, size);
	vector->dim = (int16) header.elements;
	delc_tensor_pack(value, DELC_FLOAT32, vector->x, header.elements);
	for (int i = 0; i < vector->dim; i++)
	{
		if (!isfinite(vector->x[i]))
			ereport(ERROR,
					(errcode(ERRCODE_DATA_EXCEPTION),
					 errmsg("a vector cannot contain %s",
							isnan(vector->x[i]) ? "NaN" : "infinity"),
					 errdetail("Element %d of the tensor is not finite.", i + 1)));
	}
	PG_RETURN_POINTER(vector);
}
