/*
 * row_digest.h: digests of rows under a random key, equal for rows whose values have the same images.
 */
#ifndef DELC_ROW_DIGEST_H
#define DELC_ROW_DIGEST_H

#include "postgres.h"

#define DIGEST_LANES	2
#define DIGEST_BLOCK	64

/* Which value of a row, and how its type is stored. */
typedef struct DigestColumn
{
	int			position;		/* from 0 */
	int16		length;			/* typlen */
	bool		by_value;
} DigestColumn;

typedef struct RowDigest
{
	uint64		lanes[DIGEST_LANES];
} RowDigest;

typedef struct RowDigester
{
	/* the key, drawn at random */
	uint64		multipliers[DIGEST_LANES][DIGEST_BLOCK];
	uint64		points[DIGEST_LANES];
	/* of the row at hand: a block of elements, and what became of the blocks before it */
	uint64		block[DIGEST_BLOCK];
	int			used;
	uint64		elements;		/* in all blocks before it */
	uint64		state[DIGEST_LANES];
} RowDigester;

extern void row_digester_begin(RowDigester *digester);
extern RowDigest row_digest(RowDigester *digester, const DigestColumn *columns, int count,
							const Datum *values, const bool *nulls);

static inline bool
same_digests(const RowDigest *a, const RowDigest *b)
{
	return a->lanes[0] == b->lanes[0] && a->lanes[1] == b->lanes[1];
}

#endif							/* DELC_ROW_DIGEST_H */
