/*
 * fuzz_delta.c
 *	  Random damage to deltas, under the address and undefined behaviour sanitizers.
 *
 * Usage: fuzz_delta CASES.  Each case takes a valid delta of some dtype, method and pair of shapes, damages it,
 * and applies it to its base from a block of just its size; every now and then undamaged, which
 * must lead to the target, or with its checksums ignored, as for first planes.
 */
#include "delta.h"

#include "server.h"

typedef struct Sample
{
	DelcTensorHeader base;
	DelcTensorHeader target;
	char	   *base_numbers;
	char	   *grandbase_numbers;
	char	   *target_numbers;
	char	   *delta;
	size_t		length;
} Sample;

#define SAMPLES 120

static Sample samples[SAMPLES];

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

static void *
kept(const void *bytes, size_t length)
{
	return memcpy(malloc(length + 1), bytes, length);
}

/* Numbers that differ a little from others, with a few that are anything. */
static void
change(char *numbers, const char *from, const DelcTensorHeader *header, uint32 reach)
{
	int			size = header->item_size;

	memcpy(numbers, from, header->raw_bytes);
	for (int64 i = 0; i < header->elements; i++)
	{
		if (header->dtype == DELC_BOOL)
			numbers[i] = draw(8) == 0;
		else if (draw(100) == 0)
			numbers[i * size + draw(size)] = (char) draw(256);
		else
			numbers[i * size] += (char) draw(reach);
	}
}

static void
make_sample(int i)
{
	Sample	   *sample = &samples[i];
	int			dtype = 1 + i % DELC_DTYPE_LAST;
	int64		dims[3] = {1 + draw(40), 1 + draw(60), 1 + draw(3)};
	bool		reshaped = i % 5 == 4;
	DeltaInput	input = {0};
	struct varlena *delta;

	delc_shape_set(&sample->base, dtype, 2 + i % 2, dims, 0);
	if (reshaped)
		dims[0] += draw(5);
	delc_shape_set(&sample->target, dtype, 2 + i % 2, dims, 0);
	sample->base_numbers = malloc(sample->base.raw_bytes);
	sample->grandbase_numbers = malloc(sample->base.raw_bytes);
	sample->target_numbers = calloc(1, sample->target.raw_bytes);
	for (int64 byte = 0; byte < sample->base.raw_bytes; byte++)
		sample->grandbase_numbers[byte] = (char) (dtype == DELC_BOOL ? draw(2) : draw(i % 3 ? 256 : 12));
	change(sample->base_numbers, sample->grandbase_numbers, &sample->base, 20);
	if (reshaped)
		change(sample->target_numbers, sample->target_numbers, &sample->target, 200);
	else
		change(sample->target_numbers, sample->base_numbers, &sample->base, 20);
	input.base = sample->base;
	input.header = sample->target;
	input.base_numbers = sample->base_numbers;
	input.target_numbers = sample->target_numbers;
	input.grandbase_numbers = i % 2 ? sample->grandbase_numbers : NULL;
	delta = delc_delta_encode(&input, i / DELC_DTYPE_LAST % 3);
	sample->length = VARSIZE(delta) - VARHDRSZ;
	sample->delta = kept(VARDATA(delta), sample->length);
	release_all();
}

/* A copy in a block of just its size, damaged or not. */
static char *
damaged(const Sample *sample, int changes, size_t *length)
{
	char	   *bytes = memcpy(palloc(sample->length), sample->delta, sample->length);
	char	   *exact;

	*length = sample->length;
	for (int i = 0; i < changes && *length > 0; i++)
	{
		size_t		at = draw(draw(2) ? (uint32) Min(*length, 120) : (uint32) *length);

		if (draw(12) == 0)
			*length = at;
		else if (draw(2))
			bytes[at] ^= (char) (1 << draw(8));
		else
			bytes[at] = (char) draw(256);
	}
	exact = palloc(*length);
	return memcpy(exact, bytes, *length);
}

static void
begin(DeltaChain *chain, const Sample *sample, int planes)
{
	delc_chain_start(chain, NULL, planes);
	chain->header = sample->base;
	chain->numbers = memcpy(palloc(sample->base.raw_bytes), sample->base_numbers, sample->base.raw_bytes);
	chain->crc = delc_numbers_crc(chain->numbers, sample->base.raw_bytes);
	chain->previous = memcpy(palloc(sample->base.raw_bytes), sample->grandbase_numbers, sample->base.raw_bytes);
	chain->previous_crc = delc_numbers_crc(chain->previous, sample->base.raw_bytes);
	chain->values = 1;
}

static bool
try(int changes)
{
	const Sample *sample = &samples[draw(SAMPLES)];
	int			planes = draw(3) ? 0 : 1 + draw(sample->base.item_size);
	DeltaChain	chain;
	StoredValue stored = {0};
	size_t		length;

	stored.bytes = damaged(sample, changes, &length);
	stored.length = length;
	begin(&chain, sample, planes >= sample->base.item_size ? 0 : planes);
	if (setjmp(on_error) != 0)
		return false;
	delc_chain_add(&chain, &stored);
	if (changes == 0 && chain.planes == 0 &&
		memcmp(chain.numbers, sample->target_numbers, sample->target.raw_bytes) != 0)
	{
		fprintf(stderr, "lost in a delta of %s\n", delc_dtype_name(sample->target.dtype));
		abort();
	}
	return true;
}

int
main(int count, char **arguments)
{
	long		cases = count > 1 ? atol(arguments[1]) : 100000;
	long		accepted = 0;

	for (int i = 0; i < SAMPLES; i++)
		make_sample(i);
	for (long i = 0; i < cases; i++)
	{
		accepted += try(i % 8 == 0 ? 0 : 1 + draw(3));
		release_all();
	}
	printf("%ld deltas, %ld applied, none out of bounds\n", cases, accepted);
	return accepted > 0 ? 0 : 1;
}
