/*
 * row_set.c
 *	  Sets of row numbers as bytea: which rows a version of a data set leaves
 *	  out, and whether a row is one of them.
 *
 * A set is kept in chunks of 65,536 consecutive numbers, each as a sorted array
 * of its low 16 bits or as a bitmap of 8 kB, as Roaring bitmaps do (Lemire et
 * al., Consistently faster and smaller compressed bitmaps with Roaring, 2016).
 * All numbers are little-endian:
 *
 *	  uint32 magic, uint32 chunks
 *	  for each chunk, ascending: uint32 number, uint32 members (the highest bit
 *		says that it is a bitmap), uint32 where its data begins
 *	  the chunks' data
 *
 * A stored set takes whichever form is smaller.  The union that a reading query
 * makes is asked about every row, so there a bitmap is preferred, as long as
 * its size stays in proportion to the members.
 *
 * Anybody may hand any bytes to these functions: nothing is read that was not
 * checked to lie within the value.
 */
#include "aggregate.h"
#include "delc.h"

#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "port/pg_bswap.h"
#include "utils/memutils.h"

#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

#define ROW_SET_MAGIC		0x31535244	/* DRS1 */
#define HEADER_SIZE			8
#define ENTRY_SIZE			12
#define CHUNK_BITS			16
#define CHUNK_ROWS			(1 << CHUNK_BITS)
#define BITMAP_SIZE			(CHUNK_ROWS / 8)
#define BITMAP_FLAG			0x80000000u
#define MOST_ROWS			(INT64CONST(1) << (32 + CHUNK_BITS))

/* Fewest members for a bitmap: where it is no larger than an array, and where it takes at most 64 bytes for each. */
#define BITMAP_FROM_STORED	(BITMAP_SIZE / 2)
#define BITMAP_FROM_READING	128

/* Sets that are brought together and take more bytes than this become one, so that memory is bounded. */
#define UNITE_AT			((Size) 32 * 1024 * 1024)

typedef struct RowSet
{
	const uint8 *data;			/* behind the length word */
	uint32		size;
	uint32		chunks;
} RowSet;

typedef struct Chunk
{
	uint32		number;
	uint32		members;
	bool		is_bitmap;
	const uint8 *data;
} Chunk;

/* ---- reading ---- */

static inline uint32
read_uint32(const uint8 *at)
{
	uint32		value;

	memcpy(&value, at, sizeof(value));
#ifdef WORDS_BIGENDIAN
	value = pg_bswap32(value);
#endif
	return value;
}

static inline uint16
read_uint16(const uint8 *at)
{
	return (uint16) (at[0] | at[1] << 8);
}

static void pg_attribute_noreturn()
broken_set(const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("invalid set of row numbers"),
			 errdetail_internal("%s", detail),
			 errhint("Such sets are made by delc.row_set() and delc.row_set_union().")));
	pg_unreachable();
}

static inline void
open_set(RowSet *set, const bytea *value)
{
	set->data = (const uint8 *) VARDATA_ANY(value);
	set->size = VARSIZE_ANY_EXHDR(value);
	if (unlikely(set->size < HEADER_SIZE || read_uint32(set->data) != ROW_SET_MAGIC))
		broken_set("It does not begin as a set does.");
	set->chunks = read_uint32(set->data + 4);
	if (unlikely(set->chunks > (set->size - HEADER_SIZE) / ENTRY_SIZE))
		broken_set("It has more chunks than bytes for them.");
}

static inline uint32
chunk_number(const RowSet *set, uint32 i)
{
	return read_uint32(set->data + HEADER_SIZE + (Size) i * ENTRY_SIZE);
}

static inline void
open_chunk(Chunk *chunk, const RowSet *set, uint32 i)
{
	const uint8 *entry = set->data + HEADER_SIZE + (Size) i * ENTRY_SIZE;
	uint32		members = read_uint32(entry + 4);
	uint32		begin = read_uint32(entry + 8);
	uint32		size;

	chunk->number = read_uint32(entry);
	chunk->is_bitmap = (members & BITMAP_FLAG) != 0;
	chunk->members = members & ~BITMAP_FLAG;
	if (unlikely(chunk->members > CHUNK_ROWS))
		broken_set("A chunk has more members than numbers.");
	size = chunk->is_bitmap ? BITMAP_SIZE : chunk->members * 2;
	if (unlikely(begin > set->size || size > set->size - begin))
		broken_set("A chunk does not lie within it.");
	chunk->data = set->data + begin;
}

/* The index of the chunk with that number, or -1. */
static inline int64
find_chunk(const RowSet *set, uint32 number)
{
	uint32		low = 0,
				high = set->chunks,
				guess;

	if (set->chunks == 0)
		return -1;
	/* most sets have members in every chunk */
	guess = number - chunk_number(set, 0);
	if (guess < set->chunks && chunk_number(set, guess) == number)
		return guess;
	while (low < high)
	{
		uint32		middle = low + (high - low) / 2;
		uint32		found = chunk_number(set, middle);

		if (found == number)
			return middle;
		if (found < number)
			low = middle + 1;
		else
			high = middle;
	}
	return -1;
}

static inline bool
chunk_contains(const Chunk *chunk, uint16 member)
{
	uint32		low = 0,
				high = chunk->members;

	if (chunk->is_bitmap)
		return (chunk->data[member >> 3] >> (member & 7)) & 1;
	while (low < high)
	{
		uint32		middle = low + (high - low) / 2;
		uint16		found = read_uint16(chunk->data + 2 * middle);

		if (found == member)
			return true;
		if (found < member)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

/*
 * row_set_contains(set bytea, row bigint): whether a row is in the set; NULL
 * stands for the empty set.
 */
PG_FUNCTION_INFO_V1(delc_row_set_contains);
Datum
delc_row_set_contains(PG_FUNCTION_ARGS)
{
	RowSet		set;
	Chunk		chunk;
	int64		row;
	int64		i;

	if (PG_ARGISNULL(1))
		PG_RETURN_NULL();
	if (PG_ARGISNULL(0))
		PG_RETURN_BOOL(false);
	row = PG_GETARG_INT64(1);
	if (row < 0 || row >= MOST_ROWS)
		PG_RETURN_BOOL(false);
	open_set(&set, PG_GETARG_BYTEA_PP(0));
	i = find_chunk(&set, (uint32) (row >> CHUNK_BITS));
	if (i < 0)
		PG_RETURN_BOOL(false);
	open_chunk(&chunk, &set, (uint32) i);
	PG_RETURN_BOOL(chunk_contains(&chunk, (uint16) (row & (CHUNK_ROWS - 1))));
}

/* row_set_count(set bytea): how many rows are in the set. */
PG_FUNCTION_INFO_V1(delc_row_set_count);
Datum
delc_row_set_count(PG_FUNCTION_ARGS)
{
	RowSet		set;
	Chunk		chunk;
	int64		count = 0;

	open_set(&set, PG_GETARG_BYTEA_PP(0));
	for (uint32 i = 0; i < set.chunks; i++)
	{
		open_chunk(&chunk, &set, i);
		count += chunk.members;
	}
	PG_RETURN_INT64(count);
}

typedef struct MembersState
{
	RowSet		set;
	uint32		chunk;			/* which one is read */
	uint32		position;		/* the next element of its array, or bit of its bitmap */
} MembersState;

/* The next member, or -1 at the end. */
static int64
next_member(MembersState *state)
{
	for (; state->chunk < state->set.chunks; state->chunk++, state->position = 0)
	{
		Chunk		chunk;
		int64		base;

		open_chunk(&chunk, &state->set, state->chunk);
		base = (int64) chunk.number << CHUNK_BITS;
		if (!chunk.is_bitmap)
		{
			if (state->position < chunk.members)
				return base + read_uint16(chunk.data + 2 * state->position++);
			continue;
		}
		while (state->position < CHUNK_ROWS)
		{
			uint32		bit = state->position++;

			if ((chunk.data[bit >> 3] >> (bit & 7)) & 1)
				return base + bit;
		}
	}
	return -1;
}

/* row_set_members(set bytea): the rows of the set, one by one, ascending. */
PG_FUNCTION_INFO_V1(delc_row_set_members);
Datum
delc_row_set_members(PG_FUNCTION_ARGS)
{
	FuncCallContext *call;
	int64		row;

	if (SRF_IS_FIRSTCALL())
	{
		MemoryContext before;
		MembersState *state;

		call = SRF_FIRSTCALL_INIT();
		before = MemoryContextSwitchTo(call->multi_call_memory_ctx);
		state = palloc0(sizeof(MembersState));
		open_set(&state->set, PG_GETARG_BYTEA_P_COPY(0));
		call->user_fctx = state;
		MemoryContextSwitchTo(before);
	}
	call = SRF_PERCALL_SETUP();
	row = next_member(call->user_fctx);
	if (row < 0)
		SRF_RETURN_DONE(call);
	SRF_RETURN_NEXT(call, Int64GetDatum(row));
}

/* ---- writing ---- */

/* Begin a set of a number of chunks; what follows the directory is appended. */
static void
begin_set(StringInfo buffer, uint32 chunks)
{
	Size		size = VARHDRSZ + HEADER_SIZE + (Size) chunks * ENTRY_SIZE;
	uint32		header[2] = {ROW_SET_MAGIC, chunks};

#ifdef WORDS_BIGENDIAN
	header[0] = pg_bswap32(header[0]);
	header[1] = pg_bswap32(header[1]);
#endif
	if (size > MaxAllocSize / 2)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a set of row numbers has too many chunks: %u", chunks)));
	initStringInfo(buffer);
	enlargeStringInfo(buffer, (int) size);
	buffer->len = (int) size;
	memcpy(buffer->data + VARHDRSZ, header, sizeof(header));
}

/* Write the entry of chunk i, whose data comes next. */
static void
write_entry(StringInfo buffer, uint32 i, uint32 number, uint32 members, bool is_bitmap)
{
	uint32		entry[3];

	entry[0] = number;
	entry[1] = members | (is_bitmap ? BITMAP_FLAG : 0);
	entry[2] = (uint32) (buffer->len - VARHDRSZ);
#ifdef WORDS_BIGENDIAN
	for (int k = 0; k < 3; k++)
		entry[k] = pg_bswap32(entry[k]);
#endif
	memcpy(buffer->data + VARHDRSZ + HEADER_SIZE + (Size) i * ENTRY_SIZE, entry, ENTRY_SIZE);
}

static void
append_member(StringInfo buffer, uint16 member)
{
	uint8		bytes[2] = {member & 0xFF, member >> 8};

	appendBinaryStringInfo(buffer, (char *) bytes, 2);
}

/* Append chunk i, given as a bitmap: as one where it has bitmap_from members, else as an array. */
static void
append_chunk(StringInfo buffer, uint32 i, uint32 number, const uint8 *bitmap, uint32 bitmap_from)
{
	uint32		members = (uint32) pg_popcount((const char *) bitmap, BITMAP_SIZE);
	bool		is_bitmap = members >= bitmap_from;

	write_entry(buffer, i, number, members, is_bitmap);
	if (is_bitmap)
	{
		appendBinaryStringInfo(buffer, (const char *) bitmap, BITMAP_SIZE);
		return;
	}
	for (uint32 byte = 0; byte < BITMAP_SIZE; byte++)
	{
		for (uint32 rest = bitmap[byte]; rest != 0; rest &= rest - 1)
			append_member(buffer, (uint16) (byte * 8 + pg_rightmost_one_pos32(rest)));
	}
}

static bytea *
finish_set(StringInfo buffer)
{
	SET_VARSIZE(buffer->data, buffer->len);
	return (bytea *) buffer->data;
}

/* ---- row_set(bigint): a set of rows ---- */

typedef struct RowsState
{
	int64	   *rows;
	Size		used;
	Size		allocated;
	bool		is_sorted;
} RowsState;

static int
compare_rows(const void *a, const void *b)
{
	int64		left = *(const int64 *) a,
				right = *(const int64 *) b;

	return (left > right) - (left < right);
}

PG_FUNCTION_INFO_V1(delc_row_set_add);
Datum
delc_row_set_add(PG_FUNCTION_ARGS)
{
	MemoryContext context = aggregate_context(fcinfo);
	RowsState  *state;
	int64		row;

	if (PG_ARGISNULL(0))
	{
		state = MemoryContextAllocZero(context, sizeof(RowsState));
		state->allocated = 64;
		state->rows = MemoryContextAlloc(context, state->allocated * sizeof(int64));
		state->is_sorted = true;
	}
	else
		state = (RowsState *) PG_GETARG_POINTER(0);
	if (PG_ARGISNULL(1))
		PG_RETURN_POINTER(state);
	row = PG_GETARG_INT64(1);
	if (row < 0 || row >= MOST_ROWS)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("row number " INT64_FORMAT " is out of range", row),
				 errdetail("Sets have numbers from 0 to " INT64_FORMAT ".", MOST_ROWS - 1)));
	if (state->used == state->allocated)
	{
		state->allocated *= 2;
		state->rows = repalloc_huge(state->rows, state->allocated * sizeof(int64));
	}
	if (state->used > 0 && row <= state->rows[state->used - 1])
		state->is_sorted = false;
	state->rows[state->used++] = row;
	PG_RETURN_POINTER(state);
}

/* Sort the rows, each once; how many chunks they are in. */
static uint32
sort_rows(RowsState *state)
{
	Size		kept = 0;
	uint32		chunks = 0;

	if (!state->is_sorted)
		qsort(state->rows, state->used, sizeof(int64), compare_rows);
	for (Size i = 0; i < state->used; i++)
	{
		if (kept > 0 && state->rows[i] == state->rows[kept - 1])
			continue;
		if (kept == 0 || state->rows[i] >> CHUNK_BITS != state->rows[kept - 1] >> CHUNK_BITS)
			chunks++;
		state->rows[kept++] = state->rows[i];
	}
	state->used = kept;
	state->is_sorted = true;
	return chunks;
}

PG_FUNCTION_INFO_V1(delc_row_set_final);
Datum
delc_row_set_final(PG_FUNCTION_ARGS)
{
	RowsState  *state;
	StringInfoData buffer;
	uint32		chunks;
	Size		begin = 0;

	(void) aggregate_context(fcinfo);
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	state = (RowsState *) PG_GETARG_POINTER(0);
	chunks = sort_rows(state);
	begin_set(&buffer, chunks);
	for (uint32 i = 0; i < chunks; i++)
	{
		int64		number = state->rows[begin] >> CHUNK_BITS;
		Size		end = begin;

		CHECK_FOR_INTERRUPTS();
		while (end < state->used && state->rows[end] >> CHUNK_BITS == number)
			end++;
		if (end - begin < BITMAP_FROM_STORED)
		{
			write_entry(&buffer, i, (uint32) number, (uint32) (end - begin), false);
			for (Size k = begin; k < end; k++)
				append_member(&buffer, (uint16) (state->rows[k] & (CHUNK_ROWS - 1)));
		}
		else
		{
			uint8		bitmap[BITMAP_SIZE] = {0};

			for (Size k = begin; k < end; k++)
				bitmap[(state->rows[k] & (CHUNK_ROWS - 1)) >> 3] |= 1 << (state->rows[k] & 7);
			append_chunk(&buffer, i, (uint32) number, bitmap, BITMAP_FROM_STORED);
		}
		begin = end;
	}
	PG_RETURN_BYTEA_P(finish_set(&buffer));
}

/* ---- row_set_union(bytea): what is in one of several sets, for asking ---- */

typedef struct UnionState
{
	MemoryContext context;		/* what follows, and the sets that the chunks lie in */
	Chunk	   *chunks;
	Size		used;
	Size		allocated;
	Size		bytes;			/* of the sets */
	Size		unite_at;		/* more bytes than this become one set */
} UnionState;

static int
compare_chunks(const void *a, const void *b)
{
	uint32		left = ((const Chunk *) a)->number,
				right = ((const Chunk *) b)->number;

	return (left > right) - (left < right);
}

static void
add_to_bitmap(uint8 *bitmap, const Chunk *chunk)
{
	if (chunk->is_bitmap)
	{
		for (int i = 0; i < BITMAP_SIZE; i++)
			bitmap[i] |= chunk->data[i];
		return;
	}
	for (uint32 i = 0; i < chunk->members; i++)
	{
		uint16		member = read_uint16(chunk->data + 2 * i);

		bitmap[member >> 3] |= 1 << (member & 7);
	}
}

/* One set of all chunks, in the current memory context. */
static bytea *
unite_chunks(UnionState *state)
{
	StringInfoData buffer;
	uint32		chunks = 0;
	Size		next = 0;

	qsort(state->chunks, state->used, sizeof(Chunk), compare_chunks);
	for (Size i = 0; i < state->used; i++)
		chunks += i == 0 || state->chunks[i].number != state->chunks[i - 1].number;
	begin_set(&buffer, chunks);
	for (uint32 i = 0; i < chunks; i++)
	{
		uint8		bitmap[BITMAP_SIZE] = {0};
		uint32		number = state->chunks[next].number;

		CHECK_FOR_INTERRUPTS();
		for (; next < state->used && state->chunks[next].number == number; next++)
			add_to_bitmap(bitmap, &state->chunks[next]);
		append_chunk(&buffer, i, number, bitmap, BITMAP_FROM_READING);
	}
	return finish_set(&buffer);
}

/* Add a set that stays in the state's context. */
static void
add_chunks(UnionState *state, const bytea *value)
{
	RowSet		set;

	open_set(&set, value);
	while (state->allocated - state->used < set.chunks)
	{
		state->allocated *= 2;
		state->chunks = repalloc_huge(state->chunks, state->allocated * sizeof(Chunk));
	}
	for (uint32 i = 0; i < set.chunks; i++)
		open_chunk(&state->chunks[state->used++], &set, i);
	state->bytes += VARSIZE_ANY(value);
}

/* Begin, in a context below parent, with the set that there is (or NULL). */
static void
begin_union(UnionState *state, MemoryContext parent, UnionState *former)
{
	MemoryContext before;

	state->context = AllocSetContextCreate(parent, "delc sets of row numbers", ALLOCSET_DEFAULT_SIZES);
	before = MemoryContextSwitchTo(state->context);
	state->allocated = 64;
	state->used = 0;
	state->bytes = 0;
	state->chunks = palloc(state->allocated * sizeof(Chunk));
	if (former != NULL)
		add_chunks(state, unite_chunks(former));
	state->unite_at = Max(UNITE_AT, 4 * state->bytes);
	MemoryContextSwitchTo(before);
}

PG_FUNCTION_INFO_V1(delc_row_set_union_add);
Datum
delc_row_set_union_add(PG_FUNCTION_ARGS)
{
	MemoryContext context = aggregate_context(fcinfo);
	MemoryContext before;
	UnionState *state = PG_ARGISNULL(0) ? NULL : (UnionState *) PG_GETARG_POINTER(0);

	if (PG_ARGISNULL(1))
	{
		if (state == NULL)
			PG_RETURN_NULL();
		PG_RETURN_POINTER(state);
	}
	if (state == NULL)
	{
		state = MemoryContextAllocZero(context, sizeof(UnionState));
		begin_union(state, context, NULL);
	}
	before = MemoryContextSwitchTo(state->context);
	add_chunks(state, PG_GETARG_BYTEA_P_COPY(1));
	MemoryContextSwitchTo(before);
	if (state->bytes > state->unite_at)
	{
		UnionState	former = *state;

		begin_union(state, context, &former);
		MemoryContextDelete(former.context);
	}
	PG_RETURN_POINTER(state);
}

PG_FUNCTION_INFO_V1(delc_row_set_union_final);
Datum
delc_row_set_union_final(PG_FUNCTION_ARGS)
{
	(void) aggregate_context(fcinfo);
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	PG_RETURN_BYTEA_P(unite_chunks((UnionState *) PG_GETARG_POINTER(0)));
}
