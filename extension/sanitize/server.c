/*
 * server.c
 *	  The few server functions that the tensor type calls, on plain malloc.
 *
 * With them the type's own sources run in an ordinary program, where the
 * address sanitizer sees each allocation; in a server it would see memory
 * contexts only.
 */
#include "postgres.h"

#include <setjmp.h>

#include "lib/stringinfo.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "access/detoast.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "server.h"

jmp_buf		on_error;

/* ---- memory: every case ends with all of it released ---- */

typedef struct Allocation
{
	struct Allocation *next;
	struct Allocation *previous;
	char		bytes[FLEXIBLE_ARRAY_MEMBER];
} Allocation;

/* malloc's alignment holds for bytes: two pointers come before it */
static Allocation allocations = {&allocations, &allocations};

static Allocation *
link_in(Allocation *allocation)
{
	if (allocation == NULL)
		abort();
	allocation->next = allocations.next;
	allocation->previous = &allocations;
	allocation->next->previous = allocation;
	allocations.next = allocation;
	return allocation;
}

static Allocation *
link_out(void *pointer)
{
	Allocation *allocation = (Allocation *) ((char *) pointer - offsetof(Allocation, bytes));

	allocation->next->previous = allocation->previous;
	allocation->previous->next = allocation->next;
	return allocation;
}

void *
palloc(Size size)
{
	return link_in(malloc(offsetof(Allocation, bytes) + size))->bytes;
}

void *
palloc0(Size size)
{
	return memset(palloc(size), 0, size);
}

void *
repalloc(void *pointer, Size size)
{
	return link_in(realloc(link_out(pointer), offsetof(Allocation, bytes) + size))->bytes;
}

void
pfree(void *pointer)
{
	free(link_out(pointer));
}

char *
pstrdup(const char *text)
{
	return strcpy(palloc(strlen(text) + 1), text);
}

/* There is one context. */
MemoryContext CurrentMemoryContext = NULL;

void *
MemoryContextAlloc(MemoryContext context, Size size)
{
	return palloc(size);
}

void *
MemoryContextAllocZero(MemoryContext context, Size size)
{
	return palloc0(size);
}

void
release_all(void)
{
	while (allocations.next != &allocations)
		pfree(allocations.next->bytes);
}

/* ---- interrupts: there are none ---- */

volatile sig_atomic_t InterruptPending = false;
volatile sig_atomic_t QueryCancelPending = false;
volatile sig_atomic_t ProcDiePending = false;

/* ---- errors ---- */

bool
errstart(int level, const char *domain)
{
	return true;
}

bool
errstart_cold(int level, const char *domain)
{
	return true;
}

void
errfinish(const char *file, int line, const char *function)
{
	longjmp(on_error, 1);
}

int
errcode(int sqlstate)
{
	return 0;
}

/* Messages are formatted, so that their arguments are read. */
#define MESSAGE_FUNCTION(name) \
int \
name(const char *format,...) \
{ \
	char		text[2048]; \
	va_list		arguments; \
	va_start(arguments, format); \
	vsnprintf(text, sizeof(text), format, arguments); \
	va_end(arguments); \
	return 0; \
}

MESSAGE_FUNCTION(errmsg)
MESSAGE_FUNCTION(errmsg_internal)
MESSAGE_FUNCTION(errdetail)
MESSAGE_FUNCTION(errdetail_internal)
MESSAGE_FUNCTION(errhint)

/* ---- values: none is TOASTed here ---- */

struct varlena *
pg_detoast_datum(struct varlena *value)
{
	return value;
}

struct varlena *
pg_detoast_datum_packed(struct varlena *value)
{
	return value;
}

struct varlena *
pg_detoast_datum_copy(struct varlena *value)
{
	return memcpy(palloc(VARSIZE(value)), value, VARSIZE(value));
}

struct varlena *
pg_detoast_datum_slice(struct varlena *value, int32 first, int32 count)
{
	int32		length = Min(count, (int32) VARSIZE(value) - VARHDRSZ - first);
	struct varlena *slice = palloc(VARHDRSZ + length);

	SET_VARSIZE(slice, VARHDRSZ + length);
	memcpy(VARDATA(slice), VARDATA(value) + first, length);
	return slice;
}

Size
toast_raw_datum_size(Datum value)
{
	return VARSIZE(DatumGetPointer(value));
}

/* ---- messages and text ---- */

const char *
pq_getmsgbytes(StringInfo message, int length)
{
	const char *at = message->data + message->cursor;

	if (length < 0 || length > message->len - message->cursor)
		longjmp(on_error, 1);
	message->cursor += length;
	return at;
}

int
pg_mbcliplen(const char *text, int length, int limit)
{
	return Min(length, limit);
}
