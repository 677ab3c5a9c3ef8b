/*
 * plane_reading.c
 *	  Reading a stored tensor plane by plane, each TOAST chunk as it is needed.
 *
 * A caller keeps the bytes that it has read so far; the next planes are the
 * bytes that follow them, up to where the directory says that they end.
 */
#include "tensor_format.h"

#include "access/detoast.h"
#include "access/heaptoast.h"
#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"

#ifdef TENSOR_STORED_PLANES_MAX
#define MOST_PLANES TENSOR_STORED_PLANES_MAX
#define PLANE_WIDTH(plane) ((plane).width)
#else
#define MOST_PLANES TENSOR_MAX_PLANES
#define PLANE_WIDTH(plane) 8
#endif

/*
 * Chunks of the TOAST table that hold bytes start to start + length of a
 * value; none where the value lies in its row.
 */
static int32
chunks_read(Datum value, int64 start, int64 length)
{
	struct varlena *pointer = (struct varlena *) DatumGetPointer(value);

	if (!VARATT_IS_EXTERNAL_ONDISK(pointer) || length <= 0)
		return 0;
	return (int32) ((start + length - 1) / TOAST_MAX_CHUNK_SIZE -
					start / TOAST_MAX_CHUNK_SIZE + 1);
}

static Datum
integers(const int64 *numbers, int count)
{
	Datum		values[MOST_PLANES];

	for (int i = 0; i < count; i++)
		values[i] = Int64GetDatum(numbers[i]);
	return PointerGetDatum(construct_array(values, count, INT8OID, 8, true, TYPALIGN_DOUBLE));
}

PG_FUNCTION_INFO_V1(delc_tensor_plane_directory);

/* plane_directory(value tensor) → (dtype text, stored bigint, ends bigint[], bits bigint[], chunks integer) */
Datum
delc_tensor_plane_directory(PG_FUNCTION_ARGS)
{
	Datum		value = PG_GETARG_DATUM(0);
	TensorLayout layout;
	TupleDesc	descriptor;
	int64		ends[MOST_PLANES];
	int64		bits[MOST_PLANES];
	int64		known = 0;
	Datum		values[5];
	bool		nulls[5] = {false};

	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	delc_layout_read(value, &layout);
	for (int p = 0; p < layout.planes; p++)
	{
		known += PLANE_WIDTH(layout.plane[p]);
		ends[p] = (int64) layout.plane[p].offset + layout.plane[p].length;
		bits[p] = known;
	}
	values[0] = CStringGetTextDatum(delc_dtype_name(layout.header.dtype));
	values[1] = Int64GetDatum(layout.total_bytes);
	values[2] = integers(ends, layout.planes);
	values[3] = integers(bits, layout.planes);
	values[4] = Int32GetDatum(chunks_read(value, 0, Min(TENSOR_HEADER_MAX_BYTES, layout.total_bytes)));
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), values, nulls)));
}

PG_FUNCTION_INFO_V1(delc_tensor_stored_part);

/* stored_part(value tensor, start bigint, length bigint) → (bytes bytea, chunks integer) */
Datum
delc_tensor_stored_part(PG_FUNCTION_ARGS)
{
	Datum		value = PG_GETARG_DATUM(0);
	int64		start = PG_GETARG_INT64(1);
	int64		length = PG_GETARG_INT64(2);
	int64		total = (int64) toast_raw_datum_size(value) - VARHDRSZ;
	TupleDesc	descriptor;
	Datum		values[2];
	bool		nulls[2] = {false};

	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (start < 0 || length < 0 || start > total || length > total - start)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a stored tensor of " INT64_FORMAT " bytes has no " INT64_FORMAT " bytes from byte " INT64_FORMAT " on",
						total, length, start)));
	values[0] = PointerGetDatum(PG_DETOAST_DATUM_SLICE(value, (int32) start, (int32) length));
	values[1] = Int32GetDatum(chunks_read(value, start, length));
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), values, nulls)));
}

PG_FUNCTION_INFO_V1(delc_tensor_of_prefix);

/*
 * tensor_of_prefix(prefix bytea, stored bigint, planes integer) → tensor: what
 * planes() gives of a value, from the bytes that were read of it.
 */
Datum
delc_tensor_of_prefix(PG_FUNCTION_ARGS)
{
	bytea	   *prefix = PG_GETARG_BYTEA_PP(0);
	int64		stored = PG_GETARG_INT64(1);
	int			planes = PG_GETARG_INT32(2);
	Size		length = VARSIZE_ANY_EXHDR(prefix);
	struct varlena *padded;
	TensorLayout layout;

	if (planes < 1 || stored < (int64) length || stored > (int64) (MaxAllocSize - VARHDRSZ))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%zu bytes are not the beginning of a stored tensor of " INT64_FORMAT " bytes with %d planes",
						length, stored, planes)));
	padded = palloc0(VARHDRSZ + stored);
	SET_VARSIZE(padded, VARHDRSZ + stored);
	memcpy(VARDATA(padded), VARDATA_ANY(prefix), length);
	delc_layout_parse(&layout, VARDATA(padded), stored, ERRCODE_DATA_CORRUPTED);
	planes = Min(planes, layout.planes);
	if ((int64) layout.plane[planes - 1].offset + layout.plane[planes - 1].length > (int64) length)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%zu bytes do not reach to the end of plane %d of a stored tensor", length, planes)));
	PG_RETURN_TENSOR(delc_tensor_first_planes(PointerGetDatum(padded), planes));
}
