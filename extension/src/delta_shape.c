/*
 * delta_shape.c
 *	  A base in the shape of what is made from it, and checksums of numbers.
 */
#include "delta.h"

#include "utils/memutils.h"

/*
 * Do numbers correspond one by one?  So they do where there are as many: then the shapes are equal
 * or one is the other reshaped.
 */
bool
delc_same_frame(const DelcTensorHeader *a, const DelcTensorHeader *b)
{
	return a->elements == b->elements;
}

/* Dimensions with ones in front, up to rank. */
static void
padded(const DelcTensorHeader *header, int rank, int64 *dims)
{
	int			missing = rank - header->rank;

	for (int axis = 0; axis < rank; axis++)
		dims[axis] = axis < missing ? 1 : header->dims[axis - missing];
}

typedef struct Corner
{
	int			rank;
	int			item_size;
	int64		from[TENSOR_MAX_RANK];
	int64		to[TENSOR_MAX_RANK];
	int64		from_bytes[TENSOR_MAX_RANK];	/* of one step along the axis */
	int64		to_bytes[TENSOR_MAX_RANK];
} Corner;

static void
copy_corner(const Corner *corner, int axis, const char *source, char *target)
{
	int64		common = Min(corner->from[axis], corner->to[axis]);

	if (axis == corner->rank - 1)
	{
		memcpy(target, source, common * corner->item_size);
		return;
	}
	for (int64 i = 0; i < common; i++)
		copy_corner(corner, axis + 1, source + i * corner->from_bytes[axis],
					target + i * corner->to_bytes[axis]);
}

/*
 * A base in another shape: what both have, the leading corner of every dimension (shapes
 * of lower rank with ones in front), and zeros in the rest.
 */
char *
delc_aligned(MemoryContext context, const DelcTensorHeader *from, const char *numbers,
			 const DelcTensorHeader *to)
{
	Corner		corner = {.rank = Max(Max(from->rank, to->rank), 1),.item_size = to->item_size};
	char	   *aligned = MemoryContextAllocZero(context, Max(to->raw_bytes, 1));
	int64		from_bytes = to->item_size;
	int64		to_bytes = to->item_size;

	if (from->elements == 0 || to->elements == 0)
		return aligned;
	padded(from, corner.rank, corner.from);
	padded(to, corner.rank, corner.to);
	for (int axis = corner.rank - 1; axis >= 0; axis--)
	{
		corner.from_bytes[axis] = from_bytes;
		corner.to_bytes[axis] = to_bytes;
		from_bytes *= corner.from[axis];
		to_bytes *= corner.to[axis];
	}
	copy_corner(&corner, 0, numbers, aligned);
	return aligned;
}

/* Of numbers of which the planes below the first so many are zero, or are taken for zero. */
uint32
delc_leading_crc(const DelcTensorHeader *header, const char *numbers, int planes)
{
	uint64		mask = PG_UINT64_MAX << 8 * (TENSOR_MAX_PLANES - planes);
	uint32		crc = CRC32C_START;
	uint64		run[DELTA_RUN];

	if (header->item_size < TENSOR_MAX_PLANES)
		mask >>= 8 * (TENSOR_MAX_PLANES - header->item_size);
	for (int copies = header->item_size; copies < 8; copies *= 2)
		mask |= mask << 8 * copies;
	for (int64 at = 0; at < header->raw_bytes; at += sizeof(run))
	{
		int64		bytes = Min((int64) sizeof(run), header->raw_bytes - at);

		memcpy(run, numbers + at, bytes);
		for (int i = 0; i < DELTA_RUN; i++)
			run[i] &= mask;
		crc = delc_crc32c_add(crc, run, bytes);
	}
	return crc ^ 0xFFFFFFFF;
}
