/*
 * threaded.c: memory, errors and texts of a thread that decodes.
 *
 * What a thread allocates hangs on its job, and goes when the job ends, however it ends.
 */
#include "threaded.h"
#include "restore_jobs.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#undef palloc
#undef pfree

typedef struct ThreadedBlock
{
	struct ThreadedBlock *next;
	struct ThreadedBlock *previous;
	Size		size;
	Size		mapped;			/* bytes from the kernel, the head included; 0: it is malloc'd */
	char		padding[64 - 2 * sizeof(void *) - 2 * sizeof(Size)];
} ThreadedBlock;

StaticAssertDecl(sizeof(ThreadedBlock) == 64, "numbers behind a block's head are aligned");

/* Memory of at least this size is asked for in huge pages: faults of small ones cost as much as decoding. */
#define HUGE_PAGE ((Size) 2 * 1024 * 1024)

/*
 * Memory of at least this size comes from the kernel and goes back to it.  What threads free with free() would stay with
 * the process: each has an arena of its own.
 */
#define LEAST_MAPPED ((Size) 256 * 1024)

static __thread RestoreJob *current = NULL;

/* One mapped block that was freed: the next job of the thread often needs the same, and its pages are there. */
static __thread ThreadedBlock *spare = NULL;

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

/* Pages from the kernel that begin where a huge page can, if there is room for one; NULL if there is no memory. */
static void *
map(Size size)
{
	Size		spare = size >= HUGE_PAGE ? HUGE_PAGE : 0;
	char	   *mapped = mmap(NULL, size + spare, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char	   *start;

	if (mapped == MAP_FAILED)
		return NULL;
	if (spare == 0)
		return mapped;
	start = (char *) TYPEALIGN(HUGE_PAGE, mapped);
	if (start > mapped)
		(void) munmap(mapped, start - mapped);
	if (mapped + spare > start)
		(void) munmap(start + size, mapped + spare - start);
#ifdef MADV_HUGEPAGE
	(void) madvise(start, size, MADV_HUGEPAGE); /* a hint: it may be refused */
#endif
	return start;
}

static ThreadedBlock *
take_mapped(Size bytes)
{
	ThreadedBlock *block = spare;

	if (block != NULL && block->mapped >= bytes && block->mapped <= bytes + bytes / 8)
	{
		spare = NULL;
		return block;
	}
	block = map(bytes);
	if (block != NULL)
		block->mapped = bytes;
	return block;
}

static ThreadedBlock *
take(Size size)
{
	Size		bytes = size + sizeof(ThreadedBlock);
	ThreadedBlock *block;

	if (bytes >= LEAST_MAPPED)
		return take_mapped(TYPEALIGN(sysconf(_SC_PAGESIZE), bytes));
	block = aligned_alloc(64, TYPEALIGN(64, bytes));
	if (block != NULL)
		block->mapped = 0;
	return block;
}

void *
threaded_alloc(Size size)
{
	ThreadedBlock *block = take(size);

	if (block == NULL)
	{
		current->out_of_memory = true;
		threaded_message("out of memory");
		threaded_detail("Decoding failed to get %zu bytes.", size);
		threaded_throw();
	}
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
	ThreadedBlock *before = spare;

	link_out(block);
	if (block->mapped > 0)
	{
		spare = block;
		block = before;
	}
	threaded_release(block);
}

/* Frees what a job kept; NULL is nothing.  Any thread may. */
void
threaded_release(void *memory)
{
	ThreadedBlock *block = memory;

	if (block != NULL && block->mapped > 0)
		(void) munmap(block, block->mapped);
	else
		free(block);
}

/* At the end of a thread's work. */
void
threaded_rest(void)
{
	threaded_release(spare);
	spare = NULL;
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
