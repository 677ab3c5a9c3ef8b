/*
 * fuzz_delta.c
 *	  Random damage to deltas, under the address and undefined behaviour sanitizers.
 *
 * Usage: fuzz_delta CASES.  Each case takes a valid delta of some dtype, method and pair of shapes, damages it,
 * and applies it, or its first planes, to its base from a block of just its size; every now and then undamaged.
 * What is not refused must lead to the target.
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

/* Where the header of a damaged delta ends, by what it says of itself. */
static size_t
header_end(const char *bytes, size_t length)
{
	size_t		at = TENSOR_FIXED_BYTES + 8 * (uint8) bytes[4];
	int64		elements = 1;
	size_t		segments;

	if (at + DELTA_FIXED_BYTES > length)
		return 0;
	for (size_t dim = TENSOR_FIXED_BYTES; dim < at; dim += 8)
	{
		int64		size;

		memcpy(&size, bytes + dim, 8);
		if (size < 0 || size > TENSOR_MAX_BYTES)
			return 0;
		elements = Min(elements * size, TENSOR_MAX_BYTES);
	}
	segments = (elements + DELTA_BLOCK - 1) / DELTA_BLOCK;
	if (bytes[at] == DELTA_SUB)
		segments += DELTA_SUB_BYTES / 4;
	else
		segments = (segments + 1) * (uint8) bytes[5] - 1;
	at += DELTA_FIXED_BYTES + 8 * (uint8) bytes[at + 1] + 4 * segments;
	return at > length ? 0 : at;
}

/* A damaged header with the checksum that it should have, so that damage gets past it. */
static void
seal(char *bytes, size_t length)
{
	size_t		end = length < TENSOR_FIXED_BYTES ? 0 : header_end(bytes, length);
	uint32		crc;

	if (end == 0)
		return;
	crc = delc_header_crc(bytes, (int) end);
	memcpy(bytes + TENSOR_CRC_OFFSET, &crc, 4);
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
	if (changes > 0 && draw(8) > 0)
		seal(bytes, *length);
	exact = palloc(*length);
	return memcpy(exact, bytes, *length);
}

/* Numbers, or their first planes with zeros below. */
static char *
first_planes(const DelcTensorHeader *header, const char *numbers, int planes)
{
	char	   *copy = memcpy(palloc(header->raw_bytes), numbers, header->raw_bytes);

	for (int64 byte = 0; planes > 0 && byte < header->raw_bytes; byte++)
	{
		if (byte % header->item_size < header->item_size - planes)
			copy[byte] = 0;
	}
	return copy;
}

static void
begin(DeltaChain *chain, const Sample *sample, int planes)
{
	const DelcTensorHeader *base = &sample->base;

	delc_chain_start(chain, NULL, planes);
	chain->keeps_previous = draw(2) == 0;
	chain->header = *base;
	chain->numbers = first_planes(base, sample->base_numbers, planes);
	chain->crc = delc_crc32c(chain->numbers, base->raw_bytes);
	chain->previous = first_planes(base, sample->grandbase_numbers, planes);
	chain->previous_crc = delc_crc32c(chain->previous, base->raw_bytes);
	chain->values = 1;
}

/* What is accepted must be the target: all of it, or its first planes. */
static bool
right(const Sample *sample, const DeltaChain *chain)
{
	int			size = sample->target.item_size;
	int			planes = chain->planes == 0 ? size : chain->planes;

	for (int64 byte = 0; byte < sample->target.raw_bytes; byte++)
	{
		bool		wanted = byte % size >= size - planes;

		if (chain->numbers[byte] != (wanted ? sample->target_numbers[byte] : 0))
			return false;
	}
	return true;
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
	if (!right(sample, &chain))
	{
		fprintf(stderr, "wrong numbers from a delta of %s\n", delc_dtype_name(sample->target.dtype));
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
