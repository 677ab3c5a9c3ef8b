/*
 * pack_column.c: one column of a packed query: its value of one row becomes
 * numbers in a dense array.
 */
#include "pack.h"

#include <math.h>

#include "access/detoast.h"
#include "catalog/dependency.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "datatype/timestamp.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

#define UNIX_EPOCH_DAYS (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE)
#define UNIX_EPOCH_SECONDS ((double) UNIX_EPOCH_DAYS * SECS_PER_DAY)
#define DAYS_PER_INTERVAL_MONTH 30

/* pgvector's vector, as its binary layout has been since its first release. */
typedef struct VectorDatum
{
	int32		vl_len_;
	int16		dim;
	int16		unused;
	float		x[FLEXIBLE_ARRAY_MEMBER];
} VectorDatum;

/* ---- what a column is ---- */

/* Whether a type belongs to an extension under this name; a search path has no say in it. */
static bool
is_extension_type(Oid type_id, const char *type_name, const char *extension_name)
{
	Oid			extension = getExtensionOfObject(TypeRelationId, type_id);
	HeapTuple	tuple;
	bool		matches;

	if (!OidIsValid(extension) || extension != get_extension_oid(extension_name, true))
		return false;
	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type_id));
	if (!HeapTupleIsValid(tuple))
		return false;
	matches = strcmp(NameStr(((Form_pg_type) GETSTRUCT(tuple))->typname), type_name) == 0;
	ReleaseSysCache(tuple);
	return matches;
}

static bool
scalar_source(Oid type_id, PackSource *source)
{
	switch (type_id)
	{
		case INT2OID: *source = SOURCE_INT2; return true;
		case INT4OID: *source = SOURCE_INT4; return true;
		case INT8OID: *source = SOURCE_INT8; return true;
		case FLOAT4OID: *source = SOURCE_FLOAT4; return true;
		case FLOAT8OID: *source = SOURCE_FLOAT8; return true;
		case NUMERICOID: *source = SOURCE_NUMERIC; return true;
		case BOOLOID: *source = SOURCE_BOOL; return true;
		case DATEOID: *source = SOURCE_DATE; return true;
		case TIMESTAMPOID:
		case TIMESTAMPTZOID: *source = SOURCE_TIMESTAMP; return true;
		case TIMEOID: *source = SOURCE_TIME; return true;
		case TIMETZOID: *source = SOURCE_TIMETZ; return true;
		case INTERVALOID: *source = SOURCE_INTERVAL; return true;
		default: return false;
	}
}

static bool
number_source(PackColumn *column, Oid type_id)
{
	Oid			element_type;

	if (scalar_source(type_id, &column->source))
	{
		column->width = 1;
		column->rank = 0;
		return true;
	}
	if (type_id == BYTEAOID)
		column->source = SOURCE_BYTES;
	else if (OidIsValid(element_type = get_element_type(type_id)) &&
			 scalar_source(element_type, &column->element_source))
	{
		column->source = SOURCE_ARRAY;
		get_typlenbyvalalign(element_type, &column->element_length,
							 &column->element_by_value, &column->element_align);
	}
	else if (is_extension_type(type_id, "vector", "vector"))
		column->source = SOURCE_VECTOR;
	else if (is_extension_type(type_id, "tensor", "delc"))
		column->source = SOURCE_TENSOR;
	else
		return false;
	return true;
}

/* Finds out how the column's values are read; a type that is no number is refused. */
void
pack_column_prepare(PackColumn *column, Form_pg_attribute attribute)
{
	Oid			type_id = getBaseType(attribute->atttypid);
	Oid			output_function;
	bool		is_varlena;

	column->type_id = type_id;
	namestrcpy(&column->name, NameStr(attribute->attname));

	if (column->kind == PACK_CATEGORY || column->kind == PACK_KEY)
	{
		column->source = SOURCE_TEXT;
		column->width = 1;
		getTypeOutputInfo(type_id, &output_function, &is_varlena);
		fmgr_info(output_function, &column->output);
	}
	else if (column->kind == PACK_NUMBER && !number_source(column, type_id))
	{
		/* An input that is no row is a column without a name. */
		if (NameStr(column->name)[0] == '\0')
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("an input of type %s cannot be read as numbers", format_type_be(type_id)),
					 errhint("Give an array of numbers, a vector, a tensor, or a whole row.")));
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of type %s cannot be read as numbers",
						NameStr(column->name), format_type_be(type_id)),
				 errhint("Read it as a category, or cast it in the query.")));
	}
}

/* ---- storing numbers ---- */

/*
 * Every number is looked at, so these loops are written for the compiler's
 * vectoriser: no early end, and an exponent of all ones is found by adding 1
 * to it, which carries into the sign's place.
 */
#if defined(__GNUC__) && !defined(__clang__)
#define FINITE_LOOP __attribute__((noinline, optimize("O3")))
#else
#define FINITE_LOOP
#endif

FINITE_LOOP static bool
all_finite_float(const float *values, int64 count)
{
	const uint32 *bits = (const uint32 *) values;
	uint32		carries = 0;

	for (int64 i = 0; i < count; i++)
		carries |= (bits[i] & 0x7f800000) + 0x00800000;
	return (carries & 0x80000000) == 0;
}

FINITE_LOOP static bool
all_finite_double(const double *values, int64 count)
{
	const uint64 *bits = (const uint64 *) values;
	uint64		carries = 0;

	for (int64 i = 0; i < count; i++)
		carries |= (bits[i] & UINT64CONST(0x7ff0000000000000)) + UINT64CONST(0x0010000000000000);
	return (carries & UINT64CONST(0x8000000000000000)) == 0;
}

static void
note_nonfinite(PackColumn *column, int dtype, const void *stored, int64 row)
{
	bool		finite = true;

	if (dtype == DELC_FLOAT32)
		finite = all_finite_float(stored, column->width);
	else if (dtype == DELC_FLOAT64)
		finite = all_finite_double(stored, column->width);
	if (!finite && column->nonfinite++ == 0)
		column->first_nonfinite_row = row;
}

static void
note_null(PackColumn *column, int64 row)
{
	if (column->nulls++ == 0)
		column->first_null_row = row;
}

static void
integer_out_of_range(const PackColumn *column, double value, int dtype)
{
	ereport(ERROR,
			(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
			 errmsg("value %g of column \"%s\" does not fit %s",
					value, NameStr(column->name), delc_dtype_name(dtype))));
}

static inline void
store_integer(PackColumn *column, int dtype, void *target, int64 i, int64 value)
{
	switch (dtype)
	{
		case DELC_FLOAT32: ((float *) target)[i] = (float) value; break;
		case DELC_FLOAT64: ((double *) target)[i] = (double) value; break;
		case DELC_INT64: ((int64 *) target)[i] = value; break;
		case DELC_INT32:
			if (value < PG_INT32_MIN || value > PG_INT32_MAX)
				integer_out_of_range(column, value, dtype);
			((int32 *) target)[i] = (int32) value;
			break;
		case DELC_UINT8:
			if (value < 0 || value > PG_UINT8_MAX)
				integer_out_of_range(column, value, dtype);
			((uint8 *) target)[i] = (uint8) value;
			break;
		default: elog(ERROR, "unexpected dtype %d of a group", dtype);
	}
}

static inline void
store_double(PackColumn *column, int dtype, void *target, int64 i, double value)
{
	if (dtype == DELC_FLOAT32)
		((float *) target)[i] = (float) value;
	else if (dtype == DELC_FLOAT64)
		((double *) target)[i] = value;
	else
	{
		value = rint(value);
		if (isnan(value) || value < -9223372036854775808.0 || value >= 9223372036854775808.0)
			integer_out_of_range(column, value, dtype);
		store_integer(column, dtype, target, i, (int64) value);
	}
}

static double
date_seconds(DateADT date)
{
	if (DATE_IS_NOBEGIN(date))
		return -INFINITY;
	if (DATE_IS_NOEND(date))
		return INFINITY;
	return ((double) date + UNIX_EPOCH_DAYS) * SECS_PER_DAY;
}

static double
timestamp_seconds(Timestamp timestamp)
{
	if (TIMESTAMP_IS_NOBEGIN(timestamp))
		return -INFINITY;
	if (TIMESTAMP_IS_NOEND(timestamp))
		return INFINITY;
	return (double) timestamp / USECS_PER_SEC + UNIX_EPOCH_SECONDS;
}

static double
interval_seconds(const Interval *interval)
{
	return (double) interval->time / USECS_PER_SEC +
		((double) interval->day + (double) interval->month * DAYS_PER_INTERVAL_MONTH) * SECS_PER_DAY;
}

static double
timetz_seconds(const TimeTzADT *time)
{
	return (double) time->time / USECS_PER_SEC + time->zone;
}

static void
store_scalar(PackColumn *column, PackSource source, Datum value, int dtype, void *target, int64 i)
{
	switch (source)
	{
		case SOURCE_INT2: store_integer(column, dtype, target, i, DatumGetInt16(value)); break;
		case SOURCE_INT4: store_integer(column, dtype, target, i, DatumGetInt32(value)); break;
		case SOURCE_INT8: store_integer(column, dtype, target, i, DatumGetInt64(value)); break;
		case SOURCE_BOOL: store_integer(column, dtype, target, i, DatumGetBool(value)); break;
		case SOURCE_FLOAT4: store_double(column, dtype, target, i, DatumGetFloat4(value)); break;
		case SOURCE_FLOAT8: store_double(column, dtype, target, i, DatumGetFloat8(value)); break;
		case SOURCE_NUMERIC:
			if (dtype == DELC_INT64)
				store_integer(column, dtype, target, i, DatumGetInt64(DirectFunctionCall1(numeric_int8, value)));
			else
				store_double(column, dtype, target, i,
							 DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, value)));
			break;
		case SOURCE_DATE: store_double(column, dtype, target, i, date_seconds(DatumGetDateADT(value))); break;
		case SOURCE_TIMESTAMP: store_double(column, dtype, target, i, timestamp_seconds(DatumGetTimestamp(value))); break;
		case SOURCE_TIME: store_double(column, dtype, target, i, (double) DatumGetTimeADT(value) / USECS_PER_SEC); break;
		case SOURCE_TIMETZ: store_double(column, dtype, target, i, timetz_seconds(DatumGetTimeTzADTP(value))); break;
		case SOURCE_INTERVAL: store_double(column, dtype, target, i, interval_seconds(DatumGetIntervalP(value))); break;
		default: elog(ERROR, "unexpected source %d of a number", source);
	}
}

/* ---- arrays, vectors, tensors, bytes ---- */

static bool
lies_plainly(PackSource element)
{
	return element == SOURCE_INT2 || element == SOURCE_INT4 || element == SOURCE_INT8 ||
		element == SOURCE_FLOAT4 || element == SOURCE_FLOAT8 || element == SOURCE_BOOL;
}

static bool
copies_as_is(PackSource element, int dtype)
{
	return (element == SOURCE_FLOAT4 && dtype == DELC_FLOAT32) ||
		(element == SOURCE_FLOAT8 && dtype == DELC_FLOAT64) ||
		(element == SOURCE_INT4 && dtype == DELC_INT32) ||
		(element == SOURCE_INT8 && dtype == DELC_INT64);
}

#define STORE_ELEMENTS(type, store) \
	for (int64 i = 0; i < count; i++) \
		store(column, dtype, target, i, ((const type *) source)[i])

/* Elements that lie one after the other, without NULLs among them. */
static void
store_plain_elements(PackColumn *column, const void *source, int64 count, int dtype, void *target)
{
	if (copies_as_is(column->element_source, dtype))
	{
		memcpy(target, source, count * column->element_length);
		return;
	}
	switch (column->element_source)
	{
		case SOURCE_INT2: STORE_ELEMENTS(int16, store_integer); break;
		case SOURCE_INT4: STORE_ELEMENTS(int32, store_integer); break;
		case SOURCE_INT8: STORE_ELEMENTS(int64, store_integer); break;
		case SOURCE_BOOL: STORE_ELEMENTS(bool, store_integer); break;
		case SOURCE_FLOAT4: STORE_ELEMENTS(float, store_double); break;
		case SOURCE_FLOAT8: STORE_ELEMENTS(double, store_double); break;
		default: elog(ERROR, "unexpected element source %d", column->element_source);
	}
}

static void
store_null_element(int dtype, void *target, int64 i)
{
	if (dtype == DELC_FLOAT32)
		((float *) target)[i] = NAN;
	else if (dtype == DELC_FLOAT64)
		((double *) target)[i] = NAN;
	else
		memset((char *) target + i * delc_dtype_size(dtype), 0, delc_dtype_size(dtype));
}

static void
store_mixed_elements(PackColumn *column, ArrayType *array, int dtype, void *target, int64 row)
{
	Datum	   *elements;
	bool	   *nulls;
	int			count;
	bool		any_null = false;

	deconstruct_array(array, ARR_ELEMTYPE(array), column->element_length, column->element_by_value,
					  column->element_align, &elements, &nulls, &count);
	for (int i = 0; i < count; i++)
	{
		if (nulls[i])
		{
			store_null_element(dtype, target, i);
			any_null = true;
		}
		else
			store_scalar(column, column->element_source, elements[i], dtype, target, i);
	}
	if (any_null)
		note_null(column, row);
}

static void
wrong_length(const PackColumn *column, int64 found, int64 row)
{
	/* An input that is no row is packed as a column without a name. */
	if (NameStr(column->name)[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("the input has %lld numbers, expected %lld", (long long) found, (long long) column->width)));
	ereport(ERROR,
			(errcode(ERRCODE_DATA_EXCEPTION),
			 errmsg("row %lld: column \"%s\" has %lld numbers, expected %lld",
					(long long) (column->first_row + row + 1), NameStr(column->name),
					(long long) found, (long long) column->width),
			 errhint("All rows must have the same number of elements in this column.")));
}

static inline void
require_length(const PackColumn *column, int64 found, int64 row)
{
	if (found != column->width)
		wrong_length(column, found, row);
}

static void
store_array(PackColumn *column, Datum value, int dtype, void *target, int64 row)
{
	ArrayType  *array = (ArrayType *) pack_detoast(column->toast, value);
	int64		count = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));

	require_length(column, count, row);
	if (ARR_HASNULL(array) || !lies_plainly(column->element_source))
		store_mixed_elements(column, array, dtype, target, row);
	else
		store_plain_elements(column, ARR_DATA_PTR(array), count, dtype, target);
}

static void
store_vector(PackColumn *column, Datum value, int dtype, void *target, int64 row)
{
	VectorDatum *vector = (VectorDatum *) pack_detoast(column->toast, value);

	require_length(column, vector->dim, row);
	if (dtype == DELC_FLOAT32)
		memcpy(target, vector->x, vector->dim * sizeof(float));
	else
		for (int i = 0; i < vector->dim; i++)
			store_double(column, dtype, target, i, vector->x[i]);
}

static void
store_tensor(PackColumn *column, Datum value, int dtype, void *target, int64 row)
{
	DelcTensorHeader header;

	delc_tensor_header(value, &header);
	require_length(column, header.elements, row);
	delc_tensor_pack(value, dtype, target, column->width);
}

static void
store_bytes(PackColumn *column, Datum value, int dtype, void *target, int64 row)
{
	bytea	   *bytes = (bytea *) DatumGetPointer(value);
	const uint8 *source;
	int64		count;

	if (!VARATT_IS_SHORT(bytes))
		bytes = pack_detoast(column->toast, value);
	source = (const uint8 *) VARDATA_ANY(bytes);
	count = VARSIZE_ANY_EXHDR(bytes);
	require_length(column, count, row);
	if (dtype == DELC_UINT8)
		memcpy(target, source, count);
	else
		for (int64 i = 0; i < count; i++)
			store_integer(column, dtype, target, i, source[i]);
}

static void
set_shape(PackColumn *column, int rank, int64 width)
{
	column->rank = rank;
	column->width = width;
}

/* Learns from a first value how many numbers, in which shape, a row of the column has. */
void
pack_column_measure(PackColumn *column, Datum value)
{
	if (column->source == SOURCE_ARRAY)
	{
		ArrayType  *array = (ArrayType *) pack_detoast(column->toast, value);

		for (int i = 0; i < ARR_NDIM(array); i++)
			column->dims[i] = ARR_DIMS(array)[i];
		set_shape(column, ARR_NDIM(array), ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array)));
	}
	else if (column->source == SOURCE_TENSOR)
	{
		DelcTensorHeader header;

		delc_tensor_header(value, &header);
		memcpy(column->dims, header.dims, sizeof(column->dims));
		set_shape(column, header.rank, header.elements);
	}
	else if (column->source == SOURCE_VECTOR)
	{
		column->dims[0] = ((VectorDatum *) pack_detoast(column->toast, value))->dim;
		set_shape(column, 1, column->dims[0]);
	}
	else if (column->source == SOURCE_BYTES)
	{
		column->dims[0] = toast_raw_datum_size(value) - VARHDRSZ;
		set_shape(column, 1, column->dims[0]);
	}
}

static void
store_category(PackColumn *column, Datum value, void *target)
{
	char	   *text = OutputFunctionCall(&column->output, value);

	*(int32 *) target = pack_dictionary_code(column->dictionary, text);
}

/* Writes the column's numbers of one row; target points to the column's place in the row. */
void
pack_column_store(PackColumn *column, Datum value, int dtype, void *target, int64 row)
{
	switch (column->source)
	{
		case SOURCE_TEXT: store_category(column, value, target); return;
		case SOURCE_ARRAY: store_array(column, value, dtype, target, row); break;
		case SOURCE_VECTOR: store_vector(column, value, dtype, target, row); break;
		case SOURCE_TENSOR: store_tensor(column, value, dtype, target, row); break;
		case SOURCE_BYTES: store_bytes(column, value, dtype, target, row); break;
		default: store_scalar(column, column->source, value, dtype, target, 0); break;
	}
	note_nonfinite(column, dtype, target, row);
}

void
pack_column_store_null(PackColumn *column, int dtype, int item_size, void *target, int64 row)
{
	note_null(column, row);
	if (column->source == SOURCE_TEXT)
		*(int32 *) target = -1;
	else
		for (int64 i = 0; i < column->width; i++)
			store_null_element(dtype, target, i);
}
