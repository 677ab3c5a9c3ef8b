/*
 * rans.c
 *	  See rans.h.
 *
 * A stream:
 *
 *	byte 0		bits of the frequencies (low half), number of lanes (high half: lane_counts)
 *	byte 1		number of contexts
 *	then		per context the frequencies, bit by bit (write_frequencies)
 *	then		a state of four bytes per lane
 *	then		words of two bytes, which the states take up as they run low
 *
 * Symbol i is in lane i modulo their number.  A state x is in [2^16, 2^32); to
 * decode a symbol is to look up the slot x mod 2^bits, and then
 * x = frequency * (x >> bits) + slot - start of the symbol's slots, after which
 * x takes up a word if below 2^16.  The encoder does the inverse, last symbol
 * first.  Its states begin at 2^16, where the decoder must find them in the end.
 *
 * Many lanes are vectors that are under way at once: of eight where the processor has AVX2, of
 * sixteen where it has AVX-512.  Each waits long for its entries of the table, so four at least are
 * needed.  The portable loop reads the same streams.
 */
#include "rans.h"

#include <math.h>

#if defined(__GNUC__) && defined(__x86_64__) && !defined(RANS_PORTABLE)
#define RANS_AVX2
#include <immintrin.h>
#ifndef RANS_WITHOUT_AVX512
#define RANS_AVX512
#endif
#endif

/* With fewer symbols the states of as many lanes would weigh too much. */
static const struct
{
	int			lanes;
	size_t		least;
}			lane_counts[] = {{4, 0}, {32, 16384}, {RANS_LANES, 262144}};

/* Lanes of one round of the vector loops. */
#define VECTOR_LANES 32

#define MIN_BITS 9
#define STATE_MIN 0x10000U


/* Which of lane_counts n symbols get. */
static int
lane_count_for(size_t n)
{
	int			count = lengthof(lane_counts) - 1;

	while (n < lane_counts[count].least)
		count--;
	return count;
}

/* For the compiler's vectoriser, which level 2 leaves out. */
#if defined(__GNUC__) && !defined(__clang__)
#define VECTOR_LOOP __attribute__((noinline, optimize("O3")))
#else
#define VECTOR_LOOP
#endif

VECTOR_LOOP static uint8
largest_of(const uint8 *bytes, size_t n)
{
	uint8		largest = 0;

	for (size_t i = 0; i < n; i++)
		largest = Max(largest, bytes[i]);
	return largest;
}

static bool
contexts_in_range(const uint8 *contexts, int context_count, size_t n)
{
	if (context_count < 1 || context_count > RANS_MAX_CONTEXTS)
		return false;
	if (contexts == NULL)
		return context_count == 1;
	return largest_of(contexts, n) < context_count;
}

/* ---- frequencies ---- */

/* Four counters in turn: equal neighbours would wait for one another. */
static void
count_plain(uint32 *counts, const uint8 *symbols, size_t n)
{
	uint32		part[3][256] = {{0}};
	size_t		i = 0;

	for (; i + 4 <= n; i += 4)
	{
		part[0][symbols[i]]++;
		part[1][symbols[i + 1]]++;
		part[2][symbols[i + 2]]++;
		counts[symbols[i + 3]]++;
	}
	for (; i < n; i++)
		counts[symbols[i]]++;
	for (int symbol = 0; symbol < 256; symbol++)
		counts[symbol] += part[0][symbol] + part[1][symbol] + part[2][symbol];
}

/* Take from or give to the symbol that minds least or gains most, until all adds up. */
static void
settle(const uint32 *counts, uint16 *frequencies, int sum, int whole)
{
	int			present[256];
	int			distinct = 0;

	for (int symbol = 0; symbol < 256; symbol++)
	{
		if (counts[symbol] > 0)
			present[distinct++] = symbol;
	}
	while (sum != whole)
	{
		int			step = sum > whole ? -1 : 1;
		int			best = -1;
		float		best_change = 0;

		for (int i = 0; i < distinct; i++)
		{
			int			frequency = frequencies[present[i]];
			/* log2((f + step) / f) is about step / (f + step / 2) */
			float		change = step * (float) counts[present[i]] / (2 * frequency + step);

			if (frequency + step < 1 || (best >= 0 && change <= best_change))
				continue;
			best = present[i];
			best_change = change;
		}
		frequencies[best] += step;
		sum += step;
	}
}

/* Frequencies that add up to 2^bits, at least 1 for each symbol that occurs. */
static void
normalize(const uint32 *counts, int bits, uint16 *frequencies)
{
	int			whole = 1 << bits;
	uint64		total = 0;
	int			sum = 0;

	for (int symbol = 0; symbol < 256; symbol++)
		total += counts[symbol];
	memset(frequencies, 0, 256 * sizeof(uint16));
	if (total == 0)
		return;
	for (int symbol = 0; symbol < 256; symbol++)
	{
		uint64		part = (counts[symbol] * (uint64) whole + total / 2) / total;

		if (counts[symbol] > 0)
			frequencies[symbol] = (uint16) Max(part, 1);
		sum += frequencies[symbol];
	}
	settle(counts, frequencies, sum, whole);
}

static int
bit_length(uint32 value)
{
	int			length = 0;

	while (value >> length != 0)
		length++;
	return length;
}

/* Bits that frequencies take (write_frequencies), about. */
static int
table_bits(const uint16 *frequencies)
{
	int			sum = 1;
	bool		left_out = true;

	for (int symbol = 0; symbol < 256; symbol++)
	{
		if (frequencies[symbol] > 0)
			sum += (sum == 1 ? 16 : 0) + 3 + bit_length(frequencies[symbol]);
		else if (!left_out)
			sum += 8;
		left_out = frequencies[symbol] == 0;
	}
	return sum;
}

/* Bits that the symbols of a context take. */
static double
coded_bits(const uint32 *counts, const uint16 *frequencies, int bits)
{
	double		sum = 0;

	for (int symbol = 0; symbol < 256; symbol++)
	{
		if (counts[symbol] > 0)
			sum += counts[symbol] * (bits - log2(frequencies[symbol]));
	}
	return sum;
}

/* The frequencies of all contexts in trial; gives the bits of the stream. */
static double
try_bits(RansModel *model, int bits)
{
	double		sum = 0;

	for (int context = 0; context < model->contexts; context++)
	{
		normalize(model->counts[context], bits, model->trial[context]);
		sum += coded_bits(model->counts[context], model->trial[context], bits) +
			table_bits(model->trial[context]);
	}
	return sum;
}

/* Can every context's symbols have a slot each? */
static int
fewest_bits(const RansModel *model)
{
	int			most = 1;
	int			bits = MIN_BITS;

	for (int context = 0; context < model->contexts; context++)
	{
		int			distinct = 0;

		for (int symbol = 0; symbol < 256; symbol++)
			distinct += model->counts[context][symbol] > 0;
		most = Max(most, distinct);
	}
	while ((1 << bits) < 2 * most)
		bits++;
	return bits;
}

void
delc_rans_settle(RansModel *model)
{
	double		finest = try_bits(model, RANS_MAX_BITS);
	int			bits = RANS_MAX_BITS;

	memcpy(model->frequencies, model->trial, sizeof(model->trial[0]) * model->contexts);
	while (bits > fewest_bits(model) &&
		   try_bits(model, bits - 1) <= finest * (1 + model->waste))
	{
		bits--;
		memcpy(model->frequencies, model->trial, sizeof(model->trial[0]) * model->contexts);
	}
	model->bits = bits;
}

bool
delc_rans_count(RansModel *model, const uint8 *symbols, const uint8 *contexts,
				int context_count, size_t n)
{
	if (n > PG_UINT32_MAX || !contexts_in_range(contexts, context_count, n))
		return false;
	model->contexts = context_count;
	memset(model->counts, 0, sizeof(model->counts[0]) * context_count);
	if (contexts == NULL)
		count_plain(model->counts[0], symbols, n);
	else
	{
		for (size_t i = 0; i < n; i++)
			model->counts[contexts[i]][symbols[i]]++;
	}
	return true;
}

/* The entropy, and what a frequency takes on average. */
double
delc_rans_context_cost(const uint32 *counts, double weight)
{
	uint64		total = 0;
	double		entropy = 0;
	double		table = 17;

	for (int symbol = 0; symbol < 256; symbol++)
	{
		if (counts[symbol] == 0)
			continue;
		total += counts[symbol];
		entropy -= counts[symbol] * (double) log2f(counts[symbol]);
		table += 10;
	}
	return total == 0 ? 1 : (entropy + total * log2((double) total)) * weight + table;
}

double
delc_rans_cost(const RansModel *model, double weight)
{
	double		sum = 0;

	for (int context = 0; context < model->contexts; context++)
		sum += delc_rans_context_cost(model->counts[context], weight);
	return sum;
}

bool
delc_rans_learn(RansModel *model, const uint8 *symbols, const uint8 *contexts,
				int context_count, size_t n)
{
	if (!delc_rans_count(model, symbols, contexts, context_count, n))
		return false;
	delc_rans_settle(model);
	return true;
}

/* ---- bits ---- */

typedef struct BitWriter
{
	uint8	   *at;
	uint8	   *end;
	uint32		held;
	int			held_bits;
	bool		full;
} BitWriter;

static void
put_bits(BitWriter *writer, uint32 value, int bits)
{
	writer->held |= value << writer->held_bits;
	writer->held_bits += bits;
	while (writer->held_bits >= 8)
	{
		if (writer->at < writer->end)
			*writer->at++ = (uint8) writer->held;
		else
			writer->full = true;
		writer->held >>= 8;
		writer->held_bits -= 8;
	}
}

typedef struct BitReader
{
	const uint8 *at;
	const uint8 *end;
	uint32		held;
	int			held_bits;
	bool		empty;			/* asked for more than there was */
} BitReader;

static uint32
get_bits(BitReader *reader, int bits)
{
	uint32		value;

	while (reader->held_bits < bits)
	{
		if (reader->at < reader->end)
			reader->held |= (uint32) *reader->at++ << reader->held_bits;
		else
			reader->empty = true;
		reader->held_bits += 8;
	}
	value = reader->held & ((1U << bits) - 1);
	reader->held >>= bits;
	reader->held_bits -= bits;
	return value;
}

/*
 * A context: one bit, 0 if no symbol is in it.  Then its first and its last symbol, eight
 * bits each, and for all from the first to before the last: four bits that
 * say how many bits the frequency has, and those below the leading one; or four zero bits
 * and how many symbols, less one, are left out.  The last gets what remains.
 */
static void
write_frequencies(BitWriter *writer, const uint16 *frequencies)
{
	int			first = 0;
	int			last = 255;

	while (first < 256 && frequencies[first] == 0)
		first++;
	put_bits(writer, first < 256, 1);
	if (first == 256)
		return;
	while (frequencies[last] == 0)
		last--;
	put_bits(writer, first, 8);
	put_bits(writer, last, 8);
	for (int symbol = first; symbol < last;)
	{
		int			length = bit_length(frequencies[symbol]);
		int			run = 0;

		put_bits(writer, length, 4);
		if (length > 0)
		{
			put_bits(writer, frequencies[symbol] & ((1 << (length - 1)) - 1), length - 1);
			symbol++;
			continue;
		}
		while (run < 16 && frequencies[symbol + run] == 0)
			run++;
		put_bits(writer, run - 1, 4);
		symbol += run;
	}
}

/* False when what is written cannot be the frequencies of a context. */
static bool
read_frequencies(BitReader *reader, int bits, uint16 *frequencies)
{
	int			first;
	int			last;
	int			left = 1 << bits;

	memset(frequencies, 0, 256 * sizeof(uint16));
	if (get_bits(reader, 1) == 0)
	{
		frequencies[0] = left;	/* never met in a stream that is not damaged */
		return true;
	}
	first = get_bits(reader, 8);
	last = get_bits(reader, 8);
	if (first > last)
		return false;
	for (int symbol = first; symbol < last;)
	{
		int			length = get_bits(reader, 4);

		if (length == 0)
			symbol += get_bits(reader, 4) + 1;
		else if (length > bits)
			return false;
		else
		{
			frequencies[symbol] = 1 << (length - 1) | get_bits(reader, length - 1);
			left -= frequencies[symbol++];
		}
		if (symbol > last || left <= 0)
			return false;
	}
	frequencies[last] = left;
	return !reader->empty;
}

/* ---- encode ---- */

static void
prepare_symbols(RansModel *model)
{
	int			bits = model->bits;

	for (int context = 0; context < model->contexts; context++)
	{
		uint32		start = 0;

		for (int symbol = 0; symbol < 256; symbol++)
		{
			uint32		frequency = model->frequencies[context][symbol];
			RansSymbol *to = &model->symbols[context][symbol];

			if (frequency == 0)
				continue;
			to->limit = (uint64) frequency << (32 - bits);
			to->complement = (1 << bits) - frequency;
#ifdef HAVE_INT128
			/* x * reciprocal >> 64 is x / frequency, and for 1 it is x - 1 */
			to->reciprocal = frequency == 1 ? PG_UINT64_MAX :
				PG_UINT64_MAX / frequency + 1;
			to->bias = frequency == 1 ? start + (1 << bits) - 1 : start;
#else
			to->reciprocal = frequency;
			to->bias = start;
#endif
			start += frequency;
		}
	}
}

static inline uint32
quotient(uint32 x, uint64 reciprocal)
{
#ifdef HAVE_INT128
	return (uint32) (((uint128) x * reciprocal) >> 64);
#else
	return x / (uint32) reciprocal;
#endif
}

/* Encode one symbol; words are written downwards to *to. */
static inline void
push(uint32 *state, const RansSymbol *symbol, uint8 **to)
{
	uint32		x = *state;
	uint16		word = (uint16) x;
	int			sheds = x >= symbol->limit;

	/* without a branch, which would be guessed wrong too often */
	memcpy(*to - 2, &word, 2);
	*to -= 2 * sheds;
	x >>= 16 * sheds;
	*state = x + symbol->bias + quotient(x, symbol->reciprocal) * symbol->complement;
}

/*
 * Encode from the last symbol to the first into the end of [begin, end).
 * Returns where the words begin, or NULL when they do not fit.
 */
static uint8 *
push_all(const RansModel *model, const uint8 *symbols, const uint8 *contexts,
		 size_t n, uint32 *states, int lanes, uint8 *begin, uint8 *end)
{
	uint8	   *to = end;

	for (size_t i = n; i > 0;)
	{
		size_t		group = (i - 1) / lanes * lanes;

		if (to - begin < 2 * (lanes + 1))
			return NULL;
		if (contexts == NULL)
		{
			while (i > group)
			{
				i--;
				push(&states[i - group], &model->symbols[0][symbols[i]], &to);
			}
		}
		else
		{
			while (i > group)
			{
				i--;
				push(&states[i - group], &model->symbols[contexts[i]][symbols[i]], &to);
			}
		}
	}
	return to;
}

size_t
delc_rans_bound(size_t n, int context_count)
{
	/* a symbol takes up to 12 bits; frequencies up to 16 each */
	return 2 * n + 4 * (RANS_LANES + 1) + 8 + (size_t) context_count * 520;
}

/* The first bytes, and of each state what is not of use to the symbols. */
size_t
delc_rans_overhead(size_t n)
{
	return 3 + 3 * lane_counts[lane_count_for(n)].lanes;
}

size_t
delc_rans_estimate(const RansModel *model, size_t n)
{
	double		bits = 0;
	uint8		unused[600];
	BitWriter	writer = {unused, unused + sizeof(unused), 0, 0, false};

	for (int context = 0; context < model->contexts; context++)
	{
		bits += coded_bits(model->counts[context], model->frequencies[context], model->bits);
		writer.at = unused;
		write_frequencies(&writer, model->frequencies[context]);
		bits += 8 * (writer.at - unused);
	}
	return (size_t) (bits / 8) + delc_rans_overhead(n);
}

size_t
delc_rans_encode(RansModel *model, const uint8 *symbols, const uint8 *contexts,
				 size_t n, uint8 *out, size_t out_size)
{
	int			count = lane_count_for(n);
	int			lanes = lane_counts[count].lanes;
	uint32		states[RANS_LANES];
	BitWriter	writer = {out + 2, out + out_size, 0, 0, false};
	uint8	   *words;
	size_t		words_size;

	if (out_size < 2)
		return 0;
	out[0] = (uint8) (model->bits | count << 4);
	out[1] = (uint8) model->contexts;
	for (int context = 0; context < model->contexts; context++)
		write_frequencies(&writer, model->frequencies[context]);
	put_bits(&writer, 0, 7);	/* up to a whole byte */
	if (writer.full || writer.end - writer.at < 4 * lanes)
		return 0;
	prepare_symbols(model);
	for (int lane = 0; lane < lanes; lane++)
		states[lane] = STATE_MIN;
	words = push_all(model, symbols, contexts, n, states, lanes,
					 writer.at + 4 * lanes, writer.end);
	if (words == NULL)
		return 0;
	words_size = writer.end - words;
	memcpy(writer.at, states, 4 * lanes);
	memmove(writer.at + 4 * lanes, words, words_size);
	return writer.at - out + 4 * lanes + words_size;
}

/* ---- decode ---- */

/* An entry of the table: the symbol, the slot's place among the symbol's, frequency - 1. */
#define ENTRY(symbol, place, frequency) \
	((uint32) (symbol) | (uint32) (place) << 8 | (uint32) ((frequency) - 1) << 20)

static bool
read_tables(BitReader *reader, int bits, int contexts, uint32 *table)
{
	uint16		frequencies[256];

	for (int context = 0; context < contexts; context++)
	{
		if (!read_frequencies(reader, bits, frequencies))
			return false;
		for (int symbol = 0; symbol < 256; symbol++)
		{
			for (int place = 0; place < frequencies[symbol]; place++)
				*table++ = ENTRY(symbol, place, frequencies[symbol]);
		}
	}
	return true;
}

/* Decode symbols first, first + 1, ... with lanes from the first on. */
static bool
pull_portable(RansDecoder *decoder, const uint8 *contexts, size_t first, size_t last,
			  uint8 *symbols)
{
	const uint32 *table = decoder->table;
	const uint8 *at = decoder->at;
	int			bits = decoder->bits;
	uint32		mask = (1U << bits) - 1;

	for (size_t group = first; group < last; group += decoder->lanes)
	{
		int			lanes = (int) Min((size_t) decoder->lanes, last - group);

		for (int lane = 0; lane < lanes; lane++)
		{
			uint32		x = decoder->states[lane];
			uint32		context = contexts == NULL ? 0 : contexts[group + lane];
			uint32		entry = table[context << bits | (x & mask)];

			symbols[group + lane] = (uint8) entry;
			x = ((entry >> 20) + 1) * (x >> bits) + (entry >> 8 & 0xFFF);
			if (x < STATE_MIN)
			{
				uint16		word;

				if (decoder->end - at < 2)
					return false;
				memcpy(&word, at, 2);
				at += 2;
				x = x << 16 | word;
			}
			decoder->states[lane] = x;
		}
	}
	decoder->at = at;
	return true;
}

#ifdef RANS_AVX2

/* Eight lanes take up words: for each set of lanes that do, which word each gets. */
static uint8 word_of_lane[256][8];
static bool word_of_lane_known = false;

static void
know_word_of_lane(void)
{
	/* several threads may come here: they write the same */
	if (__atomic_load_n(&word_of_lane_known, __ATOMIC_ACQUIRE))
		return;
	for (int set = 0; set < 256; set++)
	{
		int			word = 0;

		for (int lane = 0; lane < 8; lane++)
			word_of_lane[set][lane] = set >> lane & 1 ? word++ : 0;
	}
	__atomic_store_n(&word_of_lane_known, true, __ATOMIC_RELEASE);
}

#define AVX2 __attribute__((target("avx2,popcnt")))

/* One symbol of eight lanes: the entries, whose low bytes are the symbols. */
AVX2 static inline __m256i
pull_eight(__m256i *state, const uint32 *table, __m256i base, __m128i bits,
		   __m256i mask, const uint8 **at)
{
	__m256i		x = *state;
	__m256i		slot = _mm256_or_si256(_mm256_and_si256(x, mask), base);
	__m256i		entry = _mm256_i32gather_epi32((const int *) table, slot, 4);
	__m256i		high = _mm256_srl_epi32(x, bits);
	__m256i		place = _mm256_and_si256(_mm256_srli_epi32(entry, 8), _mm256_set1_epi32(0xFFF));
	__m256i		words;
	__m256i		low;
	unsigned int set;

	x = _mm256_add_epi32(_mm256_mullo_epi32(high, _mm256_srli_epi32(entry, 20)),
						 _mm256_add_epi32(high, place));
	low = _mm256_cmpeq_epi32(_mm256_srli_epi32(x, 16), _mm256_setzero_si256());
	set = (unsigned int) _mm256_movemask_ps(_mm256_castsi256_ps(low));
	words = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *) *at));
	words = _mm256_permutevar8x32_epi32(words,
										_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *) word_of_lane[set])));
	*state = _mm256_blendv_epi8(x, _mm256_or_si256(_mm256_slli_epi32(x, 16), words), low);
	*at += 2 * __builtin_popcount(set);
	return entry;
}

AVX2 static inline __m256i
context_base(const uint8 *contexts, __m128i bits)
{
	return _mm256_sll_epi32(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *) contexts)), bits);
}

/* The low bytes of four vectors of entries, in order. */
AVX2 static inline void
store_symbols(uint8 *to, __m256i a, __m256i b, __m256i c, __m256i d)
{
	__m256i		byte = _mm256_set1_epi32(0xFF);
	__m256i		ab = _mm256_packus_epi32(_mm256_and_si256(a, byte), _mm256_and_si256(b, byte));
	__m256i		cd = _mm256_packus_epi32(_mm256_and_si256(c, byte), _mm256_and_si256(d, byte));
	__m256i		all = _mm256_packus_epi16(ab, cd);

	all = _mm256_permutevar8x32_epi32(all, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
	_mm256_storeu_si256((__m256i *) to, all);
}

/* One symbol of each of 32 lanes, whose states are x. */
AVX2 static inline void
pull_round(__m256i *x, const uint32 *table, const uint8 *contexts, __m128i bits, __m256i mask,
		   const uint8 **at, uint8 *symbols)
{
	__m256i		entries[4];

	for (int i = 0; i < 4; i++)
	{
		__m256i		base = contexts == NULL ? _mm256_setzero_si256() :
			context_base(contexts + 8 * i, bits);

		entries[i] = pull_eight(&x[i], table, base, bits, mask, at);
	}
	store_symbols(symbols, entries[0], entries[1], entries[2], entries[3]);
}

/*
 * Decode whole groups as long as the next word is not behind limit.  Returns
 * the symbol after the last one.
 */
AVX2 static size_t
pull_avx2(RansDecoder *decoder, const uint8 *contexts, size_t first, size_t last,
		  uint8 *symbols, const uint8 *limit)
{
	const uint32 *table = decoder->table;
	const uint8 *at = decoder->at;
	__m128i		bits = _mm_cvtsi32_si128(decoder->bits);
	__m256i		mask = _mm256_set1_epi32((1 << decoder->bits) - 1);
	__m256i		x[RANS_LANES / 8];
	int			lanes = decoder->lanes;
	size_t		group = first;

	memcpy(x, decoder->states, 4 * lanes);
	for (; group + lanes <= last && at <= limit; group += lanes)
	{
		for (int lane = 0; lane < lanes; lane += VECTOR_LANES)
			pull_round(x + lane / 8, table, contexts == NULL ? NULL : contexts + group + lane,
					   bits, mask, &at, symbols + group + lane);
	}
	memcpy(decoder->states, x, 4 * lanes);
	decoder->at = at;
	return group;
}

#ifdef RANS_AVX512

#define AVX512 __attribute__((target("avx512f,avx512vl,popcnt")))

/*
 * Four entries, sixteen of them: by loads of their own, since the instruction that gathers them is
 * microcode of many more steps (on AMD's processors, and on Intel's since the remedy for "Downfall").
 */
AVX512 static inline __m128i
four_entries(const uint32 *table, const uint32 *slots)
{
	__m128i		entries = _mm_cvtsi32_si128(table[slots[0]]);

	entries = _mm_insert_epi32(entries, table[slots[1]], 1);
	entries = _mm_insert_epi32(entries, table[slots[2]], 2);
	return _mm_insert_epi32(entries, table[slots[3]], 3);
}

AVX512 static inline __m512i
gather_sixteen(const uint32 *table, __m512i slot)
{
	uint32		slots[16];
	__m256i		low;
	__m256i		high;

	_mm512_storeu_si512(slots, slot);
	__asm__ volatile("" : : : "memory");
	low = _mm256_inserti128_si256(_mm256_castsi128_si256(four_entries(table, slots)),
								  four_entries(table, slots + 4), 1);
	high = _mm256_inserti128_si256(_mm256_castsi128_si256(four_entries(table, slots + 8)),
								   four_entries(table, slots + 12), 1);
	return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

/* One symbol of sixteen lanes: the entries, whose low bytes are the symbols. */
AVX512 static inline __m512i
pull_sixteen(__m512i *state, const uint32 *table, __m512i base, __m128i bits, __m512i mask,
			 const uint8 **at)
{
	__m512i		x = *state;
	__m512i		slot = _mm512_or_si512(_mm512_and_si512(x, mask), base);
	__m512i		entry = gather_sixteen(table, slot);
	__m512i		high = _mm512_srl_epi32(x, bits);
	__m512i		place = _mm512_and_si512(_mm512_srli_epi32(entry, 8), _mm512_set1_epi32(0xFFF));
	__m512i		words = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *) *at));
	__mmask16	low;

	x = _mm512_add_epi32(_mm512_mullo_epi32(high, _mm512_srli_epi32(entry, 20)),
						 _mm512_add_epi32(high, place));
	low = _mm512_cmplt_epu32_mask(x, _mm512_set1_epi32(STATE_MIN));
	*state = _mm512_mask_or_epi32(x, low, _mm512_slli_epi32(x, 16),
								  _mm512_maskz_expand_epi32(low, words));
	*at += 2 * (size_t) __builtin_popcount(low);
	return entry;
}

AVX512 static inline __m512i
contexts_base(const uint8 *contexts, __m128i bits)
{
	return _mm512_sll_epi32(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *) contexts)), bits);
}

/* One symbol of each of 32 lanes, whose states are x. */
AVX512 static inline void
pull_wide_round(__m512i *x, const uint32 *table, const uint8 *contexts, __m128i bits, __m512i mask,
				const uint8 **at, uint8 *symbols)
{
	for (int i = 0; i < 2; i++)
	{
		__m512i		base = contexts == NULL ? _mm512_setzero_si512() :
			contexts_base(contexts + 16 * i, bits);
		__m512i		entries = pull_sixteen(&x[i], table, base, bits, mask, at);

		_mm_storeu_si128((__m128i *) (symbols + 16 * i), _mm512_cvtepi32_epi8(entries));
	}
}

/* As pull_avx2. */
AVX512 static size_t
pull_avx512(RansDecoder *decoder, const uint8 *contexts, size_t first, size_t last,
			uint8 *symbols, const uint8 *limit)
{
	const uint32 *table = decoder->table;
	const uint8 *at = decoder->at;
	__m128i		bits = _mm_cvtsi32_si128(decoder->bits);
	__m512i		mask = _mm512_set1_epi32((1 << decoder->bits) - 1);
	__m512i		x[RANS_LANES / 16];
	int			lanes = decoder->lanes;
	size_t		group = first;

	memcpy(x, decoder->states, 4 * lanes);
	for (; group + lanes <= last && at <= limit; group += lanes)
	{
		for (int lane = 0; lane < lanes; lane += VECTOR_LANES)
			pull_wide_round(x + lane / 16, table, contexts == NULL ? NULL : contexts + group + lane,
							bits, mask, &at, symbols + group + lane);
	}
	memcpy(decoder->states, x, 4 * lanes);
	decoder->at = at;
	return group;
}
#endif

static size_t
pull_vectors(RansDecoder *decoder, const uint8 *contexts, size_t first, size_t last,
			 uint8 *symbols, const uint8 *limit)
{
#ifdef RANS_AVX512
	if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl"))
		return pull_avx512(decoder, contexts, first, last, symbols, limit);
#endif
	return pull_avx2(decoder, contexts, first, last, symbols, limit);
}

/*
 * Decode whole groups.  The last words are decoded from a copy with room
 * behind.  Returns how many symbols are done, SIZE_MAX if words were missing.
 */
static size_t
pull_groups(RansDecoder *decoder, const uint8 *contexts, size_t n, uint8 *symbols)
{
	size_t		left = decoder->end - decoder->at;
	size_t		done = 0;

	know_word_of_lane();
	if (!decoder->at_rest)
	{
		if (left >= RANS_GROUP_READS)
			done = pull_vectors(decoder, contexts, 0, n, symbols,
								decoder->end - RANS_GROUP_READS);
		left = decoder->end - decoder->at;
		if (left >= RANS_GROUP_READS)
			return done;
		memset(decoder->rest, 0, sizeof(decoder->rest));
		memcpy(decoder->rest, decoder->at, left);
		decoder->at = decoder->rest;
		decoder->end = decoder->rest + left;
		decoder->at_rest = true;
	}
	done = pull_vectors(decoder, contexts, done, n, symbols, decoder->end);
	return decoder->at > decoder->end ? SIZE_MAX : done;
}
#endif

bool
delc_rans_read(RansDecoder *decoder, const uint8 *contexts, size_t n, uint8 *symbols)
{
	size_t		done = 0;

	if (!contexts_in_range(contexts, decoder->contexts, n))
		return false;
#ifdef RANS_AVX2
	if (decoder->lanes % VECTOR_LANES == 0 && __builtin_cpu_supports("avx2"))
		done = pull_groups(decoder, contexts, n, symbols);
#endif
	return done != SIZE_MAX && pull_portable(decoder, contexts, done, n, symbols);
}

bool
delc_rans_finished(const RansDecoder *decoder)
{
	for (int lane = 0; lane < decoder->lanes; lane++)
	{
		if (decoder->states[lane] != STATE_MIN)
			return false;
	}
	return decoder->at == decoder->end;
}

bool
delc_rans_open(RansDecoder *decoder, const uint8 *stream, size_t length,
			   int context_count, uint32 *table)
{
	BitReader	reader;

	if (length < 2 || stream[1] != context_count || context_count < 1 ||
		context_count > RANS_MAX_CONTEXTS)
		return false;
	decoder->contexts = context_count;
	decoder->bits = stream[0] & 15;
	if (stream[0] >> 4 >= lengthof(lane_counts))
		return false;
	decoder->lanes = lane_counts[stream[0] >> 4].lanes;
	if (decoder->bits < MIN_BITS || decoder->bits > RANS_MAX_BITS)
		return false;
	reader = (BitReader) {stream + 2, stream + length, 0, 0, false};
	if (!read_tables(&reader, decoder->bits, context_count, table) ||
		reader.end - reader.at < 4 * decoder->lanes)
		return false;
	memcpy(decoder->states, reader.at, 4 * decoder->lanes);
	for (int lane = 0; lane < decoder->lanes; lane++)
	{
		if (decoder->states[lane] < STATE_MIN)
			return false;
	}
	decoder->table = table;
	decoder->at = reader.at + 4 * decoder->lanes;
	decoder->end = reader.end;
	decoder->at_rest = false;
	return true;
}

bool
delc_rans_decode(const uint8 *stream, size_t length, const uint8 *contexts,
				 int context_count, size_t n, uint8 *symbols, uint32 *table)
{
	RansDecoder decoder;

	return delc_rans_open(&decoder, stream, length, context_count, table) &&
		delc_rans_read(&decoder, contexts, n, symbols) &&
		delc_rans_finished(&decoder);
}
