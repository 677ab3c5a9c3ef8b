/*
 * delta_symbols.c
 *	  Differences as symbols of one byte and raw bits.
 *
 * Small magnitudes are symbols of their own.  A larger one is a class, of its leading bit and
 * the few behind it, and the bits below, which are as good as random and kept as
 * they are.  The sign is part of the symbol: symbol 0 is the difference 0, 2 * class - 1
 * a negative, 2 * class a positive one.
 */
#include "delta.h"

#include "port/pg_bitutils.h"

/*
 * As finely as 256 symbols allow: with two bits behind the leading one, what is lost to the
 * slope of a normal distribution within a class is less than 0.01 bits.
 */
void
delc_classes_define(DeltaClasses *classes, int item_size)
{
	static const int exact[9] = {0, 7, 5, 0, 4, 0, 0, 0, 3};
	static const int sub[9] = {0, 0, 3, 0, 2, 0, 0, 0, 1};
	int			width = 8 * item_size;
	int			count;

	memset(classes, 0, sizeof(DeltaClasses));
	classes->exact_bits = exact[item_size];
	classes->sub_bits = sub[item_size];
	/* the last class is that of the magnitude 2^(width - 1), which is negative only */
	count = (1 << classes->exact_bits) + ((width - 1 - classes->exact_bits) << classes->sub_bits);
	classes->symbols = 2 * count;
	for (int symbol = 1; symbol < classes->symbols; symbol++)
	{
		int			class = (symbol + 1) / 2;
		int			above = class - (1 << classes->exact_bits);
		int			octave = classes->exact_bits + (above >> classes->sub_bits);
		int			leading = 1 << classes->sub_bits | (above & ((1 << classes->sub_bits) - 1));

		if (above < 0)
			classes->start[symbol] = class;
		else
		{
			classes->bits[symbol] = octave - classes->sub_bits;
			classes->start[symbol] = (uint64) leading << classes->bits[symbol];
		}
	}
}

/* Symbols and what is below them, which delc_raw_write takes. */
void
delc_classes_split(const DeltaClasses *classes, const int64 *differences, int n,
				   uint8 *symbols, uint64 *raw)
{
	int			exact_bits = classes->exact_bits;
	int			sub_bits = classes->sub_bits;

	for (int i = 0; i < n; i++)
	{
		bool		negative = differences[i] < 0;
		uint64		magnitude = negative ? -(uint64) differences[i] : (uint64) differences[i];
		int			class = (int) magnitude;

		raw[i] = 0;
		if (magnitude >> exact_bits != 0)
		{
			int			octave = pg_leftmost_one_pos64(magnitude);
			int			bits = octave - sub_bits;

			class = (1 << exact_bits) + ((octave - exact_bits) << sub_bits) +
				(int) ((magnitude >> bits) & ((1 << sub_bits) - 1));
			raw[i] = magnitude & ((UINT64CONST(1) << bits) - 1);
		}
		symbols[i] = (uint8) (2 * class - (negative && class > 0));
	}
}

/* How many raw bits so many symbols have. */
uint64
delc_raw_bits(const DeltaClasses *classes, const uint8 *symbols, size_t n)
{
	uint64		sum[4] = {0};
	size_t		i = 0;

	for (; i + 4 <= n; i += 4)
	{
		for (int lane = 0; lane < 4; lane++)
			sum[lane] += classes->bits[symbols[i + lane]];
	}
	for (; i < n; i++)
		sum[0] += classes->bits[symbols[i]];
	return sum[0] + sum[1] + sum[2] + sum[3];
}

bool
delc_symbols_valid(const DeltaClasses *classes, const uint8 *symbols, size_t n)
{
	uint8		largest = 0;

	for (size_t i = 0; i < n; i++)
		largest = Max(largest, symbols[i]);
	return largest < classes->symbols;
}

/* The bytes from the position on must be zero. */
static inline void
put(RawBits *to, uint64 value, int bits)
{
	uint8	   *at = to->at + (to->position >> 3);
	int			shift = to->position & 7;
	uint64		held;

	memcpy(&held, at, 8);
	held |= value << shift;
	memcpy(at, &held, 8);
	if (shift + bits > 64)
		at[8] |= (uint8) (value >> (64 - shift));
	to->position += bits;
}

/* Append raw bits to zeroed memory with eight bytes more than needed. */
void
delc_raw_write(RawBits *to, const DeltaClasses *classes, const uint8 *symbols,
			   const uint64 *raw, int n)
{
	for (int i = 0; i < n; i++)
		put(to, raw[i], classes->bits[symbols[i]]);
}

/* At most 57 bits. */
static inline uint64
take(RawBits *from, int bits)
{
	uint64		held;

	memcpy(&held, from->at + (from->position >> 3), 8);
	held >>= from->position & 7;
	from->position += bits;
	return held & ((UINT64CONST(1) << bits) - 1);
}

static inline int64
with_sign(uint64 magnitude, uint8 symbol)
{
	uint64		negative = symbol & 1;

	return (int64) ((magnitude ^ -negative) + negative);
}

/*
 * The differences of so many symbols.  The caller has checked that the bits are there, and that eight
 * bytes behind them can be read.
 */
void
delc_raw_read(RawBits *from, const DeltaClasses *classes, const uint8 *symbols,
			  int n, int64 *differences)
{
	RawBits		reader = *from;

	if (classes->sub_bits == 1)
	{
		/* eight-byte numbers: up to 62 bits, in two parts */
		for (int i = 0; i < n; i++)
		{
			int			bits = classes->bits[symbols[i]];
			uint64		low = take(&reader, Min(bits, 32));
			uint64		high = take(&reader, bits - Min(bits, 32));

			differences[i] = with_sign(classes->start[symbols[i]] + (high << 32 | low), symbols[i]);
		}
	}
	else
	{
		for (int i = 0; i < n; i++)
			differences[i] = with_sign(classes->start[symbols[i]] +
									   take(&reader, classes->bits[symbols[i]]), symbols[i]);
	}
	from->position = reader.position;
}
