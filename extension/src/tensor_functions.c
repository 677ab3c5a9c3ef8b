/*
 * tensor_functions.c
 *	  What SQL asks of a tensor: dtype, shape, sizes, planes, and the same
 *	  numbers in another shape or dtype.
 *
 * The arguments are taken as raw Datums: PG_GETARG macros that detoast would
 * fetch the whole value where its header is enough.
 */
#include "tensor_dense.h"
#include "delta.h"

#include "access/detoast.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(delc_tensor_dtype);
Datum
delc_tensor_dtype(PG_FUNCTION_ARGS)
{
	DelcTensorHeader header;

	delc_value_header(PG_GETARG_DATUM(0), &header);
	PG_RETURN_TEXT_P(cstring_to_text(delc_dtype_name(header.dtype)));
}

PG_FUNCTION_INFO_V1(delc_tensor_shape);
Datum
delc_tensor_shape(PG_FUNCTION_ARGS)
{
	DelcTensorHeader header;
	Datum		dims[TENSOR_MAX_RANK];

	delc_value_header(PG_GETARG_DATUM(0), &header);
	for (int axis = 0; axis < header.rank; axis++)
		dims[axis] = Int64GetDatum(header.dims[axis]);
	PG_RETURN_ARRAYTYPE_P(construct_array(dims, header.rank, INT8OID, sizeof(int64),
										  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

PG_FUNCTION_INFO_V1(delc_tensor_rank);
Datum
delc_tensor_rank(PG_FUNCTION_ARGS)
{
	DelcTensorHeader header;

	delc_value_header(PG_GETARG_DATUM(0), &header);
	PG_RETURN_INT32(header.rank);
}

PG_FUNCTION_INFO_V1(delc_tensor_elements);
Datum
delc_tensor_elements(PG_FUNCTION_ARGS)
{
	DelcTensorHeader header;

	delc_value_header(PG_GETARG_DATUM(0), &header);
	PG_RETURN_INT64(header.elements);
}

PG_FUNCTION_INFO_V1(delc_tensor_raw_bytes);
Datum
delc_tensor_raw_bytes(PG_FUNCTION_ARGS)
{
	DelcTensorHeader header;

	delc_value_header(PG_GETARG_DATUM(0), &header);
	PG_RETURN_INT64(header.raw_bytes);
}

PG_FUNCTION_INFO_V1(delc_tensor_stored_bytes);
Datum
delc_tensor_stored_bytes(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64((int64) toast_raw_datum_size(PG_GETARG_DATUM(0)) - VARHDRSZ);
}

PG_FUNCTION_INFO_V1(delc_tensor_planes);
Datum
delc_tensor_planes(PG_FUNCTION_ARGS)
{
	int			planes = PG_GETARG_INT32(1);

	if (planes < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("cannot read %d planes of a tensor", planes),
				 errhint("Ask for 1 (the most significant byte of each element) or more.")));
	PG_RETURN_TENSOR(delc_tensor_first_planes(PG_GETARG_DATUM(0), planes));
}

PG_FUNCTION_INFO_V1(delc_tensor_compressed);
Datum
delc_tensor_compressed(PG_FUNCTION_ARGS)
{
	PG_RETURN_TENSOR(delc_tensor_compress(PG_GETARG_WHOLE_TENSOR(0), PG_GETARG_BOOL(1)));
}

/*
 * CRC-32C of dtype, rank, dims and the dense numbers, however they are encoded. The first two
 * are a byte each, dims eight.
 */
PG_FUNCTION_INFO_V1(delc_tensor_checksum);
Datum
delc_tensor_checksum(PG_FUNCTION_ARGS)
{
	TensorReader reader;
	const DelcTensorHeader *header = &reader.layout.header;
	uint64		dense[TENSOR_BLOCK];
	unsigned char kind[2];
	uint32		crc = CRC32C_START;

	delc_reader_open(&reader, PG_GETARG_DATUM(0), 0);
	kind[0] = header->dtype;
	kind[1] = header->rank;
	crc = delc_crc32c_add(crc, kind, sizeof(kind));
	crc = delc_crc32c_add(crc, header->dims, header->rank * sizeof(int64));
	for (int64 start = 0; start < header->elements; start += TENSOR_BLOCK)
	{
		int64		count = Min(TENSOR_BLOCK, header->elements - start);

		CHECK_FOR_INTERRUPTS();
		delc_reader_read(&reader, start, count, dense);
		crc = delc_crc32c_add(crc, dense, count * header->item_size);
	}
	delc_reader_close(&reader);
	PG_RETURN_INT64((int64) (crc ^ 0xFFFFFFFF));
}

/* ---- plane_info ---- */

static const char *
encoding_name(int encoding)
{
	switch (encoding)
	{
		case PLANE_RAW:
			return "raw";
		case PLANE_ZSTD:
			return "zstd";
		case PLANE_RANS:
			return "rans";
		case PLANE_ROWS:
			return "rows";
		case PLANE_TABLE:
			return "table";
		default:
			return "constant";
	}
}

static HeapTuple
plane_row(FuncCallContext *context)
{
	const TensorLayout *layout = context->user_fctx;
	int			p = (int) context->call_cntr;
	Datum		values[5];
	bool		nulls[5] = {false};

	values[0] = Int32GetDatum(p + 1);
	values[1] = CStringGetTextDatum(encoding_name(layout->plane[p].encoding));
	values[2] = Int64GetDatum((int64) layout->plane[p].length);
	values[3] = Int64GetDatum(delc_plane_raw_bytes(layout, p));
	values[4] = Int32GetDatum(layout->plane[p].width);
	return heap_form_tuple(context->tuple_desc, values, nulls);
}

PG_FUNCTION_INFO_V1(delc_tensor_plane_info);
Datum
delc_tensor_plane_info(PG_FUNCTION_ARGS)
{
	FuncCallContext *context;
	HeapTuple	row;

	if (SRF_IS_FIRSTCALL())
	{
		MemoryContext old;
		TupleDesc	descriptor;
		TensorLayout *layout;

		context = SRF_FIRSTCALL_INIT();
		old = MemoryContextSwitchTo(context->multi_call_memory_ctx);
		if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
			elog(ERROR, "return type must be a row type");
		context->tuple_desc = BlessTupleDesc(descriptor);
		layout = palloc(sizeof(TensorLayout));
		delc_layout_read(PG_GETARG_DATUM(0), layout);
		context->user_fctx = layout;
		context->max_calls = layout->planes;
		MemoryContextSwitchTo(old);
	}
	context = SRF_PERCALL_SETUP();
	if (context->call_cntr >= context->max_calls)
		SRF_RETURN_DONE(context);
	row = plane_row(context);	/* SRF_RETURN_NEXT counts before it evaluates */
	SRF_RETURN_NEXT(context, HeapTupleGetDatum(row));
}

/* ---- the same numbers, otherwise ---- */

PG_FUNCTION_INFO_V1(delc_tensor_as);
Datum
delc_tensor_as(PG_FUNCTION_ARGS)
{
	int			dtype = delc_dtype_require(text_to_cstring(PG_GETARG_TEXT_PP(1)),
										   ERRCODE_INVALID_PARAMETER_VALUE);

	PG_RETURN_TENSOR(delc_tensor_as_dtype(PG_GETARG_WHOLE_TENSOR(0), dtype));
}

/* Replace the one dimension of -1, if there is one, by what is left for it. */
static void
infer_dimension(int64 *dims, int rank, const DelcTensorHeader *header)
{
	int64		known = 1;
	int			unknown = -1;

	for (int axis = 0; axis < rank; axis++)
	{
		if (dims[axis] == -1 && unknown >= 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("only one dimension of a shape can be -1, not both %d and %d",
							unknown + 1, axis + 1)));
		if (dims[axis] == -1)
			unknown = axis;
		else if (dims[axis] <= 0)
			known = 0;			/* nothing to infer; 0 or an error later */
		else if (known > 0)
			known = dims[axis] > header->elements / known ? 0 : known * dims[axis];
	}
	if (unknown < 0)
		return;
	if (known == 0 || header->elements % known != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("cannot infer dimension %d of shape %s for " INT64_FORMAT " elements",
						unknown + 1, delc_shape_text(rank, dims), header->elements)));
	dims[unknown] = header->elements / known;
}

PG_FUNCTION_INFO_V1(delc_tensor_reshaped);
Datum
delc_tensor_reshaped(PG_FUNCTION_ARGS)
{
	Datum		value = PG_GETARG_WHOLE_TENSOR(0);
	DelcTensorHeader header;
	DelcTensorHeader reshaped;
	int64		dims[TENSOR_MAX_RANK];
	int			rank = delc_shape_from_array(PG_GETARG_DATUM(1), dims);

	delc_tensor_header(value, &header);
	infer_dimension(dims, rank, &header);
	delc_shape_set(&reshaped, header.dtype, rank, dims,
				   ERRCODE_INVALID_PARAMETER_VALUE);
	if (reshaped.elements != header.elements)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("cannot reshape tensor %s to %s", delc_header_text(&header),
						delc_shape_text(rank, dims)),
				 errdetail("It has " INT64_FORMAT " elements, the shape " INT64_FORMAT ".",
						   header.elements, reshaped.elements)));
	PG_RETURN_TENSOR(delc_tensor_reshape(value, rank, dims));
}
