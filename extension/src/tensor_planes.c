/*
 * tensor_planes.c
 *	  Dense numbers to byte planes and back.
 *
 * The loops are written for the compiler's vectoriser: a fixed item size, one
 * counter, pointers that do not alias.  On x86-64 with GNU C they are compiled
 * twice, for the base instruction set and for AVX2, and the dynamic linker
 * chooses; no -march is needed.
 */
#include "tensor_format.h"

/* ---- split: planes[0] gets the most significant byte ---- */

PLANE_LOOP static void
split_2(const uint16 *restrict dense, int count,
		unsigned char *restrict a, unsigned char *restrict b)
{
	for (int i = 0; i < count; i++)
	{
		a[i] = dense[i] >> 8;
		b[i] = dense[i];
	}
}

PLANE_LOOP static void
split_4(const uint32 *restrict dense, int count,
		unsigned char *restrict a, unsigned char *restrict b,
		unsigned char *restrict c, unsigned char *restrict d)
{
	for (int i = 0; i < count; i++)
	{
		a[i] = dense[i] >> 24;
		b[i] = dense[i] >> 16;
		c[i] = dense[i] >> 8;
		d[i] = dense[i];
	}
}

PLANE_LOOP static void
split_8(const uint64 *restrict dense, int count, unsigned char *restrict a,
		unsigned char *restrict b, unsigned char *restrict c,
		unsigned char *restrict d, unsigned char *restrict e,
		unsigned char *restrict f, unsigned char *restrict g,
		unsigned char *restrict h)
{
	for (int i = 0; i < count; i++)
	{
		a[i] = dense[i] >> 56;
		b[i] = dense[i] >> 48;
		c[i] = dense[i] >> 40;
		d[i] = dense[i] >> 32;
		e[i] = dense[i] >> 24;
		f[i] = dense[i] >> 16;
		g[i] = dense[i] >> 8;
		h[i] = dense[i];
	}
}

/* ---- join ---- */

PLANE_LOOP static void
join_2(uint16 *restrict dense, int count,
	   const unsigned char *restrict a, const unsigned char *restrict b)
{
	for (int i = 0; i < count; i++)
		dense[i] = (uint16) (a[i] << 8 | b[i]);
}

PLANE_LOOP static void
join_4(uint32 *restrict dense, int count,
	   const unsigned char *restrict a, const unsigned char *restrict b,
	   const unsigned char *restrict c, const unsigned char *restrict d)
{
	for (int i = 0; i < count; i++)
		dense[i] = (uint32) a[i] << 24 | (uint32) b[i] << 16 |
			(uint32) c[i] << 8 | d[i];
}

PLANE_LOOP static void
join_8(uint64 *restrict dense, int count, const unsigned char *restrict a,
	   const unsigned char *restrict b, const unsigned char *restrict c,
	   const unsigned char *restrict d, const unsigned char *restrict e,
	   const unsigned char *restrict f, const unsigned char *restrict g,
	   const unsigned char *restrict h)
{
	for (int i = 0; i < count; i++)
		dense[i] = (uint64) a[i] << 56 | (uint64) b[i] << 48 |
			(uint64) c[i] << 40 | (uint64) d[i] << 32 |
			(uint64) e[i] << 24 | (uint64) f[i] << 16 |
			(uint64) g[i] << 8 | h[i];
}

/*
 * The loops above want aligned numbers; numbers elsewhere (a datum's payload,
 * a network message) pass through an aligned block.
 */
static bool
is_aligned(const void *pointer, int item_size)
{
	return ((uintptr_t) pointer & (item_size - 1)) == 0;
}

static void
split_block(const void *dense, int count, int item_size, unsigned char **p)
{
	uint64		aligned[TENSOR_BLOCK];

	if (!is_aligned(dense, item_size))
		dense = memcpy(aligned, dense, count * item_size);
	if (item_size == 2)
		split_2(dense, count, p[0], p[1]);
	else if (item_size == 4)
		split_4(dense, count, p[0], p[1], p[2], p[3]);
	else
		split_8(dense, count, p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7]);
}

/*
 * Split dense numbers into planes.  Planes whose pointer is NULL are not
 * wanted: their bytes go to a block that is overwritten again and again.
 */
void
delc_planes_split(const char *dense, int64 elements, int item_size,
				  char *const *planes)
{
	unsigned char unwanted[TENSOR_MAX_PLANES][TENSOR_BLOCK];

	if (item_size == 1)
	{
		if (planes[0] != NULL && elements > 0)
			memcpy(planes[0], dense, elements);
		return;
	}
	for (int64 start = 0; start < elements; start += TENSOR_BLOCK)
	{
		int			count = (int) Min(TENSOR_BLOCK, elements - start);
		unsigned char *p[TENSOR_MAX_PLANES];

		for (int plane = 0; plane < item_size; plane++)
			p[plane] = planes[plane] == NULL ? unwanted[plane] :
				(unsigned char *) planes[plane] + start;
		split_block(dense + start * item_size, count, item_size, p);
	}
}

static void
join_aligned(void *dense, int count, int item_size, const unsigned char **p)
{
	if (item_size == 2)
		join_2(dense, count, p[0], p[1]);
	else if (item_size == 4)
		join_4(dense, count, p[0], p[1], p[2], p[3]);
	else
		join_8(dense, count, p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7]);
}

/* Join at most TENSOR_BLOCK elements of planes into dense numbers. */
void
delc_planes_join(const char *const *planes, int64 elements, int item_size,
				 char *dense)
{
	const unsigned char **p = (const unsigned char **) planes;
	int			count = (int) elements;

	Assert(elements <= TENSOR_BLOCK);
	if (item_size == 1)
		memcpy(dense, planes[0], count);
	else if (is_aligned(dense, item_size))
		join_aligned(dense, count, item_size, p);
	else
	{
		uint64		aligned[TENSOR_BLOCK];

		join_aligned(aligned, count, item_size, p);
		memcpy(dense, aligned, count * item_size);
	}
}

/* ---- which planes are not constant ---- */

PLANE_LOOP static uint64
differences_1(const uint8 *dense, int count, uint8 first)
{
	uint8		differences = 0;

	for (int i = 0; i < count; i++)
		differences |= dense[i] ^ first;
	return differences;
}

PLANE_LOOP static uint64
differences_2(const uint16 *dense, int count, uint16 first)
{
	uint16		differences = 0;

	for (int i = 0; i < count; i++)
		differences |= dense[i] ^ first;
	return differences;
}

PLANE_LOOP static uint64
differences_4(const uint32 *dense, int count, uint32 first)
{
	uint32		differences = 0;

	for (int i = 0; i < count; i++)
		differences |= dense[i] ^ first;
	return differences;
}

PLANE_LOOP static uint64
differences_8(const uint64 *dense, int count, uint64 first)
{
	uint64		differences = 0;

	for (int i = 0; i < count; i++)
		differences |= dense[i] ^ first;
	return differences;
}

/* Bits in which any element of the block differs from first. */
static uint64
block_differences(const void *dense, int count, int item_size, uint64 first)
{
	uint64		aligned[TENSOR_BLOCK];

	if (!is_aligned(dense, item_size))
		dense = memcpy(aligned, dense, count * item_size);
	switch (item_size)
	{
		case 1:
			return differences_1(dense, count, (uint8) first);
		case 2:
			return differences_2(dense, count, (uint16) first);
		case 4:
			return differences_4(dense, count, (uint32) first);
		default:
			return differences_8(dense, count, first);
	}
}

/* The plane numbers, as bits, in which the differing bits lie. */
static unsigned int
planes_of_bits(uint64 bits, int item_size)
{
	unsigned int planes = 0;

	for (int plane = 0; plane < item_size; plane++)
	{
		if ((bits >> (8 * (item_size - 1 - plane))) & 0xFF)
			planes |= 1U << plane;
	}
	return planes;
}

/*
 * The planes that hold more than one byte value, as a bit set (bit p for plane
 * p).  Ends at the first block after which all planes are known to vary, so
 * that ordinary numbers cost one block.
 */
unsigned int
delc_planes_varying(const char *dense, int64 elements, int item_size)
{
	unsigned int all = (1U << item_size) - 1;
	unsigned int varying = 0;
	uint64		first = 0;
	uint64		bits = 0;

	if (elements == 0)
		return 0;
	memcpy(&first, dense, item_size);
	for (int64 start = 0; start < elements && varying != all;)
	{
		/* a short first look: most tensors vary within a few elements */
		int			count = (int) Min(start == 0 ? 32 : TENSOR_BLOCK,
									  elements - start);

		bits |= block_differences(dense + start * item_size, count, item_size,
								  first);
		varying = planes_of_bits(bits, item_size);
		start += count;
	}
	return varying;
}
