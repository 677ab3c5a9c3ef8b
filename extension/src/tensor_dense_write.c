/*
 * tensor_dense_write.c
 *	  A tensor in its dense encoding: each plane as it is smallest.
 */
#include "tensor_dense.h"

#include "miscadmin.h"

/* From so many on, speed of decoding is worth a little more space. */
#define LARGE_ELEMENTS 262144

/* Each plane of the dense numbers as a byte per element. */
static void
split(DenseWriter *writer, const char *dense)
{
	const DelcTensorHeader *header = &writer->layout.header;
	bool		halves = writer->layout.planes > header->item_size;
	char	   *bytes[TENSOR_MAX_PLANES];

	for (int byte = 0; byte < header->item_size; byte++)
		bytes[byte] = palloc(Max(header->elements, 1));
	delc_planes_split(dense, header->elements, header->item_size, bytes);
	writer->values[0] = (uint8 *) bytes[0];
	for (int byte = 1; byte < header->item_size; byte++)
	{
		if (!halves)
		{
			writer->values[byte] = (uint8 *) bytes[byte];
			continue;
		}
		writer->values[2 * byte - 1] = palloc(Max(header->elements, 1));
		writer->values[2 * byte] = palloc(Max(header->elements, 1));
		delc_nibbles_split((uint8 *) bytes[byte], header->elements,
						   writer->values[2 * byte - 1], writer->values[2 * byte]);
		pfree(bytes[byte]);
	}
}

static void
read_whole(DenseWriter *writer, Datum value, bool halves)
{
	TensorReader reader;
	char	   *dense;

	delc_reader_open(&reader, value, 0);
	writer->layout.header = reader.layout.header;
	delc_layout_split(&writer->layout, halves);
	dense = palloc(Max(writer->layout.header.raw_bytes, 1));
	delc_reader_read(&reader, 0, writer->layout.header.elements, dense);
	delc_reader_close(&reader);
	split(writer, dense);
	pfree(dense);
}

/* Write the planes as tables where that is smaller than what stands. */
static void
try_table(DenseWriter *writer)
{
	DenseWriter table = *writer;

	if (delc_dense_write_table(&table) &&
		delc_layout_place(&table.layout) < delc_layout_place(&writer->layout))
	{
		writer->layout = table.layout;
		memcpy(writer->stored, table.stored, sizeof(writer->stored));
	}
}

static struct varlena *
assemble(DenseWriter *writer)
{
	struct varlena *value;

	delc_layout_place(&writer->layout);
	value = delc_layout_allocate(&writer->layout);
	for (int p = 0; p < writer->layout.planes; p++)
	{
		const TensorPlane *plane = &writer->layout.plane[p];
		uint8	   *at = (uint8 *) VARDATA(value) + plane->offset;

		if (writer->stored[p] != NULL)
			memcpy(at, writer->stored[p], plane->length);
		else if (plane->encoding == PLANE_CONSTANT || plane->width == 8)
			memcpy(at, writer->values[p], plane->length);
		else
			delc_nibbles_pack(writer->values[p], writer->layout.header.elements, at);
	}
	delc_layout_seal(&writer->layout, VARDATA(value));
	return value;
}

/*
 * The same tensor as small as it gets; halves: in planes of half bytes below the first.
 * What is allocated on the way stays in the current memory context.
 */
struct varlena *
delc_tensor_compress(Datum value, bool halves)
{
	DenseWriter writer;
	size_t		elements;

	read_whole(&writer, value, halves);
	elements = Max(writer.layout.header.elements, 1);
	writer.model = palloc(sizeof(RansModel));
	writer.model->waste = elements >= LARGE_ELEMENTS ? 1.0 / 256 : 1.0 / 1024;
	writer.keys = palloc(elements);
	writer.contexts = palloc(elements);
	writer.symbols = palloc(elements);
	for (int p = 0; p < writer.layout.planes; p++)
	{
		CHECK_FOR_INTERRUPTS();
		delc_dense_write_plane(&writer, p);
	}
	try_table(&writer);
	return assemble(&writer);
}
