/*
 * plane_reading.c
 *	  Reading a stored tensor plane by plane, each TOAST chunk as it is needed.
 *
 * A caller keeps the bytes that it has read so far; the next planes are the
 * bytes that follow them, up to where the directory says that they end.  Of a
 * value that is no difference it need only keep its numbers, into which
 * further planes are read.
 */
#include "delta.h"
#include "tensor_dense.h"

#include "access/detoast.h"
#include "access/heaptoast.h"
#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"

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

/* As bigint[]. */
static Datum
integers(const int64 *numbers, int count)
{
	Datum		values[TENSOR_STORED_PLANES_MAX];

	for (int i = 0; i < count; i++)
		values[i] = Int64GetDatum(numbers[i]);
	return PointerGetDatum(construct_array(values, count, INT8OID, 8, true, TYPALIGN_DOUBLE));
}

typedef struct Directory
{
	int			dtype;
	int64		stored;
	int			planes;
	int64		ends[TENSOR_STORED_PLANES_MAX];
	int64		bits[TENSOR_STORED_PLANES_MAX];
	int32		chunks;
} Directory;

static void
whole_directory(Datum value, Directory *directory)
{
	TensorLayout layout;
	int64		known = 0;

	delc_layout_read(value, &layout);
	directory->dtype = layout.header.dtype;
	directory->stored = layout.total_bytes;
	directory->planes = layout.planes;
	for (int p = 0; p < layout.planes; p++)
	{
		known += layout.plane[p].width;
		directory->ends[p] = (int64) layout.plane[p].offset + layout.plane[p].length;
		directory->bits[p] = known;
	}
	directory->chunks += chunks_read(value, 0, Min(TENSOR_HEADER_MAX_BYTES, layout.total_bytes));
}

/* Of an integer difference, the first plane already needs everything. */
static void
delta_directory(Datum value, Directory *directory)
{
	DeltaLayout layout;
	int			item_size;

	delc_delta_read(value, &layout);
	item_size = layout.header.item_size;
	directory->dtype = layout.header.dtype;
	directory->stored = layout.total_bytes;
	directory->planes = layout.method == DELTA_SUB ? 1 : item_size;
	for (int p = 0; p < directory->planes; p++)
	{
		directory->ends[p] = layout.method == DELTA_SUB ? layout.total_bytes :
			delc_delta_offset(&layout, (p + 1) * delta_blocks(&layout.header));
		directory->bits[p] = layout.method == DELTA_SUB ? 8 * item_size : 8 * (p + 1);
	}
	directory->chunks += chunks_read(value, 0, Min(DELTA_HEADER_MAX_BYTES, layout.total_bytes));
}

PG_FUNCTION_INFO_V1(delc_tensor_plane_directory);

/* plane_directory(value tensor) → (dtype text, stored bigint, ends bigint[], bits bigint[], chunks integer) */
Datum
delc_tensor_plane_directory(PG_FUNCTION_ARGS)
{
	Datum		value = PG_GETARG_DATUM(0);
	Directory	directory = {0};
	TupleDesc	descriptor;
	Datum		values[5];
	bool		nulls[5] = {false};

	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	directory.chunks = chunks_read(value, 0, 1);	/* to see whether it is a delta */
	if (delc_is_delta(value))
		delta_directory(value, &directory);
	else
		whole_directory(value, &directory);
	values[0] = CStringGetTextDatum(delc_dtype_name(directory.dtype));
	values[1] = Int64GetDatum(directory.stored);
	values[2] = integers(directory.ends, directory.planes);
	values[3] = integers(directory.bits, directory.planes);
	values[4] = Int32GetDatum(directory.chunks);
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
 * tensor_of_prefix(prefix bytea, stored bigint) → tensor: a stored tensor or
 * delta of which only the first bytes were read; what follows is zero, and must
 * not be asked for.
 */
Datum
delc_tensor_of_prefix(PG_FUNCTION_ARGS)
{
	bytea	   *prefix = PG_GETARG_BYTEA_PP(0);
	int64		stored = PG_GETARG_INT64(1);
	Size		length = VARSIZE_ANY_EXHDR(prefix);
	struct varlena *padded;
	Datum		value;

	if (stored < (int64) Max(length, TENSOR_FIXED_BYTES) || stored > (int64) (MaxAllocSize - VARHDRSZ))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%zu bytes are not the beginning of a stored tensor of " INT64_FORMAT " bytes", length, stored)));
	padded = palloc0(VARHDRSZ + stored);
	SET_VARSIZE(padded, VARHDRSZ + stored);
	memcpy(VARDATA(padded), VARDATA_ANY(prefix), length);
	value = PointerGetDatum(padded);
	if (delc_is_delta(value))
	{
		DeltaLayout layout;

		delc_delta_parse(&layout, VARDATA(padded), stored, ERRCODE_INVALID_PARAMETER_VALUE);
	}
	else
	{
		TensorLayout layout;

		delc_layout_parse(&layout, VARDATA(padded), stored, ERRCODE_INVALID_PARAMETER_VALUE);
	}
	PG_RETURN_TENSOR(padded);
}

/* ---- into numbers that Python holds ---- */

/* Elements that are read between two looks whether the query was cancelled. */
#define READ_AT_ONCE (256 * (int64) DENSE_SEGMENT)

static void *target = NULL;
static int64 target_bytes = 0;

/* The memory that read_planes() writes to from now on; NULL: none. */
void
delc_plane_target(void *numbers, int64 bytes)
{
	target = numbers;
	target_bytes = bytes;
}

static void
check_planes(const TensorLayout *layout, int known, int planes)
{
	if (target == NULL || target_bytes != layout->header.raw_bytes)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("no numbers are there for planes to be read into"),
				 errdetail("Functions of delc call this one; it has no use of its own.")));
	if (known < 0 || known >= planes || planes > layout->planes)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a tensor of %d planes has no planes %d to %d", layout->planes, known + 1, planes)));
}

/* Planes known + 1 to planes of a value, of which bytes has those alone. */
static void
read_into_target(TensorLayout *layout, const char *bytes, uint32 start, int known, int planes)
{
	int64		elements = layout->header.elements;
	DenseReader *reader;

	for (int p = known; p < planes; p++)
	{
		layout->plane[p].offset -= start;
		delc_plane_check(layout, bytes, p, ERRCODE_DATA_CORRUPTED);
	}
	reader = delc_dense_open_further(layout, bytes, target, known, planes, ERRCODE_DATA_CORRUPTED);
	for (int64 first = 0; first < elements; first += READ_AT_ONCE)
	{
		CHECK_FOR_INTERRUPTS();
		delc_dense_read(reader, first, Min(READ_AT_ONCE, elements - first),
						(char *) target + first * layout->header.item_size);
	}
	delc_dense_close(reader);
}

PG_FUNCTION_INFO_V1(delc_tensor_read_planes);

/*
 * read_planes(value tensor, known int, planes int) → (bytes bigint, chunks int)
 *
 * The numbers have the known planes and get those up to planes; bytes counts what is read of the value.
 * What is unknown of each number afterwards is a one followed by zeros.
 */
Datum
delc_tensor_read_planes(PG_FUNCTION_ARGS)
{
	Datum		value = PG_GETARG_DATUM(0);
	int			known = PG_GETARG_INT32(1);
	int			planes = PG_GETARG_INT32(2);
	TensorLayout layout;
	uint32		start;
	uint32		end;
	struct varlena *part;
	TupleDesc	descriptor;
	Datum		values[2];
	bool		nulls[2] = {false};

	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	delc_layout_read(value, &layout);
	check_planes(&layout, known, planes);
	if (delc_dense_needs_all(&layout, known, planes))
		known = 0;
	start = layout.plane[known].offset;
	end = layout.plane[planes - 1].offset + layout.plane[planes - 1].length;
	part = PG_DETOAST_DATUM_SLICE(value, (int32) start, (int32) (end - start));
	read_into_target(&layout, VARDATA_ANY(part), start, known, planes);
	values[0] = Int64GetDatum((int64) end - (known == 0 ? 0 : start));	/* the header with the first */
	values[1] = Int32GetDatum(chunks_read(value, 0, Min(TENSOR_HEADER_MAX_BYTES, layout.total_bytes)) +
							  chunks_read(value, start, (int64) end - start));
	pfree(part);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), values, nulls)));
}
