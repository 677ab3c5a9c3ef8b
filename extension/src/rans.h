/*
 * rans.h
 *	  An entropy coder for symbols of one byte: range asymmetric numeral systems
 *	  (Duda, "Asymmetric numeral systems", arXiv:1311.2540), interleaved (Giesen,
 *	  "Interleaved entropy coders", arXiv:1402.3392).
 *
 * A stream codes n symbols, each in one of up to RANS_MAX_CONTEXTS contexts with
 * frequencies of its own, which stand at the beginning of the stream.  Neither n nor
 * the contexts are part of the stream: whoever decodes knows n and has computed
 * the same contexts, from what was decoded before.
 *
 * Nothing here allocates, reports errors or knows of PostgreSQL's memory:
 * damage is a return value, and working memory is the caller's.
 */
#ifndef DELC_RANS_H
#define DELC_RANS_H

#include "postgres.h"

#define RANS_MAX_CONTEXTS 64

/* Frequencies are in parts of at most 2^RANS_MAX_BITS. */
#define RANS_MAX_BITS 12

/* How one symbol is encoded. */
typedef struct RansSymbol
{
	uint64		reciprocal;		/* of the frequency */
	uint64		limit;			/* from which a state sheds a word first */
	uint32		bias;
	uint32		complement;		/* 2^bits - frequency */
} RansSymbol;

/* What the encoder learns of the symbols, and its working memory (2 MB). */
typedef struct RansModel
{
	int			contexts;
	int			bits;			/* frequencies add up to 2^bits */
	double		waste;			/* the caller's: fewer bits are taken, whose smaller tables are faster to
								 * look up in, for at most this share of the size */
	uint32		counts[RANS_MAX_CONTEXTS][256];
	uint16		frequencies[RANS_MAX_CONTEXTS][256];
	uint16		trial[RANS_MAX_CONTEXTS][256];
	RansSymbol	symbols[RANS_MAX_CONTEXTS][256];
} RansModel;

/* The decoder's working memory, in uint32: one entry per slot and context. */
#define RANS_TABLE_ENTRIES(contexts) ((size_t) (contexts) << RANS_MAX_BITS)

/*
 * Count n symbols and settle the frequencies.  contexts has a byte below
 * context_count for each symbol, or is NULL where context_count is 1.  False when
 * a context or context_count is out of range.
 */
extern bool delc_rans_learn(RansModel *model, const uint8 *symbols,
							const uint8 *contexts, int context_count, size_t n);

/*
 * delc_rans_learn is these two.  Between them delc_rans_cost tells in bits what symbols like
 * the counted ones will take, about, each of which stands for weight many: to choose between
 * contexts by a sample, without settling each.  delc_rans_overhead is the bytes that a
 * stream has besides.
 */
extern bool delc_rans_count(RansModel *model, const uint8 *symbols,
							const uint8 *contexts, int context_count, size_t n);
extern double delc_rans_cost(const RansModel *model, double weight);
extern double delc_rans_context_cost(const uint32 *counts, double weight);
extern size_t delc_rans_overhead(size_t n);
extern void delc_rans_settle(RansModel *model);

/* The bytes that a stream of the learnt symbols will have, within about 0.1 %. */
extern size_t delc_rans_estimate(const RansModel *model, size_t n);

/* The most bytes that a stream of n symbols can have. */
extern size_t delc_rans_bound(size_t n, int context_count);

/*
 * Encode the symbols that the model was learnt of.  Returns the stream's
 * length, or 0 when it does not fit into out_size bytes.
 */
extern size_t delc_rans_encode(RansModel *model, const uint8 *symbols,
							   const uint8 *contexts, size_t n, uint8 *out,
							   size_t out_size);

/*
 * Decode exactly n symbols of a stream of just length bytes.  table is working memory of
 * RANS_TABLE_ENTRIES(context_count).  False when the stream is damaged, or a
 * context is out of range; symbols then holds anything.
 */
extern bool delc_rans_decode(const uint8 *stream, size_t length,
							 const uint8 *contexts, int context_count, size_t n,
							 uint8 *symbols, uint32 *table);

/* ---- the same in pieces ---- */

#define RANS_LANES 64

/* A group of RANS_LANES symbols reads no further than this from where it begins. */
#define RANS_GROUP_READS 128

typedef struct RansDecoder
{
	const uint32 *table;
	int			contexts;
	int			bits;
	int			lanes;
	uint32		states[RANS_LANES];
	const uint8 *at;			/* the next word */
	const uint8 *end;
	bool		at_rest;		/* at and end are in rest */
	uint8		rest[2 * RANS_GROUP_READS]; /* the last words, and room behind */
} RansDecoder;

/* Begin to decode; stream and table must stay.  False when the stream is damaged. */
extern bool delc_rans_open(RansDecoder *decoder, const uint8 *stream,
						   size_t length, int context_count, uint32 *table);

/*
 * Decode the next n symbols; n is a multiple of RANS_LANES but for the last piece.
 * False when the stream is damaged or a context is out of range.
 */
extern bool delc_rans_read(RansDecoder *decoder, const uint8 *contexts, size_t n,
						   uint8 *symbols);

/* After the last symbol: is the stream used up, to the bit? */
extern bool delc_rans_finished(const RansDecoder *decoder);

#endif							/* DELC_RANS_H */
