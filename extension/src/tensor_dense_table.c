/*
 * tensor_dense_table.c
 *	  Tensors of at most 256 different numbers: a plane as which way each
 *	  element goes on from the planes above (PLANE_TABLE).
 *
 * Together the planes cost what indices into a table of the numbers would: once
 * the upper planes have told two numbers apart, the lower ones are known.
 */
#include "tensor_dense.h"

#define MOST_NUMBERS 256

/* So many elements are looked at first: most tensors have too many different ones. */
#define FIRST_LOOK 4096

typedef struct Tree
{
	int			prefixes;		/* without the plane at hand */
	int			entries;		/* with it */
	uint8		seen[MOST_NUMBERS][256];	/* by prefix and value */
	uint8		entry_of[MOST_NUMBERS][256];
	uint8		way_of[MOST_NUMBERS][256];	/* how many of the prefix come before */
	uint8		more[MOST_NUMBERS]; /* per prefix: how many values follow it, less 1 */
	uint8	   *index;			/* each element's prefix */
} Tree;

/*
 * The context of each prefix, from how many ways, less 1, it goes on: one of its own
 * for those with a choice as far as there are enough, one for all that have none, which
 * costs nothing.  Gives their number.
 */
int
delc_table_contexts(const uint8 *more, int prefixes, uint8 *context_of)
{
	int			contexts = 1;

	for (int prefix = 0; prefix < prefixes; prefix++)
	{
		if (more[prefix] == 0)
			context_of[prefix] = 0;
		else if (contexts < RANS_MAX_CONTEXTS)
			context_of[prefix] = contexts++;
		else
			context_of[prefix] = RANS_MAX_CONTEXTS - 1;
	}
	return contexts;
}

/* Which values follow which prefixes; false if they make too many. */
static bool
grow(Tree *tree, const uint8 *values, int64 elements)
{
	int			entries = 0;

	memset(tree->seen, 0, 256 * tree->prefixes);
	for (int64 i = 0; i < elements; i++)
		tree->seen[tree->index[i]][values[i]] = 1;
	for (int prefix = 0; prefix < tree->prefixes; prefix++)
	{
		int			ways = 0;

		for (int value = 0; value < 256; value++)
		{
			if (!tree->seen[prefix][value])
				continue;
			if (entries == MOST_NUMBERS)
				return false;
			tree->entry_of[prefix][value] = (uint8) entries++;
			tree->way_of[prefix][value] = (uint8) ways++;
		}
		tree->more[prefix] = (uint8) (ways - 1);
	}
	tree->entries = entries;
	return true;
}

static void
step(Tree *tree, const uint8 *values, int64 elements)
{
	for (int64 i = 0; i < elements; i++)
		tree->index[i] = tree->entry_of[tree->index[i]][values[i]];
	tree->prefixes = tree->entries;
}

/* Do so many elements from start on have few enough different numbers? */
static bool
has_few(const DenseWriter *writer, Tree *tree, int64 start, int64 elements)
{
	tree->prefixes = 1;
	memset(tree->index, 0, elements);
	for (int p = 0; p < writer->layout.planes; p++)
	{
		if (!grow(tree, writer->values[p] + start, elements))
			return false;
		step(tree, writer->values[p] + start, elements);
	}
	return true;
}

/* The table: how many ways each prefix has, and all values. Is there a choice anywhere? */
static bool
put_table(const Tree *tree, ByteWriter *out)
{
	bool		branches = false;

	delc_put_byte(out, tree->entries);
	delc_put_byte(out, tree->entries >> 8);
	for (int prefix = 0; prefix < tree->prefixes; prefix++)
		branches |= tree->more[prefix] > 0;
	if (branches)
		delc_put_bytes(out, tree->more, tree->prefixes);
	for (int prefix = 0; prefix < tree->prefixes; prefix++)
	{
		for (int value = 0; value < 256; value++)
		{
			if (tree->seen[prefix][value])
				delc_put_byte(out, value);
		}
	}
	return branches;
}

static void
put_ways(DenseWriter *writer, const Tree *tree, const uint8 *values, ByteWriter *out)
{
	int64		elements = writer->layout.header.elements;
	uint8		context_of[MOST_NUMBERS];
	int			contexts = delc_table_contexts(tree->more, tree->prefixes, context_of);

	for (int64 i = 0; i < elements; i++)
	{
		writer->symbols[i] = tree->way_of[tree->index[i]][values[i]];
		writer->contexts[i] = context_of[tree->index[i]];
	}
	delc_put_stream(out, writer->model, writer->symbols,
					writer->contexts, contexts, elements, false);
}

/* Write plane p; false if it would not be smaller than raw. */
static bool
write_plane(DenseWriter *writer, Tree *tree, int p)
{
	int64		elements = writer->layout.header.elements;
	size_t		limit = delc_plane_raw_bytes(&writer->layout, p) - 1;
	uint8	   *block = palloc(limit);
	ByteWriter	out = {block, block, block + limit, false};

	writer->stored[p] = block;
	if (!grow(tree, writer->values[p], elements))
		return false;
	if (put_table(tree, &out))
		put_ways(writer, tree, writer->values[p], &out);
	step(tree, writer->values[p], elements);
	writer->layout.plane[p].encoding = PLANE_TABLE;
	writer->layout.plane[p].length = (uint32) (out.at - block);
	return !out.full;
}

/*
 * Write all planes as tables if the tensor has at most 256 different numbers.
 * False if it has more, or a plane is too small for that.
 */
bool
delc_dense_write_table(DenseWriter *writer)
{
	int64		elements = writer->layout.header.elements;
	int64		look = Min(elements, FIRST_LOOK);
	Tree	   *tree = palloc(sizeof(Tree));
	bool		written = true;

	tree->index = writer->keys;
	for (int p = 0; p < writer->layout.planes; p++)
		writer->stored[p] = NULL;
	written = elements > 1 && has_few(writer, tree, (elements - look) / 2, look) &&
		has_few(writer, tree, 0, elements);
	if (written)
	{
		tree->prefixes = 1;
		memset(tree->index, 0, elements);
	}
	for (int p = 0; written && p < writer->layout.planes; p++)
		written = write_plane(writer, tree, p);
	pfree(tree);
	return written;
}
