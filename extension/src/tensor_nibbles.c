/*
 * tensor_nibbles.c
 *	  Half bytes, two to a byte.
 *
 * Of each 64 elements the first 32 are in the lower halves of 32 bytes and the
 * others in the upper ones, so that vectors pack and unpack them; so are those
 * of a last group of fewer, halved with the odd one in the first half.
 */
#include "tensor_dense.h"

#define HALF_GROUP (NIBBLE_GROUP / 2)

PLANE_LOOP static void
pack_groups(const uint8 *restrict nibbles, int64 groups, uint8 *restrict packed)
{
	for (int64 group = 0; group < groups; group++)
	{
		for (int i = 0; i < HALF_GROUP; i++)
			packed[i] = nibbles[i] | nibbles[i + HALF_GROUP] << 4;
		nibbles += NIBBLE_GROUP;
		packed += HALF_GROUP;
	}
}

PLANE_LOOP static void
unpack_groups(const uint8 *restrict packed, int64 groups, uint8 *restrict nibbles)
{
	for (int64 group = 0; group < groups; group++)
	{
		for (int i = 0; i < HALF_GROUP; i++)
		{
			nibbles[i] = packed[i] & 15;
			nibbles[i + HALF_GROUP] = packed[i] >> 4;
		}
		nibbles += NIBBLE_GROUP;
		packed += HALF_GROUP;
	}
}

void
delc_nibbles_pack(const uint8 *nibbles, int64 elements, uint8 *packed)
{
	int64		groups = elements / NIBBLE_GROUP;
	int64		done = groups * NIBBLE_GROUP;
	int64		half = NIBBLE_BYTES(elements - done);

	pack_groups(nibbles, groups, packed);
	for (int64 i = 0; i < half; i++)
	{
		uint8		upper = done + half + i < elements ? nibbles[done + half + i] : 0;

		packed[done / 2 + i] = nibbles[done + i] | upper << 4;
	}
}

void
delc_nibbles_unpack(const uint8 *packed, int64 elements, uint8 *nibbles)
{
	int64		groups = elements / NIBBLE_GROUP;
	int64		done = groups * NIBBLE_GROUP;
	int64		half = NIBBLE_BYTES(elements - done);

	unpack_groups(packed, groups, nibbles);
	for (int64 i = 0; i < half; i++)
	{
		nibbles[done + i] = packed[done / 2 + i] & 15;
		if (done + half + i < elements)
			nibbles[done + half + i] = packed[done / 2 + i] >> 4;
	}
}

PLANE_LOOP void
delc_nibbles_join(const uint8 *restrict upper, const uint8 *restrict lower,
				  int64 elements, uint8 *restrict bytes)
{
	for (int64 i = 0; i < elements; i++)
		bytes[i] = upper[i] << 4 | lower[i];
}

PLANE_LOOP void
delc_nibbles_split(const uint8 *restrict bytes, int64 elements,
				   uint8 *restrict upper, uint8 *restrict lower)
{
	for (int64 i = 0; i < elements; i++)
	{
		upper[i] = bytes[i] >> 4;
		lower[i] = bytes[i] & 15;
	}
}
