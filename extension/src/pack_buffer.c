/*
 * pack_buffer.c: reference-counted memory of packed batches.
 *
 * A fresh large allocation costs a page fault for every 4 kB when it is first
 * written, as much as packing itself. The last buffers that were released are
 * therefore kept for the next batch, up to a small total.
 */
#include "pack.h"

#include <stdlib.h>

#define POOL_SLOTS 8
#define POOL_LARGEST ((Size) 64 * 1024 * 1024)
#define BUFFER_ALIGNMENT 64

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
			buffer->data = aligned_alloc(BUFFER_ALIGNMENT, capacity);
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
