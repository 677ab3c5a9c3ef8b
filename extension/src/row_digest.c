/*
 * row_digest.c
 *	  Digests of rows under a random key.
 *
 * A row is written as a sequence of numbers below 2^60, different for rows of
 * one type unless all their values have the same images (as delc.same_images
 * compares them).  The digest has two lanes, each with a key of its own in the
 * field of the integers modulo the prime p = 2^61 - 1: every block of up to 64
 * numbers is multiplied with 64 random multipliers and summed (Carter and
 * Wegman, Universal classes of hash functions, 1979, in the multilinear form
 * of Lemire and Kaser, Strongly universal string hashing is fast, 2014), and
 * the sums are the coefficients of a polynomial that is evaluated at a random
 * point, with the length of the sequence as the last coefficient.
 *
 * What equal digests say about rows.  Two different sequences meet in a lane
 * only if the sums of two different blocks are equal, or if the point is a root
 * of the difference of the two polynomials, which has at most as many roots as
 * there are blocks.  Of about 2^61 multipliers and points that are drawn, few
 * do that: rows of B blocks meet in both lanes, which are independent, with a
 * probability of at most ((B + 2) / 2^61)^2, which is 2^-118 for a row of one
 * block (up to 448 bytes of text) and 2^-79 for a row of 1 GB.
 *
 * So a commit of 2^30 rows against as many takes some row's key for another's
 * with a probability below 2^-57 (2^60 pairs), and a changed row for unchanged
 * with one below 2^-88 (2^30 pairs): less than that of a memory error that
 * nobody notices.  It does not depend on the rows: the key is drawn from the
 * system's random numbers for one run, nobody sees it or a digest, and so
 * nobody can make rows that meet, as is possible for a fixed hash function.
 */
#include "row_digest.h"

#include "fmgr.h"

#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

#define PRIME	((UINT64CONST(1) << 61) - 1)
#define PIECE	7				/* bytes of a value in one element */

/* ---- numbers modulo PRIME ---- */

static inline uint64
reduce(uint64 value)
{
	value = (value & PRIME) + (value >> 61);
	return value >= PRIME ? value - PRIME : value;
}

#ifdef HAVE_INT128

static inline uint64
multiply(uint64 a, uint64 b)
{
	uint128		product = (uint128) a * b;

	return reduce((uint64) (product & PRIME) + (uint64) (product >> 61));
}

/* For each lane, the sum of the block's products; 64 of them are less than 2^128. */
static inline void
sum_products(const RowDigester *digester, uint64 *sums)
{
	uint128		totals[DIGEST_LANES] = {0};

	for (int i = 0; i < digester->used; i++)
	{
		for (int lane = 0; lane < DIGEST_LANES; lane++)
			totals[lane] += (uint128) digester->multipliers[lane][i] * digester->block[i];
	}
	/* 61 bits, 61 bits and the 6 bits above them */
	for (int lane = 0; lane < DIGEST_LANES; lane++)
		sums[lane] = reduce((uint64) (totals[lane] & PRIME) + (uint64) ((totals[lane] >> 61) & PRIME) +
							(uint64) (totals[lane] >> 122));
}

#else

/* By halves: 2^64 is 8, and the middle products' part above 2^29 is a multiple of 2^61, which is 1. */
static inline uint64
multiply(uint64 a, uint64 b)
{
	uint64		low = (a & 0xFFFFFFFF) * (b & 0xFFFFFFFF);
	uint64		middle = (a >> 32) * (b & 0xFFFFFFFF) + (a & 0xFFFFFFFF) * (b >> 32);
	uint64		high = (a >> 32) * (b >> 32);

	return reduce(8 * high + (middle >> 29) + ((middle & 0x1FFFFFFF) << 32) + reduce(low));
}

static inline void
sum_products(const RowDigester *digester, uint64 *sums)
{
	for (int lane = 0; lane < DIGEST_LANES; lane++)
	{
		sums[lane] = 0;
		for (int i = 0; i < digester->used; i++)
			sums[lane] = reduce(sums[lane] + multiply(digester->multipliers[lane][i], digester->block[i]));
	}
}

#endif							/* HAVE_INT128 */

/* A number from 1 to PRIME - 1, each as likely as the others. */
static uint64
random_number(void)
{
	uint64		number;

	do
	{
		if (!pg_strong_random(&number, sizeof(number)))
			ereport(ERROR,
					(errcode(ERRCODE_INTERNAL_ERROR),
					 errmsg("could not draw a random key for comparing rows")));
		number &= PRIME;
	} while (number == 0 || number == PRIME);
	return number;
}

/* Draw a key; digests can be compared with those of the same digester only. */
void
row_digester_begin(RowDigester *digester)
{
	for (int lane = 0; lane < DIGEST_LANES; lane++)
	{
		for (int i = 0; i < DIGEST_BLOCK; i++)
			digester->multipliers[lane][i] = random_number();
		digester->points[lane] = random_number();
	}
}

/* ---- a sequence of numbers ---- */

static inline void
close_block(RowDigester *digester)
{
	uint64		sums[DIGEST_LANES];

	sum_products(digester, sums);
	for (int lane = 0; lane < DIGEST_LANES; lane++)
		digester->state[lane] = multiply(reduce(digester->state[lane] + sums[lane]), digester->points[lane]);
	digester->elements += digester->used;
	digester->used = 0;
}

static inline void
take(RowDigester *digester, uint64 element)
{
	digester->block[digester->used++] = element;
	if (unlikely(digester->used == DIGEST_BLOCK))
		close_block(digester);
}

/* Bytes follow their number, or are always as many. */
static void
take_bytes(RowDigester *digester, const char *bytes, Size size)
{
	uint64		piece;

	for (; size > PIECE; size -= PIECE, bytes += PIECE)
	{
		memcpy(&piece, bytes, sizeof(piece));
#ifdef WORDS_BIGENDIAN
		take(digester, piece >> 8);
#else
		take(digester, piece & ((UINT64CONST(1) << 8 * PIECE) - 1));
#endif
	}
	piece = 0;
	for (Size i = 0; i < size; i++)
		piece = piece << 8 | (uint8) bytes[i];
	take(digester, piece);
}

static void
take_varlena(RowDigester *digester, Datum value)
{
	struct varlena *given = (struct varlena *) DatumGetPointer(value);
	struct varlena *plain = pg_detoast_datum_packed(given);

	take(digester, (uint64) VARSIZE_ANY_EXHDR(plain) + 1);
	take_bytes(digester, VARDATA_ANY(plain), VARSIZE_ANY_EXHDR(plain));
	if (plain != given)
		pfree(plain);
}

/* A NULL is 0; whatever else begins with another number. */
static inline void
take_value(RowDigester *digester, const DigestColumn *column, Datum value)
{
	if (column->by_value)
	{
		take(digester, (uint64) (uint32) value + 1);
		if (column->length > (int) sizeof(uint32))
			take(digester, (uint64) value >> 32);
	}
	else if (column->length == -1)
		take_varlena(digester, value);
	else if (column->length == -2)
	{
		Size		size = strlen(DatumGetCString(value));

		take(digester, (uint64) size + 1);
		take_bytes(digester, DatumGetCString(value), size);
	}
	else
	{
		take(digester, 1);
		take_bytes(digester, DatumGetPointer(value), column->length);
	}
}

/* The digest of some values of a row, in the order of the columns. */
RowDigest
row_digest(RowDigester *digester, const DigestColumn *columns, int count, const Datum *values, const bool *nulls)
{
	RowDigest	digest;

	digester->used = 0;
	digester->elements = 0;
	memset(digester->state, 0, sizeof(digester->state));
	for (int i = 0; i < count; i++)
	{
		int			position = columns[i].position;

		if (nulls[position])
			take(digester, 0);
		else
			take_value(digester, &columns[i], values[position]);
	}
	if (digester->used > 0)
		close_block(digester);
	for (int lane = 0; lane < DIGEST_LANES; lane++)
		digest.lanes[lane] = reduce(digester->state[lane] + digester->elements);
	return digest;
}
