/*
 * tensor_dense_plane.c
 *	  Choosing the smallest dense encoding of one plane, and writing it.
 *
 * Candidates are weighed by the entropy of a sample: mantissa noise, which is
 * most of what there is, costs a look.  Only the one that promises most is written.
 */
#include "tensor_dense.h"

#include <math.h>

/* Planes of fewer elements stay raw. */
#define MIN_ELEMENTS 64

/* A plane is coded only if that saves one part in this; decoding is not free. */
#define MIN_SAVING 100

/* The sample: so many runs of so many elements, evenly spread. */
#define SAMPLE_RUNS 64
#define SAMPLE_RUN_LENGTH 1024
#define SAMPLE_MAX (SAMPLE_RUNS * SAMPLE_RUN_LENGTH)

/* Bits that a context without symbols takes. */
#define EMPTY_COST 1

/* How many contexts windows and maps begin with. */
#define MOST_CLASSES 32

/* What zstd is tried on, from the middle of the plane. */
#define ZSTD_TRIAL 32768

/* Levels of rows and columns are at most this far from the tensor's. */
#define LEVEL_RANGE 60

/* Fewer rows or columns have no scales worth telling. */
#define SCALE_MIN_LENGTH 16

/* What is best so far. */
typedef struct Choice
{
	int			encoding;
	bool		upper_half;
	DenseContexts contexts;
	int64		columns;		/* of rows */
	double		bytes;
} Choice;

/* ---- sampling ---- */

static int64
sample_length(int64 elements)
{
	return Min(elements, SAMPLE_MAX);
}

static void
sample(const uint8 *bytes, int64 elements, uint8 *out)
{
	if (elements <= SAMPLE_MAX)
		memcpy(out, bytes, elements);
	else
	{
		int64		stride = (elements - SAMPLE_RUN_LENGTH) / (SAMPLE_RUNS - 1);

		for (int run = 0; run < SAMPLE_RUNS; run++)
			memcpy(out + run * SAMPLE_RUN_LENGTH, bytes + run * stride, SAMPLE_RUN_LENGTH);
	}
}

/* The keys of the contexts of plane p: of all elements, or of the sample. */
static void
find_keys(const DenseWriter *writer, int p, bool of_sample, uint8 *keys)
{
	int64		elements = writer->layout.header.elements;
	DenseAbove	above = {writer->layout.header.dtype, p, writer->layout.plane[1].width,
		writer->values[0], writer->values[1], writer->values[p - 1]};

	if (!of_sample)
		delc_context_keys(&above, elements, keys);
	else
	{
		/* three planes at most: behind one another */
		uint8	   *part = palloc(3 * SAMPLE_MAX);

		sample(above.first, elements, part);
		if (p > 1)
			sample(above.second, elements, part + SAMPLE_MAX);
		sample(above.last, elements, part + 2 * SAMPLE_MAX);
		above.first = part;
		above.second = part + SAMPLE_MAX;
		above.last = part + 2 * SAMPLE_MAX;
		delc_context_keys(&above, sample_length(elements), keys);
		pfree(part);
	}
}

/* ---- weighing contexts ---- */

static void
add_counts(uint32 *to, const uint32 *from)
{
	for (int symbol = 0; symbol < 256; symbol++)
		to[symbol] += from[symbol];
}

/* Merge the context at edge into its neighbour if that is cheaper, or must be. */
static bool
merge_edge(uint32 (*counts)[256], double *costs, int edge, int neighbour, double weight,
		   bool must)
{
	uint32		merged[256];
	double		cost;

	memcpy(merged, counts[neighbour], sizeof(merged));
	add_counts(merged, counts[edge]);
	cost = delc_rans_context_cost(merged, weight);
	if (!must && cost > costs[edge] + costs[neighbour])
		return false;
	memcpy(counts[neighbour], merged, sizeof(merged));
	costs[neighbour] = cost;
	return true;
}

/*
 * Contexts first to last, in order of size: merge those at both ends into their
 * neighbours as long as that costs nothing, or there are too many.  Gives the bits of what
 * remains.
 */
static double
trim(uint32 (*counts)[256], int *first, int *last, double weight)
{
	double		costs[256];
	double		sum = 0;
	bool		merged = true;

	for (int context = *first; context <= *last; context++)
		costs[context] = delc_rans_context_cost(counts[context], weight);
	while (*last > *first && costs[*last] <= EMPTY_COST)
		--*last;
	while (merged && *first < *last)
	{
		merged = merge_edge(counts, costs, *first, *first + 1, weight,
							*last - *first >= RANS_MAX_CONTEXTS);
		*first += merged;
		if (*first < *last && merge_edge(counts, costs, *last, *last - 1, weight, false))
		{
			--*last;
			merged = true;
		}
	}
	for (int context = *first; context <= *last; context++)
		sum += costs[context];
	return sum;
}

static void
consider(Choice *best, const DenseContexts *contexts, bool upper_half, double bits,
		 double more_bytes)
{
	double		bytes = bits / 8 + more_bytes;

	if (bytes >= best->bytes)
		return;
	best->encoding = PLANE_RANS;
	best->upper_half = upper_half;
	best->contexts = *contexts;
	best->bytes = bytes;
}

/* Counts by key, 256 of each. */
static uint32 (*count_by_key(const uint8 *keys, const uint8 *symbols, int64 n))[256]
{
	uint32		(*counts)[256] = palloc0(256 * sizeof(*counts));

	for (int64 i = 0; i < n; i++)
		counts[keys[i]][symbols[i]]++;
	return counts;
}

/* A window on keys that are exponents. */
static double
weigh_window(uint32 (*counts)[256], double weight, DenseContexts *contexts)
{
	int			first = 0;
	int			last = 255;
	double		bits;

	bits = trim(counts, &first, &last, weight);
	contexts->kind = CONTEXT_WINDOW;
	contexts->low = first;
	contexts->count = last - first + 1;
	return bits;
}

static uint64
total_of(const uint32 *counts)
{
	uint64		total = 0;

	for (int symbol = 0; symbol < 256; symbol++)
		total += counts[symbol];
	return total;
}

/* A context for each key that has many elements, in order of their number; one for all others. */
static double
weigh_map(uint32 (*counts)[256], int64 n, double weight, DenseContexts *contexts)
{
	uint64		totals[256];
	uint32		others[256] = {0};
	double		bits = 0;

	memset(contexts, 0, sizeof(*contexts));
	contexts->kind = CONTEXT_MAP;
	contexts->count = 1;
	for (int key = 0; key < 256; key++)
		totals[key] = total_of(counts[key]);
	while (contexts->count < MOST_CLASSES)
	{
		int			most = 0;

		for (int key = 1; key < 256; key++)
			most = totals[key] > totals[most] ? key : most;
		if (totals[most] * 256 < n)
			break;
		totals[most] = 0;
		contexts->class_of[most] = contexts->count++;
		bits += delc_rans_context_cost(counts[most], weight);
	}
	for (int key = 0; key < 256; key++)
	{
		if (contexts->class_of[key] == 0)
			add_counts(others, counts[key]);
	}
	return bits + delc_rans_context_cost(others, weight);
}

/* Symbols of the sample, or their upper halves, without contexts and in those of the planes above. */
static void
consider_symbols(DenseWriter *writer, int p, const uint8 *symbols, const uint8 *keys,
				 bool upper_half, Choice *best)
{
	int64		elements = writer->layout.header.elements;
	int64		n = sample_length(elements);
	double		weight = (double) elements / n;
	double		more = delc_rans_overhead(elements) + (upper_half ? NIBBLE_BYTES(elements) : 0);
	DenseContexts contexts = {.kind = CONTEXT_NONE,.count = 1};
	uint32		(*counts)[256];

	delc_rans_count(writer->model, symbols, NULL, 1, n);
	consider(best, &contexts, upper_half, delc_rans_cost(writer->model, weight), more);
	if (keys == NULL)
		return;
	counts = count_by_key(keys, symbols, n);
	if (delc_dtype_kind(writer->layout.header.dtype) == KIND_FLOAT)
	{
		double		bits = weigh_window(counts, weight, &contexts);

		consider(best, &contexts, upper_half, bits, more);
	}
	else
	{
		double		bits = weigh_map(counts, n, weight, &contexts);

		consider(best, &contexts, upper_half, bits, more);
	}
	pfree(counts);
}

static void
consider_rans(DenseWriter *writer, int p, Choice *best)
{
	int64		elements = writer->layout.header.elements;
	int64		n = sample_length(elements);
	uint8	   *symbols = palloc(n);
	uint8	   *keys = p == 0 ? NULL : palloc(n);

	sample(writer->values[p], elements, symbols);
	if (keys != NULL)
		find_keys(writer, p, true, keys);
	consider_symbols(writer, p, symbols, keys, false, best);
	if (p > 0 && writer->layout.plane[p].width == 8)
	{
		for (int64 i = 0; i < n; i++)
			symbols[i] >>= 4;
		consider_symbols(writer, p, symbols, keys, true, best);
	}
	pfree(symbols);
	if (keys != NULL)
		pfree(keys);
}

/* ---- scales: how large the numbers of a row, and those of a column, are ---- */

/*
 * The logarithm of each number's size, in so many parts of an octave, from its
 * upper twelve bits: exponent and mantissa read as one are about that.
 */
static int
parts_of_octave(int dtype)
{
	switch (dtype)
	{
		case DELC_FLOAT64:
			return 1;
		case DELC_FLOAT16:
			return 64;
		default:
			return 8;
	}
}

typedef struct Scales
{
	int64		rows;
	int64		columns;
	float	   *row;			/* mean logarithm of size, in octaves, of those not 0 */
	float	   *column;
	float		all;
} Scales;

/* The sizes of a row's numbers, added up, and how many are not 0: by column and in all. */
PLANE_LOOP static uint32
add_row(const uint8 *restrict first, const uint8 *restrict second, int shift,
		int64 columns, uint32 *restrict sums, uint32 *restrict counts,
		uint32 *restrict row_count)
{
	uint32		row_sum = 0;
	uint32		count = 0;

	for (int64 column = 0; column < columns; column++)
	{
		uint32		size = (uint32) (first[column] & 0x7F) << 4 | second[column] >> shift;

		sums[column] += size;
		counts[column] += size != 0;
		row_sum += size;
		count += size != 0;
	}
	*row_count = count;
	return row_sum;
}

static void
find_scales(const DenseWriter *writer, Scales *scales)
{
	const uint8 *first = writer->values[0];
	const uint8 *second = writer->values[1];
	int			shift = writer->layout.plane[1].width - 4;
	float		part = 1.0f / parts_of_octave(writer->layout.header.dtype);
	uint32	   *sums = palloc0(scales->columns * sizeof(uint32));
	uint32	   *counts = palloc0(scales->columns * sizeof(uint32));
	double		all = 0;
	double		all_count = 0;

	for (int64 row = 0; row < scales->rows; row++)
	{
		uint32		count;
		uint32		sum = add_row(first, second, shift, scales->columns, sums, counts, &count);

		first += scales->columns;
		second += scales->columns;
		scales->row[row] = count == 0 ? 0 : part * sum / count;
		all += sum;
		all_count += count;
	}
	scales->all = all_count == 0 ? 0 : (float) (part * all / all_count);
	for (int64 column = 0; column < scales->columns; column++)
		scales->column[column] = counts[column] == 0 ? 0 : part * sums[column] / counts[column];
	pfree(sums);
	pfree(counts);
}

static int
level_of(float scale, float all, int resolution)
{
	int			level = (int) lroundf((scale - all) * resolution);

	return Max(-LEVEL_RANGE, Min(LEVEL_RANGE, level));
}

/* Bits of levels, by their entropy. */
static double
levels_cost(RansModel *model, const uint8 *levels, int64 n)
{
	delc_rans_count(model, levels, NULL, 1, n);
	return delc_rans_cost(model, 1) + 8 * delc_rans_overhead(n);
}

/* Symbols and contexts of evenly spread rows; gives their number. */
static int64
sample_rows(DenseWriter *writer, const Scales *scales, const DenseContexts *contexts)
{
	int64		every = Max(writer->layout.header.elements / SAMPLE_MAX, 1);
	int64		n = 0;

	for (int64 row = 0; row < scales->rows; row += every)
	{
		int64		start = row * scales->columns;

		memcpy(writer->symbols + n, writer->values[0] + start, scales->columns);
		delc_contexts_of_scale(contexts, start, scales->columns, writer->contexts + n);
		n += scales->columns;
	}
	return n;
}

/*
 * Contexts of so many levels per octave: a column's level less its row's offset, from
 * 0 to one below their number.
 */
static void
consider_scales(DenseWriter *writer, const Scales *scales, int resolution, Choice *best)
{
	int64		elements = writer->layout.header.elements;
	DenseContexts contexts = {.kind = CONTEXT_SCALE,.count = MOST_CLASSES,.columns = scales->columns};
	int			first = 0;
	int			last = MOST_CLASSES - 1;
	int64		n;
	double		bits;

	contexts.row_level = palloc(scales->rows);
	contexts.column_level = palloc(scales->columns);
	for (int64 row = 0; row < scales->rows; row++)
		contexts.row_level[row] = 2 * LEVEL_RANGE - MOST_CLASSES / 2 -
			level_of(scales->row[row], scales->all, resolution);
	for (int64 column = 0; column < scales->columns; column++)
		contexts.column_level[column] = 2 * LEVEL_RANGE +
			level_of(scales->column[column], scales->all, resolution);
	n = sample_rows(writer, scales, &contexts);
	delc_rans_count(writer->model, writer->symbols, writer->contexts, contexts.count, n);
	bits = trim(writer->model->counts, &first, &last, (double) elements / n);
	contexts.count = last - first + 1;
	for (int64 row = 0; row < scales->rows; row++)
		contexts.row_level[row] += first;
	bits += levels_cost(writer->model, contexts.row_level, scales->rows) +
		levels_cost(writer->model, contexts.column_level, scales->columns);
	consider(best, &contexts, false, bits, delc_rans_overhead(elements));
}

static void
consider_row_and_column(DenseWriter *writer, Choice *best)
{
	const DelcTensorHeader *header = &writer->layout.header;
	Scales		scales;

	if (delc_dtype_kind(header->dtype) != KIND_FLOAT || header->rank < 2)
		return;
	scales.columns = header->dims[header->rank - 1];
	scales.rows = header->elements / scales.columns;
	if (scales.columns < SCALE_MIN_LENGTH || scales.rows < SCALE_MIN_LENGTH)
		return;
	scales.row = palloc(scales.rows * sizeof(float));
	scales.column = palloc(scales.columns * sizeof(float));
	find_scales(writer, &scales);
	consider_scales(writer, &scales, 2, best);
	consider_scales(writer, &scales, 4, best);
	pfree(scales.row);
	pfree(scales.column);
}

/* ---- rows that end in zeros ---- */

static int
trailing_zeros(unsigned int bits, int width)
{
	int			zeros = 0;

	while (zeros < width && !(bits >> zeros & 1))
		zeros++;
	return zeros;
}

static int64
row_length(const DelcTensorHeader *header)
{
	int64		last = header->rank == 0 ? 1 : header->dims[header->rank - 1];

	return last >= 8 ? last : Min(header->elements, 256);
}

/* The zero bits that each row of the plane ends in, to zeros; gives the bytes of the others. */
static int64
find_zeros(const DenseWriter *writer, int p, int64 columns, uint8 *zeros)
{
	int64		elements = writer->layout.header.elements;
	const uint8 *values = writer->values[p];
	int			width = writer->layout.plane[p].width;
	int64		bytes = 0;

	for (int64 start = 0; start < elements; start += columns)
	{
		int64		count = Min(columns, elements - start);
		unsigned int bits = 0;

		/* most rows have a one within a few elements */
		for (int64 i = 0; i < count && !(bits & 1); i++)
			bits |= values[start + i];
		*zeros = trailing_zeros(bits, width);
		bytes += (count * (width - *zeros++) + 7) / 8;
	}
	return bytes;
}

static void
consider_rows(DenseWriter *writer, int p, Choice *best)
{
	int64		columns = row_length(&writer->layout.header);
	int64		rows = (writer->layout.header.elements - 1) / columns + 1;
	uint8	   *zeros = palloc(rows);
	double		bytes = find_zeros(writer, p, columns, zeros);

	delc_rans_count(writer->model, zeros, NULL, 1, rows);
	bytes += delc_rans_cost(writer->model, 1) / 8 + delc_rans_overhead(rows);
	if (bytes < best->bytes)
	{
		best->encoding = PLANE_ROWS;
		best->columns = columns;
		best->bytes = bytes;
	}
	pfree(zeros);
}

/* ---- repetitions ---- */

static void
consider_zstd(const DenseWriter *writer, int p, Choice *best)
{
	int64		elements = writer->layout.header.elements;
	int64		trial = Min(elements, ZSTD_TRIAL);
	char	   *out = palloc(ZSTD_TRIAL);
	size_t		size = delc_plane_compress((const char *) writer->values[p] + (elements - trial) / 2,
										   trial, out, delc_plane_worthwhile(trial));

	pfree(out);
	if (size > 0 && (double) size * elements / trial < best->bytes)
	{
		best->encoding = PLANE_ZSTD;
		best->bytes = (double) size * elements / trial;
	}
}

/* ---- writing ---- */

static void
write_rans(DenseWriter *writer, int p, const Choice *choice, ByteWriter *out)
{
	int64		elements = writer->layout.header.elements;
	const uint8 *symbols = writer->values[p];
	uint8	   *lower = writer->keys;
	const uint8 *contexts = NULL;

	delc_put_byte(out, choice->upper_half ? 4 : writer->layout.plane[p].width);
	delc_context_write(&choice->contexts, elements, writer->model, out);
	if (choice->contexts.kind == CONTEXT_SCALE)
		delc_contexts_of_scale(&choice->contexts, 0, elements, writer->contexts);
	else if (choice->contexts.kind != CONTEXT_NONE)
	{
		find_keys(writer, p, false, writer->keys);
		delc_contexts_of_keys(&choice->contexts, writer->keys, elements, writer->contexts);
	}
	if (choice->contexts.kind != CONTEXT_NONE)
		contexts = writer->contexts;
	if (choice->upper_half)
	{
		delc_nibbles_split(symbols, elements, writer->symbols, lower);
		symbols = writer->symbols;
	}
	delc_put_stream(out, writer->model, symbols, contexts, choice->contexts.count, elements, true);
	if (choice->upper_half)
		delc_put_nibbles(out, lower, elements);
}

/* The upper bits of a row's elements, from the lowest bit of a byte on. */
static void
pack_row(const uint8 *values, int64 count, int bits, int zeros, uint8 *out)
{
	uint32		held = 0;
	int			held_bits = 0;

	for (int64 i = 0; i < count; i++)
	{
		held |= (uint32) (values[i] >> zeros) << held_bits;
		held_bits += bits;
		while (held_bits >= 8)
		{
			*out++ = (uint8) held;
			held >>= 8;
			held_bits -= 8;
		}
	}
	if (held_bits > 0)
		*out = (uint8) held;
}

static void
write_rows(DenseWriter *writer, int p, const Choice *choice, ByteWriter *out)
{
	int64		elements = writer->layout.header.elements;
	int64		columns = choice->columns;
	int64		rows = (elements - 1) / columns + 1;
	int			width = writer->layout.plane[p].width;
	uint8	   *zeros = palloc(rows);

	find_zeros(writer, p, columns, zeros);
	delc_put_uint32(out, (uint32) columns);
	delc_put_stream(out, writer->model, zeros, NULL, 1, rows, true);
	for (int64 row = 0; row < rows; row++)
	{
		int64		count = Min(columns, elements - row * columns);
		int			bits = width - zeros[row];
		uint8	   *room = delc_put_room(out, (count * bits + 7) / 8);

		if (room != NULL)
			pack_row(writer->values[p] + row * columns, count, bits, zeros[row], room);
	}
	pfree(zeros);
}

/* Write the plane as chosen; false if it became larger than limit. */
static bool
write_choice(DenseWriter *writer, int p, const Choice *choice, size_t limit)
{
	uint8	   *block = palloc(limit);
	ByteWriter	out = {block, block, block + limit, false};

	if (choice->encoding == PLANE_RANS)
		write_rans(writer, p, choice, &out);
	else if (choice->encoding == PLANE_ROWS)
		write_rows(writer, p, choice, &out);
	else
	{
		out.at += delc_plane_compress((const char *) writer->values[p],
									  writer->layout.header.elements, (char *) block, limit);
		out.full = out.at == block;
	}
	if (out.full)
	{
		pfree(block);
		return false;
	}
	writer->layout.plane[p].encoding = choice->encoding;
	writer->layout.plane[p].length = (uint32) (out.at - block);
	writer->stored[p] = block;
	return true;
}

static bool
is_constant(const uint8 *values, int64 elements)
{
	return elements > 1 && memcmp(values, values + 1, elements - 1) == 0;
}

/* Choose the encoding of plane p and write it; those above are done. */
void
delc_dense_write_plane(DenseWriter *writer, int p)
{
	TensorPlane *plane = &writer->layout.plane[p];
	int64		elements = writer->layout.header.elements;
	int64		raw_bytes = delc_plane_raw_bytes(&writer->layout, p);
	size_t		limit = raw_bytes - raw_bytes / MIN_SAVING - 1;
	Choice		best = {.encoding = PLANE_RAW,.bytes = limit};

	writer->stored[p] = NULL;
	plane->encoding = PLANE_RAW;
	plane->length = (uint32) raw_bytes;
	if (is_constant(writer->values[p], elements))
	{
		plane->encoding = PLANE_CONSTANT;
		plane->length = 1;
	}
	if (plane->encoding == PLANE_CONSTANT || elements < MIN_ELEMENTS)
		return;
	consider_rans(writer, p, &best);
	if (p == 0 && writer->layout.planes > 1)
		consider_row_and_column(writer, &best);
	consider_rows(writer, p, &best);
	if (plane->width == 8)
		consider_zstd(writer, p, &best);
	if (best.encoding != PLANE_RAW)
		write_choice(writer, p, &best, limit);
}
