/*
 * tensor_reader.c
 *	  The numbers of a stored tensor, whole or block by block.
 */
#include "tensor_dense.h"

/*
 * Get the magic and all bytes up to the end of the last wanted plane.  Returns
 * how many planes are wanted.
 */
static int
fetch(TensorReader *reader, Datum value, int planes)
{
	struct varlena *pointer = (struct varlena *) DatumGetPointer(value);

	reader->detoasted = NULL;
	if (!delc_is_inline(value))
	{
		if (planes > 0)
		{
			TensorLayout *layout = &reader->layout;

			delc_layout_read(value, layout);
			planes = Min(planes, layout->planes);
			pointer = PG_DETOAST_DATUM_SLICE(value, 0,
											 layout->plane[planes - 1].offset +
											 layout->plane[planes - 1].length);
		}
		else
			pointer = PG_DETOAST_DATUM(value);
		reader->detoasted = pointer;
	}
	reader->bytes = VARDATA_ANY(pointer);
	if (reader->detoasted == NULL || planes <= 0)
		delc_layout_parse(&reader->layout, reader->bytes,
						  VARSIZE_ANY_EXHDR(pointer), ERRCODE_DATA_CORRUPTED);
	return planes <= 0 ? reader->layout.planes :
		Min(planes, reader->layout.planes);
}

/* Planes of bytes that are raw, constant or zstd are read here; others by tensor_dense_read.c. */
static bool
is_dense(const TensorLayout *layout, int planes)
{
	for (int p = 0; p < planes; p++)
	{
		if (layout->plane[p].width != 8 || layout->plane[p].encoding > PLANE_CONSTANT)
			return true;
	}
	return false;
}

static void
open_plane(TensorReader *reader, int p, int sqlstate)
{
	const TensorPlane *plane = &reader->layout.plane[p];
	const char *stored = reader->bytes + plane->offset;
	int64		elements = reader->layout.header.elements;

	switch (plane->encoding)
	{
		case PLANE_RAW:
			reader->source[p] = stored;
			break;
		case PLANE_ZSTD:
			reader->unpacked[p] = palloc(elements);
			delc_plane_decompress(stored, plane->length, reader->unpacked[p],
								  elements, sqlstate);
			reader->source[p] = reader->unpacked[p];
			break;
		default:
			reader->filling[p] = stored[0];
	}
}

/* Lay out blocks to read constant planes from. */
static void
fill_constants(TensorReader *reader)
{
	int64		length = Min(TENSOR_BLOCK, reader->layout.header.elements);
	int			constants = 0;

	for (int p = 0; p < reader->layout.header.item_size; p++)
		constants += reader->source[p] == NULL;
	if (constants == 0 || length == 0)
		return;
	reader->constant = palloc(constants * length);
	constants = 0;
	for (int p = 0; p < reader->layout.header.item_size; p++)
	{
		if (reader->source[p] == NULL)
			memset(reader->constant + length * constants++,
				   reader->filling[p], length);
	}
}

/* Ready the first planes of a fetched value. */
static void
open_planes(TensorReader *reader, int wanted, int sqlstate)
{
	reader->constant = NULL;
	reader->dense = NULL;
	for (int p = 0; p < TENSOR_MAX_PLANES; p++)
	{
		reader->unpacked[p] = NULL;
		reader->source[p] = NULL;
		reader->filling[p] = 0;
	}
	for (int p = 0; p < wanted; p++)
		delc_plane_check(&reader->layout, reader->bytes, p, sqlstate);
	if (is_dense(&reader->layout, wanted))
	{
		reader->dense = delc_dense_open(&reader->layout, reader->bytes, wanted, sqlstate);
		return;
	}
	/* halved planes below those wanted read as zero bytes like others */
	for (int p = 0; p < wanted; p++)
		open_plane(reader, p, sqlstate);
	fill_constants(reader);
}

/*
 * Open a tensor for reading its first planes (0: all); the bits below read as
 * zero.  What this allocates lives in the current memory context.
 */
void
delc_reader_open(TensorReader *reader, Datum value, int planes)
{
	int			wanted = fetch(reader, value, planes);

	open_planes(reader, wanted, ERRCODE_DATA_CORRUPTED);
}

/*
 * Write elements start, start + 1, ... to dense.  In order is best: dense planes
 * are decoded from the first element on.
 */
void
delc_reader_read(const TensorReader *reader, int64 start, int64 elements,
				 void *dense)
{
	int			item_size = reader->layout.header.item_size;
	int64		block_length = Min(TENSOR_BLOCK, reader->layout.header.elements);

	Assert(start >= 0 && start + elements <= reader->layout.header.elements);
	if (reader->dense != NULL)
	{
		delc_dense_read(reader->dense, start, elements, dense);
		return;
	}
	for (int64 done = 0; done < elements; done += block_length)
	{
		const char *planes[TENSOR_MAX_PLANES];
		const char *constant = reader->constant;

		for (int p = 0; p < item_size; p++)
		{
			if (reader->source[p] != NULL)
				planes[p] = reader->source[p] + start + done;
			else
			{
				planes[p] = constant;
				constant += block_length;
			}
		}
		delc_planes_join(planes, Min(block_length, elements - done), item_size,
						 (char *) dense + done * item_size);
	}
}

void
delc_reader_close(TensorReader *reader)
{
	if (reader->dense != NULL)
		delc_dense_close(reader->dense);
	for (int p = 0; p < TENSOR_MAX_PLANES; p++)
	{
		if (reader->unpacked[p] != NULL)
			pfree(reader->unpacked[p]);
	}
	if (reader->constant != NULL)
		pfree(reader->constant);
	if (reader->detoasted != NULL)
		pfree(reader->detoasted);
}

void
delc_tensor_decode(Datum value, int planes, void *dense_out)
{
	TensorReader reader;

	delc_reader_open(&reader, value, planes);
	delc_reader_read(&reader, 0, reader.layout.header.elements, dense_out);
	delc_reader_close(&reader);
}

/*
 * The same for a value in memory, of which no more need be there than the planes asked for.  total is
 * the size of all of it.
 */
void
delc_bytes_decode(const char *bytes, int64 total, int planes, void *dense_out)
{
	TensorReader reader;

	reader.bytes = bytes;
	reader.detoasted = NULL;
	delc_layout_parse(&reader.layout, bytes, total, ERRCODE_DATA_CORRUPTED);
	open_planes(&reader, planes <= 0 ? reader.layout.planes : Min(planes, reader.layout.planes),
				ERRCODE_DATA_CORRUPTED);
	delc_reader_read(&reader, 0, reader.layout.header.elements, dense_out);
	delc_reader_close(&reader);
}

/*
 * Read all of a value that is inline, with sqlstate for damage; check, where
 * there is one, sees the numbers block by block.
 */
void
delc_reader_check(const struct varlena *value, int sqlstate,
				  void (*check) (const char *dense, int64 start, int64 elements))
{
	TensorReader reader;
	uint64		block[TENSOR_BLOCK];

	reader.bytes = VARDATA_ANY(value);
	reader.detoasted = NULL;
	delc_layout_parse(&reader.layout, reader.bytes, VARSIZE_ANY_EXHDR(value), sqlstate);
	open_planes(&reader, reader.layout.planes, sqlstate);
	/* opening has decompressed what is not dense */
	if (reader.dense != NULL || check != NULL)
	{
		int64		elements = reader.layout.header.elements;

		for (int64 start = 0; start < elements; start += TENSOR_BLOCK)
		{
			int64		count = Min(TENSOR_BLOCK, elements - start);

			delc_reader_read(&reader, start, count, block);
			if (check != NULL)
				check((const char *) block, start, count);
		}
	}
	delc_reader_close(&reader);
}
