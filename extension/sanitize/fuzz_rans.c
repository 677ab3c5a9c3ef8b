/*
 * fuzz_rans.c
 *	  The entropy coder under the address and undefined behaviour sanitizers:
 *	  what was encoded comes back, and damage is noticed or gives other symbols.
 *
 * Usage: fuzz_rans CASES.  Each case draws a number of symbols, contexts and frequencies,
 * encodes them into a block of just the stream's size, decodes it, and decodes damaged
 * copies.
 */
#include "rans.h"

#define MOST_SYMBOLS 300000

/* xorshift: the same cases every time */
static uint64 random_state = UINT64CONST(88172645463325252);

static uint32
draw(uint32 below)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32) (random_state >> 32) % below;
}

static RansModel model;

typedef struct Case
{
	size_t		n;
	int			context_count;
	uint8	   *contexts;		/* blocks of just their size */
	uint8	   *symbols;
	uint8	   *stream;
	size_t		length;
} Case;

static void *
block(size_t size)
{
	void	   *bytes = malloc(size);

	if (bytes == NULL && size > 0)
		abort();
	return bytes;
}

/* Symbols of few or many values, rare or frequent. */
static void
draw_symbols(Case *c)
{
	int			values = 1 + draw(256);
	int			rare = 1 + draw(1000);

	for (size_t i = 0; i < c->n; i++)
	{
		c->contexts[i] = (uint8) draw(c->context_count);
		c->symbols[i] = draw(rare) < 4 ? (uint8) draw(values) : c->contexts[i] & 3;
	}
}

static void
encode(Case *c)
{
	size_t		bound = delc_rans_bound(c->n, c->context_count);
	uint8	   *room = block(bound);
	const uint8 *contexts = c->context_count == 1 && draw(2) ? NULL : c->contexts;
	size_t		estimate;

	if (!delc_rans_learn(&model, c->symbols, contexts, c->context_count, c->n))
		abort();
	c->length = delc_rans_encode(&model, c->symbols, contexts, c->n, room, bound);
	estimate = delc_rans_estimate(&model, c->n);
	if (c->length == 0 || estimate > c->length + c->length / 50 + 140 ||
		c->length > estimate + estimate / 50 + 140)
		abort();
	c->stream = memcpy(block(c->length), room, c->length);
	free(room);
	/* where there is too little room, it says so */
	if (delc_rans_encode(&model, c->symbols, contexts, c->n, c->stream, c->length / 2) != 0)
		abort();
	room = block(bound);
	c->length = delc_rans_encode(&model, c->symbols, contexts, c->n, room, bound);
	memcpy(c->stream, room, c->length);
	free(room);
}

static bool
decodes(const Case *c, const uint8 *stream, size_t length, uint8 *symbols)
{
	uint32	   *table = block(RANS_TABLE_ENTRIES(c->context_count) * sizeof(uint32));
	bool		right = delc_rans_decode(stream, length, c->contexts, c->context_count,
										 c->n, symbols, table);

	free(table);
	return right;
}

static bool
decodes_damaged(const Case *c, uint8 *symbols)
{
	size_t		length = draw(4) ? c->length : draw((uint32) c->length + 1);
	uint8	   *damaged = memcpy(block(length), c->stream, length);
	bool		accepted;

	for (int changes = draw(3); changes >= 0 && length > 0; changes--)
		damaged[draw(draw(2) ? (uint32) Min(length, 300) : (uint32) length)] = (uint8) draw(256);
	accepted = decodes(c, damaged, length, symbols);
	free(damaged);
	return accepted;
}

int
main(int count, char **arguments)
{
	long		cases = count > 1 ? atol(arguments[1]) : 4000;
	long		accepted = 0;

	for (long i = 0; i < cases; i++)
	{
		Case		c = {.n = draw(4) ? draw(500) : draw(draw(32) ? 50000 : MOST_SYMBOLS)};
		uint8	   *decoded = block(c.n);

		c.context_count = 1 + draw(draw(2) ? 4 : RANS_MAX_CONTEXTS);
		c.contexts = block(c.n);
		c.symbols = block(c.n);
		draw_symbols(&c);
		encode(&c);
		if (!decodes(&c, c.stream, c.length, decoded) ||
			(c.n > 0 && memcmp(decoded, c.symbols, c.n) != 0))
			abort();
		for (int damage = 0; damage < 4; damage++)
			accepted += decodes_damaged(&c, decoded);
		if (c.n > 0)
		{
			c.contexts[draw((uint32) c.n)] = (uint8) c.context_count;
			if (decodes(&c, c.stream, c.length, decoded))
				abort();
		}
		free(c.contexts);
		free(c.symbols);
		free(c.stream);
		free(decoded);
	}
	printf("%ld cases of the entropy coder, %ld of %ld damaged streams decode to other symbols, none out of bounds\n",
		   cases, accepted, 4 * cases);
	return 0;
}
