/*
 * delta_block.c
 *	  Segments of a delta: one block of numbers, or one plane of it.
 *
 * A segment of method sub:
 *
 *	byte 0		1 if the block is as predicted, and nothing follows; else 0
 *	bytes 1-4	length of the raw bits
 *	then		the raw bits
 *	then		the symbols (rans.h)
 *
 * One of the other methods: SEGMENT_SAME alone, or SEGMENT_RAW and the differences,
 * or SEGMENT_CODED and the differences as symbols, or SEGMENT_SPARSE and those that are not zero
 * (delta_sparse.c).
 */
#include "delta.h"

#define SEGMENT_CODED 0
#define SEGMENT_SAME 1
#define SEGMENT_RAW 2
#define SEGMENT_SPARSE 3

/* A plane is sparse, which is many times as quick to read, if that takes no more than a byte more for so many numbers. */
#define SPARSE_WORTH 64

#define SUB_HEADER_BYTES 5

/* The reader of raw bits touches so many bytes more; a stream of symbols is longer. */
#define RAW_BITS_SLACK 8

/* ---- working memory ---- */

/* For blocks of a tensor of so many elements. */
void
delc_coder_open(DeltaCoder *coder, const DeltaModel *model, bool encode, int64 elements)
{
	size_t		n = Max(Min(elements, DELTA_BLOCK), 1);
	memset(coder, 0, sizeof(DeltaCoder));
	coder->model = model;
	delc_classes_define(&coder->classes, delc_dtype_size(model->dtype));
	if (!encode)
		return;
	coder->rans = palloc(sizeof(RansModel));
	coder->rans->waste = 1.0 / 1024;
	coder->contexts = palloc(n);
	coder->symbols = palloc(n);
}

void
delc_coder_close(DeltaCoder *coder)
{
	for (int stream = 0; stream < TENSOR_MAX_PLANES; stream++)
	{
		if (coder->table[stream] != NULL)
			pfree(coder->table[stream]);
	}
	if (coder->rans == NULL)
		return;
	pfree(coder->rans);
	pfree(coder->contexts);
	pfree(coder->symbols);
}

/* The entropy decoder's memory for one of the streams that are read at a time. */
static uint32 *
table_of(DeltaCoder *coder, int stream, int contexts)
{
	if (coder->table[stream] == NULL)
		coder->table[stream] = palloc(RANS_TABLE_ENTRIES(contexts) * sizeof(uint32));
	return coder->table[stream];
}

static const char *
at(const DeltaCoder *coder, const char *numbers, int first)
{
	return numbers == NULL ? NULL :
		numbers + (size_t) first * delc_dtype_size(coder->model->dtype);
}

static bool
all_zero(const uint8 *bytes, int n)
{
	uint8		seen = 0;

	for (int i = 0; i < n; i++)
		seen |= bytes[i];
	return seen == 0;
}

/* ---- sub ---- */

/* Symbols and raw bits of a run.  base, grandbase and target begin with number start. */
void
delc_sub_symbols(const DeltaCoder *coder, const char *base, const char *grandbase,
				 const char *target, int64 start, int n, uint8 *symbols, uint64 *raw)
{
	int64		predicted[DELTA_RUN];
	int64		differences[DELTA_RUN];

	Assert(n <= DELTA_RUN);
	delc_predict_numbers(coder->model, base, grandbase, start, n, predicted);
	delc_differences(coder->model->dtype, predicted, target, n, differences);
	delc_classes_split(&coder->classes, differences, n, symbols, raw);
}

/* A block's symbols for the coder; its raw bits are appended. */
static void
split_block(DeltaCoder *coder, const char *base, const char *grandbase, const char *target,
			int64 start, int n, StringInfo out)
{
	int			first = out->len;
	RawBits		writer = {NULL, 0};

	for (int done = 0; done < n; done += DELTA_RUN)
	{
		uint64		raw[DELTA_RUN];
		int			run = Min(DELTA_RUN, n - done);

		delc_sub_symbols(coder, at(coder, base, done), at(coder, grandbase, done),
						 at(coder, target, done), start + done, run, coder->symbols + done, raw);
		enlargeStringInfo(out, sizeof(raw) + RAW_BITS_SLACK);
		memset(out->data + out->len, 0, sizeof(raw) + RAW_BITS_SLACK);
		writer.at = (uint8 *) out->data + first;
		delc_raw_write(&writer, &coder->classes, coder->symbols + done, raw, run);
		out->len = first + (int) ((writer.position + 7) / 8);
	}
}

/* Append the symbols of the coder in their contexts. */
static void
append_symbols(DeltaCoder *coder, int contexts, int n, StringInfo out)
{
	size_t		bound = delc_rans_bound(n, contexts);

	if (!delc_rans_learn(coder->rans, coder->symbols, coder->contexts, contexts, n))
		elog(ERROR, "contexts of a delta are out of range");
	enlargeStringInfo(out, (int) bound);
	out->len += (int) delc_rans_encode(coder->rans, coder->symbols, coder->contexts, n,
									   (uint8 *) out->data + out->len, bound);
	out->data[out->len] = '\0';
}

void
delc_sub_encode(DeltaCoder *coder, const char *base, const char *grandbase,
				const char *target, int64 start, int n, StringInfo out)
{
	int			before = out->len;
	uint32		raw_length = 0;

	appendStringInfoChar(out, SEGMENT_CODED);
	appendBinaryStringInfo(out, (char *) &raw_length, 4);
	split_block(coder, base, grandbase, target, start, n, out);
	if (all_zero(coder->symbols, n))
	{
		out->len = before;
		appendStringInfoChar(out, SEGMENT_SAME);
		return;
	}
	raw_length = out->len - before - SUB_HEADER_BYTES;
	memcpy(out->data + before + 1, &raw_length, 4);
	delc_sub_contexts(coder->model, base, start, n, coder->contexts);
	append_symbols(coder, coder->model->contexts, n, out);
}

typedef struct SubSegment
{
	bool		same;
	RawBits		raw;
	uint64		raw_bits;		/* that there are */
	RansDecoder symbols;
} SubSegment;

static void
open_sub_segment(DeltaCoder *coder, const char *segment, size_t length, SubSegment *open)
{
	uint32		raw_length;

	open->same = length == 1 && segment[0] == SEGMENT_SAME;
	if (open->same)
		return;
	if (length < SUB_HEADER_BYTES || segment[0] != SEGMENT_CODED)
		delc_delta_damaged("A block does not begin like one.");
	memcpy(&raw_length, segment + 1, 4);
	if ((uint64) raw_length + RAW_BITS_SLACK > length - SUB_HEADER_BYTES)
		delc_delta_damaged("The raw bits of a block are cut off.");
	segment += SUB_HEADER_BYTES;
	open->raw = (RawBits) {(uint8 *) segment, 0};
	open->raw_bits = (uint64) raw_length * 8;
	if (!delc_rans_open(&open->symbols, (const uint8 *) segment + raw_length,
						length - SUB_HEADER_BYTES - raw_length, coder->model->contexts,
						table_of(coder, 0, coder->model->contexts)))
		delc_delta_damaged("The symbols of a block cannot be decoded.");
}

/* The differences of the next run. */
static void
read_sub_run(DeltaCoder *coder, SubSegment *segment, const char *base, int64 start, int n,
			 int64 *differences)
{
	uint8		contexts[DELTA_RUN];
	uint8		symbols[DELTA_RUN];

	if (segment->same)
	{
		memset(differences, 0, n * sizeof(int64));
		return;
	}
	delc_sub_contexts(coder->model, base, start, n, contexts);
	if (!delc_rans_read(&segment->symbols, contexts, n, symbols) ||
		!delc_symbols_valid(&coder->classes, symbols, n))
		delc_delta_damaged("The symbols of a block cannot be decoded.");
	if (segment->raw.position + delc_raw_bits(&coder->classes, symbols, n) > segment->raw_bits)
		delc_delta_damaged("The raw bits of a block are cut off.");
	delc_raw_read(&segment->raw, &coder->classes, symbols, n, differences);
}

/*
 * Decode a block.  base, grandbase and result begin with number start; the result may be written
 * over either of them.
 */
void
delc_sub_decode(DeltaCoder *coder, const char *base, const char *grandbase,
				int64 start, int n, const char *segment, size_t length, char *result)
{
	SubSegment	open;

	open_sub_segment(coder, segment, length, &open);
	for (int done = 0; done < n; done += DELTA_RUN)
	{
		int64		predicted[DELTA_RUN];
		int64		differences[DELTA_RUN];
		int			run = Min(DELTA_RUN, n - done);
		const char *from = at(coder, base, done);

		read_sub_run(coder, &open, from, start + done, run, differences);
		delc_predict_numbers(coder->model, from, at(coder, grandbase, done), start + done, run,
					 predicted);
		delc_add_differences(coder->model->dtype, predicted, differences, run,
							 (char *) at(coder, result, done));
	}
	if (!open.same && (!delc_rans_finished(&open.symbols) ||
					   (open.raw.position + 7) / 8 != open.raw_bits / 8))
		delc_delta_damaged("A block is longer than its numbers.");
}

/* ---- planes, xor ---- */

/* Differences of one plane; the strides are the item size. */
static void
plane_differences(int method, const char *base, const char *target, int item_size, int plane,
				  int n, uint8 *differences)
{
	const uint8 *b = (const uint8 *) base + item_size - 1 - plane;
	const uint8 *t = (const uint8 *) target + item_size - 1 - plane;

	for (int i = 0; i < n; i++)
	{
		uint8		from = b[(size_t) i * item_size];
		uint8		to = t[(size_t) i * item_size];

		differences[i] = method == DELTA_XOR ? from ^ to : to - from;
	}
}

/* One byte of each number, within whole numbers: the compiler makes vectors of it. */
#define DEFINE_ADD_PLANE(type, name) \
DELTA_LOOP static void \
add_plane_##name(bool exclusive, const char *restrict base, char *restrict result, int shift, \
				 int n, const uint8 *restrict differences) \
{ \
	type		mask = (type) ((type) 0xFF << shift); \
	for (int i = 0; i < n; i++) \
	{ \
		type		from; \
		type		to; \
		type		difference = (type) ((type) differences[i] << shift); \
		memcpy(&from, base + (size_t) i * sizeof(type), sizeof(type)); \
		memcpy(&to, result + (size_t) i * sizeof(type), sizeof(type)); \
		from = exclusive ? from ^ difference : (from & mask) + difference; \
		to = (to & ~mask) | (from & mask); \
		memcpy(result + (size_t) i * sizeof(type), &to, sizeof(type)); \
	} \
}

DEFINE_ADD_PLANE(uint8, one)
DEFINE_ADD_PLANE(uint16, two)
DEFINE_ADD_PLANE(uint32, four)
DEFINE_ADD_PLANE(uint64, eight)

static void
add_plane_differences(int method, const char *base, char *result, int item_size, int plane,
					  int n, const uint8 *differences)
{
	int			shift = 8 * (item_size - 1 - plane);
	bool		exclusive = method == DELTA_XOR;

	switch (item_size)
	{
		case 1:
			add_plane_one(exclusive, base, result, shift, n, differences);
			break;
		case 2:
			add_plane_two(exclusive, base, result, shift, n, differences);
			break;
		case 4:
			add_plane_four(exclusive, base, result, shift, n, differences);
			break;
		default:
			add_plane_eight(exclusive, base, result, shift, n, differences);
	}
}

/* Puts what is sparse in the place of the coded segment that begins at before, where that is better. */
static void
prefer_sparse(const uint8 *differences, int n, int before, StringInfo out)
{
	int			coded = out->len - before;
	StringInfoData sparse;

	initStringInfo(&sparse);
	appendStringInfoChar(&sparse, SEGMENT_SPARSE);
	if (delc_sparse_write(&sparse, differences, n) && sparse.len <= coded + n / SPARSE_WORTH)
	{
		out->len = before;
		appendBinaryStringInfo(out, sparse.data, sparse.len);
	}
	pfree(sparse.data);
}

void
delc_plane_encode(DeltaCoder *coder, int method, const char *base, const char *target,
				  int plane, int64 start, int n, StringInfo out)
{
	int			item_size = delc_dtype_size(coder->model->dtype);
	int			before = out->len;

	plane_differences(method, base, target, item_size, plane, n, coder->symbols);
	if (all_zero(coder->symbols, n))
	{
		appendStringInfoChar(out, SEGMENT_SAME);
		return;
	}
	delc_plane_contexts(coder->model, method, base, target, plane, start, n, coder->contexts);
	appendStringInfoChar(out, SEGMENT_CODED);
	append_symbols(coder, DELTA_PLANE_CONTEXTS, n, out);
	if (out->len - before > n)
	{
		out->len = before;
		appendStringInfoChar(out, SEGMENT_RAW);
		appendBinaryStringInfo(out, (char *) coder->symbols, n);
	}
	else
		prefer_sparse(coder->symbols, n, before, out);
}

/* How the differences of one plane of a block are read. */
typedef struct PlaneSegment
{
	const uint8 *raw;			/* or NULL */
	bool		coded;
	RansDecoder symbols;
	bool		is_sparse;		/* if none of the three, the plane is the base's */
	SparsePlane sparse;
} PlaneSegment;

static void
open_plane_segment(DeltaCoder *coder, int plane, int n, const char *segment, size_t length,
				   PlaneSegment *open)
{
	open->raw = NULL;
	open->coded = length > 1 && segment[0] == SEGMENT_CODED;
	open->is_sparse = length > 1 && segment[0] == SEGMENT_SPARSE;
	if (length == 1 && segment[0] == SEGMENT_SAME)
		return;
	if (open->is_sparse)
		delc_sparse_open(&open->sparse, segment + 1, length - 1, n);
	else if (length == (size_t) n + 1 && segment[0] == SEGMENT_RAW)
		open->raw = (const uint8 *) segment + 1;
	else if (!open->coded ||
			 !delc_rans_open(&open->symbols, (const uint8 *) segment + 1, length - 1,
							 DELTA_PLANE_CONTEXTS,
							 table_of(coder, plane, DELTA_PLANE_CONTEXTS)))
		delc_delta_damaged("A plane does not begin like one.");
}

/* The run after the first done numbers of a block; to holds the base's numbers and gets the result's. */
static void
decode_plane_run(DeltaCoder *coder, int method, PlaneSegment *segment, const char *from,
				 int plane, int64 start, int done, int n, char *to)
{
	int			item_size = delc_dtype_size(coder->model->dtype);
	uint8		contexts[DELTA_RUN];
	uint8		differences[DELTA_RUN];

	if (segment->raw != NULL)
		add_plane_differences(method, from, to, item_size, plane, n, segment->raw + done);
	if (segment->is_sparse)
		delc_sparse_add(&segment->sparse, method == DELTA_XOR, from, done, done + n, item_size,
						item_size - 1 - plane, to);
	if (!segment->coded)
		return;
	delc_plane_contexts(coder->model, method, from, to, plane, start + done, n, contexts);
	if (!delc_rans_read(&segment->symbols, contexts, n, differences))
		delc_delta_damaged("A plane cannot be decoded.");
	add_plane_differences(method, from, to, item_size, plane, n, differences);
}

/*
 * Decode the first planes of a block, of which each has a segment, run by run, so that all happens
 * in the processor's cache.  base and result begin with number start, and may be the
 * same memory; the planes below are the base's.
 */
void
delc_planes_decode(DeltaCoder *coder, int method, const char *base, int64 start, int n, int planes,
				   const char *const *segments, const uint32 *lengths, char *result)
{
	int			item_size = delc_dtype_size(coder->model->dtype);
	PlaneSegment open[TENSOR_MAX_PLANES];

	for (int plane = 0; plane < planes; plane++)
		open_plane_segment(coder, plane, n, segments[plane], lengths[plane], &open[plane]);
	for (int done = 0; done < n; done += DELTA_RUN)
	{
		uint64		from[DELTA_RUN];
		int			run = Min(DELTA_RUN, n - done);
		char	   *to = (char *) at(coder, result, done);

		memcpy(from, at(coder, base, done), (size_t) run * item_size);
		if (base != result)
			memcpy(to, from, (size_t) run * item_size);
		for (int plane = 0; plane < planes; plane++)
			decode_plane_run(coder, method, &open[plane], (const char *) from, plane, start, done,
							 run, to);
	}
	for (int plane = 0; plane < planes; plane++)
	{
		if (open[plane].coded && !delc_rans_finished(&open[plane].symbols))
			delc_delta_damaged("A plane is longer than its numbers.");
		if (open[plane].is_sparse)
			delc_sparse_close(&open[plane].sparse);
	}
}
