/*
 * tensor_context.c
 *	  Contexts of a plane's elements, from what is known before the plane is.
 *
 * As stored (tensor_dense_write.c writes them, tensor_dense_read.c reads them):
 *	scale	number of contexts (1 byte), elements of a row (4); length of a rANS stream (4),
 *			and the stream: a level per row; length and stream: a level per column
 *	window	the first key (1), number of contexts (1)
 *	map		number of contexts (1), and the key of each but the first
 */
#include "tensor_dense.h"

PLANE_LOOP static void
without_sign(const uint8 *restrict bytes, int64 elements, uint8 *restrict keys)
{
	for (int64 i = 0; i < elements; i++)
		keys[i] = bytes[i] & 0x7F;
}

/* The low eight bits of exponents: those of first, and so many leading bits of second. */
PLANE_LOOP static void
exponents(const uint8 *restrict first, const uint8 *restrict second, int bits,
		  int width, int64 elements, uint8 *restrict keys)
{
	for (int64 i = 0; i < elements; i++)
		keys[i] = first[i] << bits | second[i] >> (width - bits);
}

/* Bits of the exponent below the first plane. */
static int
exponent_bits_below(int dtype)
{
	switch (dtype)
	{
		case DELC_FLOAT64:
			return 4;
		case DELC_FLOAT16:
			return 0;
		default:
			return 1;
	}
}

/*
 * What is known of each element: for floats its exponent, as far as the planes
 * above have it, for others its part in the plane next above.
 */
void
delc_context_keys(const DenseAbove *above, int64 elements, uint8 *keys)
{
	int			bits = exponent_bits_below(above->dtype);

	if (delc_dtype_kind(above->dtype) != KIND_FLOAT)
		memcpy(keys, above->last, elements);
	else if (above->plane == 1 || bits == 0)
		without_sign(above->first, elements, keys);
	else
		exponents(above->first, above->second, bits, above->width, elements, keys);
}

PLANE_LOOP static void
window_contexts(const uint8 *restrict keys, int64 elements, uint8 low, uint8 last,
				uint8 *restrict out)
{
	for (int64 i = 0; i < elements; i++)
	{
		uint8		from_low = (uint8) (Max(keys[i], low) - low);

		out[i] = Min(from_low, last);
	}
}

void
delc_contexts_of_keys(const DenseContexts *contexts, const uint8 *keys,
					  int64 elements, uint8 *out)
{
	if (contexts->kind == CONTEXT_WINDOW)
		window_contexts(keys, elements, (uint8) contexts->low,
						(uint8) (contexts->count - 1), out);
	else
	{
		for (int64 i = 0; i < elements; i++)
			out[i] = contexts->class_of[keys[i]];
	}
}

PLANE_LOOP static void
scale_contexts(const uint8 *restrict column_level, int64 columns, uint8 row_level,
			   uint8 last, uint8 *restrict out)
{
	for (int64 i = 0; i < columns; i++)
	{
		uint8		level = (uint8) (Max(column_level[i], row_level) - row_level);

		out[i] = Min(level, last);
	}
}

void
delc_contexts_of_scale(const DenseContexts *contexts, int64 start, int64 elements,
					   uint8 *out)
{
	int64		row = start / contexts->columns;
	int64		column = start % contexts->columns;

	while (elements > 0)
	{
		int64		count = Min(elements, contexts->columns - column);

		scale_contexts(contexts->column_level + column, count, contexts->row_level[row],
					   (uint8) (contexts->count - 1), out);
		out += count;
		elements -= count;
		column = 0;
		row++;
	}
}

/* ---- as stored ---- */

static void
write_levels(struct ByteWriter *writer, RansModel *model, const uint8 *levels, int64 n)
{
	delc_put_stream(writer, model, levels, NULL, 1, n, true);
}

/* The kind, and what it needs. */
void
delc_context_write(const DenseContexts *contexts, int64 elements, RansModel *model,
				   struct ByteWriter *writer)
{
	delc_put_byte(writer, contexts->kind);
	if (contexts->kind == CONTEXT_WINDOW)
		delc_put_byte(writer, contexts->low);
	if (contexts->kind != CONTEXT_NONE)
		delc_put_byte(writer, contexts->count);
	if (contexts->kind == CONTEXT_SCALE)
	{
		delc_put_uint32(writer, (uint32) contexts->columns);
		write_levels(writer, model, contexts->row_level, (elements - 1) / contexts->columns + 1);
		write_levels(writer, model, contexts->column_level, contexts->columns);
	}
	else if (contexts->kind == CONTEXT_MAP)
	{
		for (int class = 1; class < contexts->count; class++)
		{
			int			key = 0;

			while (contexts->class_of[key] != class)
				key++;
			delc_put_byte(writer, key);
		}
	}
}
