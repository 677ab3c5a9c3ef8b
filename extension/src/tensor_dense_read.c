/*
 * tensor_dense_read.c
 *	  Reading the dense planes of a stored value (tensor_dense.h).
 *
 * All planes are decoded side by side, a segment of elements at a time, which
 * stays in the processor's cache until its numbers are put together.  Planes
 * that were decoded before are taken from the numbers that they are part of.
 */
#include "tensor_dense.h"

/* How one plane is read; what is palloc'd for it is freed at the end. */
typedef struct PlaneSource
{
	int			encoding;
	int			width;
	const uint8 *stored;		/* raw, or the nibbles that are not coded */
	uint8		filling;		/* constant */
	uint8	   *unpacked;		/* zstd */
	uint8	   *segment;		/* room for a segment */
	/* rANS */
	bool		coded;			/* is there a stream? */
	bool		upper_half;		/* codes the upper half only */
	DenseContexts contexts;
	RansDecoder decoder;
	uint32	   *table;
	/* rows */
	int64		columns;
	uint8	   *zeros;			/* per row */
	int64		row;			/* where the next segment begins */
	int64		column;
	const uint8 *packed;		/* of that row */
	/* table */
	int			entries;
	uint8		context_of[256];	/* by prefix without the plane */
	uint8		first_child[256];	/* by that, too */
	uint8		byte_of[256];	/* by prefix with it */
} PlaneSource;

struct DenseReader
{
	TensorLayout layout;
	const char *bytes;
	int			known;			/* planes that are in numbers already */
	int			wanted;
	const char *numbers;		/* where those are; NULL without any */
	uint8	   *recalled;		/* room for them: bytes, upper and lower halves */
	int			sqlstate;
	int64		start;			/* of the segment at hand */
	int64		count;			/* its elements; 0 before the first */
	const uint8 *values[TENSOR_STORED_PLANES_MAX];
	const char *joined[TENSOR_MAX_PLANES];
	uint8	   *halves[TENSOR_MAX_PLANES];	/* bytes put together of halves */
	uint8	   *zero;
	uint8	   *first_unknown;	/* of the bits that are unknown, the first; zero where they are to be zero */
	uint8	   *keys;
	uint8	   *contexts;
	uint8	   *index;			/* which prefix each element has */
	uint8	   *scratch;
	PlaneSource source[TENSOR_STORED_PLANES_MAX];
};

static void pg_attribute_noreturn()
damaged(const DenseReader *reader, int p, const char *what)
{
	ereport(ERROR,
			(errcode(reader->sqlstate),
			 errmsg("a compressed plane of a tensor is damaged"),
			 errdetail("Plane %d: %s.", p + 1, what)));
	pg_unreachable();
}

/* ---- opening ---- */

typedef struct Cursor
{
	const DenseReader *reader;
	int			plane;
	const uint8 *at;
	const uint8 *end;
} Cursor;

static const uint8 *
take(Cursor *cursor, size_t length)
{
	const uint8 *at = cursor->at;

	if (cursor->end - at < length)
		damaged(cursor->reader, cursor->plane, "it ends too early");
	cursor->at += length;
	return at;
}

static int
take_byte(Cursor *cursor)
{
	return *take(cursor, 1);
}

static uint32
take_uint32(Cursor *cursor)
{
	uint32		value;

	memcpy(&value, take(cursor, 4), 4);
	return value;
}

/* A stream of n bytes without contexts, decoded at once. */
static uint8 *
take_bytes(Cursor *cursor, int64 n)
{
	uint32		length = take_uint32(cursor);
	const uint8 *stream = take(cursor, length);
	uint8	   *bytes = palloc(Max(n, 1));
	uint32	   *table = palloc(RANS_TABLE_ENTRIES(1) * sizeof(uint32));
	bool		right = delc_rans_decode(stream, length, NULL, 1, n, bytes, table);

	pfree(table);
	if (!right)
		damaged(cursor->reader, cursor->plane, "its rows or columns are damaged");
	return bytes;
}

static int64
take_columns(Cursor *cursor)
{
	int64		columns = take_uint32(cursor);

	if (columns < 1 || columns > cursor->reader->layout.header.elements)
		damaged(cursor->reader, cursor->plane, "a row has an impossible length");
	return columns;
}

static void
take_scale(Cursor *cursor, DenseContexts *contexts)
{
	int64		elements = cursor->reader->layout.header.elements;

	contexts->columns = take_columns(cursor);
	contexts->row_level = take_bytes(cursor, (elements - 1) / contexts->columns + 1);
	contexts->column_level = take_bytes(cursor, contexts->columns);
}

static void
take_map(Cursor *cursor, DenseContexts *contexts)
{
	memset(contexts->class_of, 0, sizeof(contexts->class_of));
	for (int class = 1; class < contexts->count; class++)
		contexts->class_of[take_byte(cursor)] = class;
}

static void
take_contexts(Cursor *cursor, DenseContexts *contexts)
{
	contexts->kind = take_byte(cursor);
	contexts->count = 1;
	if (contexts->kind > CONTEXT_MAP ||
		(contexts->kind >= CONTEXT_WINDOW && cursor->plane == 0))
		damaged(cursor->reader, cursor->plane, "it has contexts of an unknown kind");
	if (contexts->kind == CONTEXT_WINDOW)
		contexts->low = take_byte(cursor);
	if (contexts->kind != CONTEXT_NONE)
		contexts->count = take_byte(cursor);
	if (contexts->count < 1 || contexts->count > RANS_MAX_CONTEXTS)
		damaged(cursor->reader, cursor->plane, "it has an impossible number of contexts");
	if (contexts->kind == CONTEXT_SCALE)
		take_scale(cursor, contexts);
	else if (contexts->kind == CONTEXT_MAP)
		take_map(cursor, contexts);
}

static void
open_stream(Cursor *cursor, PlaneSource *source, const uint8 *stream, size_t length,
			int context_count)
{
	source->table = palloc(RANS_TABLE_ENTRIES(context_count) * sizeof(uint32));
	source->coded = true;
	if (!delc_rans_open(&source->decoder, stream, length, context_count, source->table))
		damaged(cursor->reader, cursor->plane, "the frequencies of its symbols are damaged");
}

static void
open_rans(Cursor *cursor, PlaneSource *source)
{
	int			bits = take_byte(cursor);
	uint32		length;
	const uint8 *stream;

	if (bits != source->width && bits != 4)
		damaged(cursor->reader, cursor->plane, "an impossible number of bits is coded");
	source->upper_half = bits < source->width;
	take_contexts(cursor, &source->contexts);
	length = take_uint32(cursor);
	stream = take(cursor, length);
	open_stream(cursor, source, stream, length, source->contexts.count);
	if (source->upper_half)
		source->stored = take(cursor, NIBBLE_BYTES(cursor->reader->layout.header.elements));
	if (cursor->at != cursor->end)
		damaged(cursor->reader, cursor->plane, "it goes on behind its end");
}

static int64
packed_bytes(const PlaneSource *source, int64 columns, int zeros)
{
	return (columns * (source->width - zeros) + 7) / 8;
}

static void
open_rows(Cursor *cursor, PlaneSource *source)
{
	int64		elements = cursor->reader->layout.header.elements;
	int64		rows;
	int64		length = 0;

	source->columns = take_columns(cursor);
	rows = (elements - 1) / source->columns + 1;
	source->zeros = take_bytes(cursor, rows);
	for (int64 row = 0; row < rows; row++)
	{
		if (source->zeros[row] > source->width)
			damaged(cursor->reader, cursor->plane, "a row ends in too many zero bits");
		length += packed_bytes(source,
							   Min(source->columns, elements - row * source->columns),
							   source->zeros[row]);
	}
	source->packed = take(cursor, length);
	if (cursor->at != cursor->end)
		damaged(cursor->reader, cursor->plane, "it goes on behind its end");
	source->row = 0;
	source->column = 0;
}

static void
open_table(Cursor *cursor, PlaneSource *source, const PlaneSource *above)
{
	static const uint8 one_way[256] = {0};
	int			prefixes = above == NULL ? 1 : above->entries;
	const uint8 *more;
	int			entries = 0;
	bool		branches = false;

	if (above != NULL && above->encoding != PLANE_TABLE)
		damaged(cursor->reader, cursor->plane, "it continues no table");
	source->entries = take_byte(cursor);
	source->entries |= take_byte(cursor) << 8;
	more = source->entries == prefixes ? one_way : take(cursor, prefixes);
	for (int prefix = 0; prefix < prefixes; prefix++)
	{
		source->first_child[prefix] = (uint8) entries;
		entries += more[prefix] + 1;
		branches |= more[prefix] > 0;
	}
	if (entries != source->entries || entries > 256)
		damaged(cursor->reader, cursor->plane, "its table does not add up");
	memset(source->byte_of, 0, sizeof(source->byte_of));
	memcpy(source->byte_of, take(cursor, entries), entries);
	for (int entry = 0; entry < entries; entry++)
	{
		if (source->byte_of[entry] >> source->width != 0)
			damaged(cursor->reader, cursor->plane, "its table has impossible values");
	}
	source->contexts.count = delc_table_contexts(more, prefixes, source->context_of);
	if (branches)
		open_stream(cursor, source, cursor->at, cursor->end - cursor->at,
					source->contexts.count);
	else if (cursor->at != cursor->end)
		damaged(cursor->reader, cursor->plane, "it goes on behind its end");
}

static void
open_zstd(DenseReader *reader, PlaneSource *source, const TensorPlane *plane)
{
	int64		elements = reader->layout.header.elements;

	source->unpacked = palloc(elements);
	delc_plane_decompress((const char *) source->stored, plane->length,
						  (char *) source->unpacked, elements, reader->sqlstate);
	source->stored = source->unpacked;
}

static void
open_source(DenseReader *reader, int p)
{
	const TensorPlane *plane = &reader->layout.plane[p];
	PlaneSource *source = &reader->source[p];
	const uint8 *at = (const uint8 *) reader->bytes + plane->offset;
	Cursor		cursor = {reader, p, at, at + plane->length};

	memset(source, 0, offsetof(PlaneSource, decoder));
	source->table = NULL;
	source->zeros = NULL;
	source->encoding = plane->encoding;
	source->width = plane->width;
	source->stored = at;
	if (plane->encoding != PLANE_ZSTD && (plane->encoding != PLANE_RAW || plane->width != 8))
		source->segment = palloc(DENSE_SEGMENT);
	switch (plane->encoding)
	{
		case PLANE_RAW:
			break;
		case PLANE_ZSTD:
			open_zstd(reader, source, plane);
			break;
		case PLANE_CONSTANT:
			if (at[0] >> source->width != 0)
				damaged(reader, p, "its constant has too many bits");
			memset(source->segment, at[0], DENSE_SEGMENT);
			break;
		case PLANE_RANS:
			open_rans(&cursor, source);
			break;
		case PLANE_ROWS:
			open_rows(&cursor, source);
			break;
		default:
			open_table(&cursor, source, p == 0 ? NULL : &reader->source[p - 1]);
	}
}

static void
close_source(PlaneSource *source)
{
	void	   *owned[] = {source->unpacked, source->segment, source->table, source->zeros,
		source->contexts.column_level, source->contexts.row_level};

	for (int i = 0; i < lengthof(owned); i++)
	{
		if (owned[i] != NULL)
			pfree(owned[i]);
	}
}

static void
open_sources(DenseReader *reader)
{
	for (int p = reader->known; p < reader->wanted; p++)
		open_source(reader, p);
	reader->start = 0;
	reader->count = 0;
}

static DenseReader *
open_reader(const TensorLayout *layout, const char *bytes, int known, int planes, int sqlstate)
{
	DenseReader *reader = palloc(sizeof(DenseReader));
	uint8	   *room = palloc((TENSOR_MAX_PLANES + 5) * DENSE_SEGMENT);

	reader->layout = *layout;
	reader->bytes = bytes;
	reader->wanted = layout->header.elements == 0 ? 0 : planes;
	reader->known = Min(known, reader->wanted);
	reader->numbers = NULL;
	reader->recalled = NULL;
	reader->sqlstate = sqlstate;
	reader->zero = memset(room, 0, DENSE_SEGMENT);
	reader->first_unknown = reader->zero;
	reader->keys = room + DENSE_SEGMENT;
	reader->contexts = room + 2 * DENSE_SEGMENT;
	reader->index = room + 3 * DENSE_SEGMENT;
	reader->scratch = room + 4 * DENSE_SEGMENT;
	for (int byte = 0; byte < TENSOR_MAX_PLANES; byte++)
		reader->halves[byte] = room + (5 + byte) * DENSE_SEGMENT;
	open_sources(reader);
	return reader;
}

/*
 * Begin to read the first planes of a parsed value; the bits below read as zero.
 * bytes must stay; sqlstate is for damage.
 */
DenseReader *
delc_dense_open(const TensorLayout *layout, const char *bytes, int planes, int sqlstate)
{
	return open_reader(layout, bytes, 0, planes, sqlstate);
}

/*
 * Begin to read further planes of numbers of which the first known planes are
 * there; of the bits that stay unknown the first reads as one, the others as
 * zero.  The numbers may be overwritten with what is read.
 */
DenseReader *
delc_dense_open_further(const TensorLayout *layout, const char *bytes, const char *numbers,
						int known, int planes, int sqlstate)
{
	DenseReader *reader = open_reader(layout, bytes, known, planes, sqlstate);

	Assert(!delc_dense_needs_all(layout, known, planes));
	reader->numbers = numbers;
	reader->recalled = palloc((3 * TENSOR_MAX_PLANES + 1) * DENSE_SEGMENT);
	if (planes < layout->planes)
	{
		bool		lower_half = layout->plane[planes].width == 4 && planes % 2 == 0;

		reader->first_unknown = reader->recalled + 3 * TENSOR_MAX_PLANES * DENSE_SEGMENT;
		memset(reader->first_unknown, lower_half ? 0x08 : 0x80, DENSE_SEGMENT);
	}
	return reader;
}

/* Can planes behind the known ones be read only together with these?  Those of tables can. */
bool
delc_dense_needs_all(const TensorLayout *layout, int known, int planes)
{
	for (int p = known; p < planes && known > 0; p++)
	{
		if (layout->plane[p].encoding == PLANE_TABLE)
			return true;
	}
	return false;
}

void
delc_dense_close(DenseReader *reader)
{
	for (int p = reader->known; p < reader->wanted; p++)
		close_source(&reader->source[p]);
	if (reader->recalled != NULL)
		pfree(reader->recalled);
	pfree(reader->zero);
	pfree(reader);
}

/* ---- segments ---- */

/* The contexts of a segment of plane p; NULL where there is one only. */
static const uint8 *
segment_contexts(DenseReader *reader, int p, int64 start, int64 count)
{
	const DenseContexts *contexts = &reader->source[p].contexts;

	if (contexts->kind == CONTEXT_NONE)
		return NULL;
	if (contexts->kind == CONTEXT_SCALE)
		delc_contexts_of_scale(contexts, start, count, reader->contexts);
	else
	{
		DenseAbove	above = {reader->layout.header.dtype, p, reader->layout.plane[1].width,
			reader->values[0], reader->values[1], reader->values[p - 1]};

		delc_context_keys(&above, count, reader->keys);
		delc_contexts_of_keys(contexts, reader->keys, count, reader->contexts);
	}
	return reader->contexts;
}

static void
read_stream(DenseReader *reader, int p, const uint8 *contexts, int64 start, int64 count,
			uint8 *symbols)
{
	PlaneSource *source = &reader->source[p];

	if (!delc_rans_read(&source->decoder, contexts, count, symbols))
		damaged(reader, p, "its symbols are damaged");
	if (start + count == reader->layout.header.elements &&
		!delc_rans_finished(&source->decoder))
		damaged(reader, p, "its symbols end elsewhere than they should");
}

static void
read_rans(DenseReader *reader, int p, int64 start, int64 count)
{
	PlaneSource *source = &reader->source[p];
	const uint8 *contexts = segment_contexts(reader, p, start, count);

	if (!source->upper_half)
		read_stream(reader, p, contexts, start, count, source->segment);
	else
	{
		/* keys are not needed any more */
		read_stream(reader, p, contexts, start, count, reader->scratch);
		delc_nibbles_unpack(source->stored + start / 2, count, reader->keys);
		delc_nibbles_join(reader->scratch, reader->keys, count, source->segment);
	}
}

/* Elements of four bits each, of which the first is in the lower half of its byte. */
PLANE_LOOP static void
unpack_pairs(const uint8 *restrict packed, int64 pairs, uint8 *restrict out)
{
	for (int64 i = 0; i < pairs; i++)
	{
		out[2 * i] = packed[i] & 15;
		out[2 * i + 1] = packed[i] >> 4;
	}
}

/* Elements column, column + 1, ... of a packed row of half bytes. */
static void
unpack_half_bytes(const uint8 *packed, int64 column, int64 count, uint8 *out)
{
	if (column % 2 == 1 && count > 0)
	{
		*out++ = packed[column / 2] >> 4;
		column++;
		count--;
	}
	packed += column / 2;
	unpack_pairs(packed, count / 2, out);
	if (count % 2 == 1)
		out[count - 1] = packed[count / 2] & 15;
}

/* Elements column, column + 1, ... of a packed row, of so many bits each. */
static void
unpack_row(const uint8 *packed, int64 column, int64 count, int bits, int zeros, uint8 *out)
{
	uint64		mask = (1U << bits) - 1;

	if (bits == 8)
		memcpy(out, packed + column, count);
	else if (bits == 0)
		memset(out, 0, count);
	else if (bits == 4 && zeros == 0)
		unpack_half_bytes(packed, column, count, out);
	else
	{
		for (int64 i = 0; i < count;)
		{
			int64		bit = (column + i) * bits;
			int64		last = (column + count) * bits;
			int64		bytes = (last + 7) / 8 - bit / 8;
			int64		run = Min(count - i, 8);
			uint64		held = 0;

			/* eight elements and the bits before them are at most 63 bits */
			if (bytes >= 8)
				memcpy(&held, packed + bit / 8, 8);
			else
				memcpy(&held, packed + bit / 8, bytes);
			held >>= bit % 8;
			for (int64 end = i + run; i < end; i++, held >>= bits)
				out[i] = (uint8) ((held & mask) << zeros);
		}
	}
}

static void
read_rows(DenseReader *reader, int p, int64 start, int64 count)
{
	PlaneSource *source = &reader->source[p];
	uint8	   *out = source->segment;

	while (count > 0)
	{
		int64		row_start = source->row * source->columns;
		int64		columns = Min(source->columns,
								  reader->layout.header.elements - row_start);
		int64		part = Min(count, columns - source->column);
		int			zeros = source->zeros[source->row];

		unpack_row(source->packed, source->column, part, source->width - zeros, zeros, out);
		out += part;
		count -= part;
		source->column += part;
		if (source->column == columns)
		{
			source->packed += packed_bytes(source, columns, zeros);
			source->row++;
			source->column = 0;
		}
	}
}

static void
read_table(DenseReader *reader, int p, int64 start, int64 count)
{
	PlaneSource *source = &reader->source[p];
	uint8	   *index = reader->index;

	if (p == 0)
		memset(index, 0, count);
	if (source->coded)
	{
		for (int64 i = 0; i < count; i++)
			reader->contexts[i] = source->context_of[index[i]];
		read_stream(reader, p, reader->contexts, start, count, reader->scratch);
	}
	else
		memset(reader->scratch, 0, count);
	for (int64 i = 0; i < count; i++)
	{
		index[i] = source->first_child[index[i]] + reader->scratch[i];
		source->segment[i] = source->byte_of[index[i]];
	}
}

static void
read_plane(DenseReader *reader, int p, int64 start, int64 count)
{
	PlaneSource *source = &reader->source[p];

	reader->values[p] = source->segment;
	switch (source->encoding)
	{
		case PLANE_RAW:
		case PLANE_ZSTD:
			if (source->width == 8)
				reader->values[p] = source->stored + start;
			else
				delc_nibbles_unpack(source->stored + start / 2, count, source->segment);
			break;
		case PLANE_CONSTANT:
			break;
		case PLANE_RANS:
			read_rans(reader, p, start, count);
			break;
		case PLANE_ROWS:
			read_rows(reader, p, start, count);
			break;
		default:
			read_table(reader, p, start, count);
	}
}

/* Is plane p the upper or the lower half of a byte? */
static bool
is_half(const DenseReader *reader, int p)
{
	return reader->layout.plane[p].width == 4;
}

/* Known planes of the segment, from the numbers that have them. */
static void
recall_planes(DenseReader *reader, int64 start, int64 count)
{
	int			item_size = reader->layout.header.item_size;
	char	   *bytes[TENSOR_MAX_PLANES];

	for (int byte = 0; byte < item_size; byte++)
		bytes[byte] = (char *) reader->recalled + byte * DENSE_SEGMENT;
	delc_planes_split(reader->numbers + start * item_size, count, item_size, bytes);
	for (int p = 0; p < reader->known; p++)
	{
		uint8	   *halves = reader->recalled + (TENSOR_MAX_PLANES + p) * DENSE_SEGMENT;

		if (!is_half(reader, p))
			reader->values[p] = (const uint8 *) bytes[p];
		else
		{
			/* an odd plane has the upper half of its byte, the next one the lower half */
			if (p % 2 == 1)
				delc_nibbles_split((const uint8 *) bytes[(p + 1) / 2], count, halves,
								   halves + DENSE_SEGMENT);
			reader->values[p] = halves;
		}
	}
}

/* Plane p, or what stands for it where it is not read. */
static const uint8 *
plane_values(const DenseReader *reader, int p)
{
	if (p < reader->wanted)
		return reader->values[p];
	return p == reader->wanted ? reader->first_unknown : reader->zero;
}

/* The bytes of the segment's numbers, put together of halves where there are any. */
static void
join_halves(DenseReader *reader, int64 count)
{
	bool		halves = reader->layout.planes > reader->layout.header.item_size;

	for (int byte = 0; byte < reader->layout.header.item_size; byte++)
	{
		int			p = halves && byte > 0 ? 2 * byte - 1 : byte;

		if (!halves || byte == 0 || p >= reader->wanted)
			reader->joined[byte] = (const char *) plane_values(reader, p);
		else
		{
			delc_nibbles_join(reader->values[p], plane_values(reader, p + 1), count,
							  reader->halves[byte]);
			reader->joined[byte] = (const char *) reader->halves[byte];
		}
	}
}

static void
next_segment(DenseReader *reader)
{
	int64		start = reader->start + reader->count;
	int64		count = Min(DENSE_SEGMENT, reader->layout.header.elements - start);

	if (reader->known > 0)
		recall_planes(reader, start, count);
	for (int p = reader->known; p < reader->wanted; p++)
		read_plane(reader, p, start, count);
	join_halves(reader, count);
	reader->start = start;
	reader->count = count;
}

/* Write elements start, start + 1, ... to dense. */
void
delc_dense_read(DenseReader *reader, int64 start, int64 elements, char *dense)
{
	int			item_size = reader->layout.header.item_size;

	if (start < reader->start)
	{
		for (int p = reader->known; p < reader->wanted; p++)
			close_source(&reader->source[p]);
		open_sources(reader);
	}
	while (elements > 0)
	{
		const char *planes[TENSOR_MAX_PLANES];
		int64		from;
		int64		count;

		while (start >= reader->start + reader->count)
			next_segment(reader);
		from = start - reader->start;
		count = Min(Min(elements, reader->count - from), TENSOR_BLOCK);
		for (int byte = 0; byte < item_size; byte++)
			planes[byte] = reader->joined[byte] + from;
		delc_planes_join(planes, count, item_size, dense);
		dense += count * item_size;
		start += count;
		elements -= count;
	}
}
