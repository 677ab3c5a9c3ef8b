/*
 * threaded.c: memory, errors and texts of a thread that decodes.
 *
 * What a thread allocates hangs on its job, and goes when the job ends, however it ends.
 */
#include "threaded.h"
#include "restore_jobs.h"

#include <stdlib.h>
#include <sys/mman.h>

#undef palloc
#undef pfree

typedef struct ThreadedBlock
{
	struct ThreadedBlock *next;
	struct ThreadedBlock *previous;
	Size		size;
	char		padding[64 - 2 * sizeof(void *) - sizeof(Size)];
} ThreadedBlock;

StaticAssertDecl(sizeof(ThreadedBlock) == 64, "numbers behind a block's head are aligned");

/* Memory of at least this size is asked for in huge pages: faults of small ones cost as much as decoding. */
#define HUGE_PAGE ((Size) 2 * 1024 * 1024)

static __thread RestoreJob *current = NULL;

static ThreadedBlock *
block_of(void *pointer)
{
	return (ThreadedBlock *) ((char *) pointer - sizeof(ThreadedBlock));
}

static void *
link_in(ThreadedBlock *block)
{
	block->previous = NULL;
	block->next = current->blocks;
	if (block->next != NULL)
		block->next->previous = block;
	current->blocks = block;
	return (char *) block + sizeof(ThreadedBlock);
}

static void
link_out(ThreadedBlock *block)
{
	if (block->previous != NULL)
		block->previous->next = block->next;
	else
		current->blocks = block->next;
	if (block->next != NULL)
		block->next->previous = block->previous;
}

void *
threaded_alloc(Size size)
{
	Size		whole = size + sizeof(ThreadedBlock);
	Size		alignment = whole >= HUGE_PAGE ? HUGE_PAGE : 64;
	ThreadedBlock *block = aligned_alloc(alignment, TYPEALIGN(64, whole));

	if (block == NULL)
	{
		threaded_message("out of memory");
		threaded_detail("Decoding failed to get %zu bytes.", size);
		threaded_throw();
	}
#ifdef MADV_HUGEPAGE
	if (whole >= HUGE_PAGE)
		(void) madvise(block, TYPEALIGN_DOWN(HUGE_PAGE, whole), MADV_HUGEPAGE);
#endif
	block->size = size;
	return link_in(block);
}

void *
threaded_alloc_zero(Size size)
{
	return memset(threaded_alloc(size), 0, size);
}

void *
threaded_realloc(void *pointer, Size size)
{
	void	   *moved = threaded_alloc(size);

	memcpy(moved, pointer, Min(size, block_of(pointer)->size));
	threaded_free(pointer);
	return moved;
}

void
threaded_free(void *pointer)
{
	ThreadedBlock *block = block_of(pointer);

	link_out(block);
	free(block);
}

/* The numbers that a job leads to outlive it. */
void
threaded_keep(RestoreJob *job, char *numbers)
{
	ThreadedBlock *block = block_of(numbers);

	link_out(block);
	job->memory = block;
	job->numbers = numbers;
}

void
threaded_run(RestoreJob *job, void (*work) (RestoreJob *job))
{
	current = job;
	job->blocks = NULL;
	if (_setjmp(job->escape) == 0)
		work(job);
	else
		job->failed = true;
	while (job->blocks != NULL)
		threaded_free((char *) job->blocks + sizeof(ThreadedBlock));
	current = NULL;
}

/* ---- errors ---- */

void
threaded_throw(void)
{
	_longjmp(current->escape, 1);
}

int
threaded_code(int sqlstate)
{
	return 0;
}

int
threaded_message(const char *format,...)
{
	va_list		arguments;

	va_start(arguments, format);
	vsnprintf(current->message, sizeof(current->message), format, arguments);
	va_end(arguments);
	return 0;
}

int
threaded_detail(const char *format,...)
{
	va_list		arguments;

	va_start(arguments, format);
	vsnprintf(current->detail, sizeof(current->detail), format, arguments);
	va_end(arguments);
	return 0;
}

int
threaded_hint(const char *format,...)
{
	return 0;
}

/* Values in memory are as they are; there are no others. */
struct varlena *
threaded_no_toast(struct varlena *value, int32 first, int32 count)
{
	if (count < 0 && !VARATT_IS_EXTENDED(value))
		return value;
	threaded_message("a stored value was not fetched before it was decoded");
	threaded_throw();
}

/* ---- texts ---- */

void
threaded_text_start(StringInfo text)
{
	text->maxlen = 1024;
	text->data = threaded_alloc(text->maxlen);
	text->data[0] = '\0';
	text->len = 0;
	text->cursor = 0;
}

void
threaded_text_room(StringInfo text, int needed)
{
	if (needed < text->maxlen - text->len)
		return;
	text->maxlen = 2 * text->maxlen + needed;
	text->data = threaded_realloc(text->data, text->maxlen);
}

void
threaded_text_add(StringInfo text, const char *format,...)
{
	char		piece[256];
	va_list		arguments;

	va_start(arguments, format);
	vsnprintf(piece, sizeof(piece), format, arguments);
	va_end(arguments);
	threaded_text_add_bytes(text, piece, (int) strlen(piece));
}

void
threaded_text_add_char(StringInfo text, char c)
{
	threaded_text_add_bytes(text, &c, 1);
}

void
threaded_text_add_bytes(StringInfo text, const void *bytes, int length)
{
	threaded_text_room(text, length + 1);
	memcpy(text->data + text->len, bytes, length);
	text->len += length;
	text->data[text->len] = '\0';
}
