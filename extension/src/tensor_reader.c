/*
 * tensor_reader.c
 *	  The numbers of a stored tensor, whole or block by block.
 */
#include "tensor_format.h"

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

static void
open_plane(TensorReader *reader, int p)
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
								  elements, ERRCODE_DATA_CORRUPTED);
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

	for (int p = 0; p < reader->layout.planes; p++)
		constants += reader->source[p] == NULL;
	reader->constant = NULL;
	if (constants == 0 || length == 0)
		return;
	reader->constant = palloc(constants * length);
	constants = 0;
	for (int p = 0; p < reader->layout.planes; p++)
	{
		if (reader->source[p] == NULL)
			memset(reader->constant + length * constants++,
				   reader->filling[p], length);
	}
}

/*
 * Open a tensor for reading its first planes (0: all); the bytes below read as
 * zero.  What this allocates lives in the current memory context.
 */
void
delc_reader_open(TensorReader *reader, Datum value, int planes)
{
	int			wanted = fetch(reader, value, planes);

	for (int p = 0; p < reader->layout.planes; p++)
	{
		reader->unpacked[p] = NULL;
		reader->source[p] = NULL;
		reader->filling[p] = 0;
		if (p < wanted)
			open_plane(reader, p);
	}
	fill_constants(reader);
}

/* Write elements start, start + 1, ... to dense. */
void
delc_reader_read(const TensorReader *reader, int64 start, int64 elements,
				 void *dense)
{
	int			item_size = reader->layout.header.item_size;
	int64		block_length = Min(TENSOR_BLOCK, reader->layout.header.elements);

	Assert(start >= 0 && start + elements <= reader->layout.header.elements);
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
	for (int p = 0; p < reader->layout.planes; p++)
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
