/*
 * pack_buffer.c: reference-counted memory of packed batches.
 *
 * A fresh large allocation costs a page fault for every 4 kB when it is first
 * written, more than packing itself. The last buffers that were released are
 * therefore kept for the next batch, up to a small total, and large ones ask
 * the kernel for huge pages.
 */
#include "pack.h"

#include <stdlib.h>
#include <sys/mman.h>

#define POOL_SLOTS 8
#define POOL_LARGEST ((Size) 64 * 1024 * 1024)
#define BUFFER_ALIGNMENT 64
#define HUGE_PAGE ((Size) 2 * 1024 * 1024)

static PackBuffer *pool[POOL_SLOTS];

static PackBuffer *
take_from_pool(Size size)
{
	for (int i = 0; i < POOL_SLOTS; i++)
	{
		PackBuffer *buffer = pool[i];

		if (buffer != NULL && buffer->capacity >= size && buffer->capacity / 2 <= size)
		{
			pool[i] = NULL;
			return buffer;
		}
	}
	return NULL;
}

static bool
give_to_pool(PackBuffer *buffer)
{
	if (buffer->capacity > POOL_LARGEST)
		return false;
	for (int i = 0; i < POOL_SLOTS; i++)
	{
		if (pool[i] == NULL)
		{
			pool[i] = buffer;
			return true;
		}
	}
	return false;
}

static void
destroy(PackBuffer *buffer)
{
	free(buffer->data);
	free(buffer);
}

static void *
allocate(Size capacity)
{
	void	   *data;

	if (capacity < 2 * HUGE_PAGE)
		return aligned_alloc(BUFFER_ALIGNMENT, capacity);
	data = aligned_alloc(HUGE_PAGE, TYPEALIGN(HUGE_PAGE, capacity));
#ifdef MADV_HUGEPAGE
	/* Only advice: where the kernel has no huge pages, plain ones do. */
	if (data != NULL)
		(void) madvise(data, TYPEALIGN(HUGE_PAGE, capacity), MADV_HUGEPAGE);
#endif
	return data;
}

/* A buffer of at least so many bytes, with one reference. Its content is undefined. */
PackBuffer *
pack_buffer_create(Size size)
{
	Size		capacity = TYPEALIGN(BUFFER_ALIGNMENT, Max(size, 1));
	PackBuffer *buffer = take_from_pool(capacity);

	if (buffer == NULL)
	{
		buffer = malloc(sizeof(PackBuffer));
		if (buffer != NULL)
		{
			buffer->capacity = capacity;
			buffer->data = allocate(capacity);
			if (buffer->data == NULL)
			{
				free(buffer);
				buffer = NULL;
			}
		}
	}
	if (buffer == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory"),
				 errdetail("Failed to allocate %zu bytes for a batch of rows.", capacity)));
	buffer->references = 1;
	return buffer;
}

void
delc_pack_buffer_retain(PackBuffer *buffer)
{
	buffer->references++;
}

void
delc_pack_buffer_release(PackBuffer *buffer)
{
	if (--buffer->references > 0)
		return;
	if (!give_to_pool(buffer))
		destroy(buffer);
}
