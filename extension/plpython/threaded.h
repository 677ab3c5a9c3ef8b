/*
 * threaded.h: what stands in for the server where the codec runs in threads.
 *
 * The codec's sources are compiled a second time with this header in front of
 * them.  Memory then comes from malloc and errors jump to the thread's own
 * beginning, so that nothing of PostgreSQL is touched: neither its memory
 * contexts nor its error stack bear more than one thread.  Its interrupt flags are
 * looked at, and never handled.
 */
#ifndef DELC_THREADED_H
#define DELC_THREADED_H

#include "postgres.h"

#include <zstd.h>

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/* Memory lives until it is freed or the thread's work ends; see threaded.c. */
extern void *threaded_alloc(Size size);
extern void *threaded_alloc_zero(Size size);
extern void *threaded_realloc(void *pointer, Size size);
extern void threaded_free(void *pointer);

extern int	threaded_code(int sqlstate);
extern int	threaded_message(const char *format,...) pg_attribute_printf(1, 2);
extern int	threaded_detail(const char *format,...) pg_attribute_printf(1, 2);
extern int	threaded_hint(const char *format,...) pg_attribute_printf(1, 2);
extern void pg_attribute_noreturn() threaded_throw(void);

extern void threaded_text_start(StringInfo text);
extern void threaded_text_room(StringInfo text, int needed);
extern void threaded_text_add(StringInfo text, const char *format,...) pg_attribute_printf(2, 3);
extern void threaded_text_add_char(StringInfo text, char c);
extern void threaded_text_add_bytes(StringInfo text, const void *bytes, int length);

extern struct varlena *threaded_no_toast(struct varlena *value, int32 first, int32 count);

#define palloc threaded_alloc
#define palloc0 threaded_alloc_zero
#define repalloc threaded_realloc
#define pfree threaded_free
#define MemoryContextAlloc(context, size) threaded_alloc(size)
#define MemoryContextAllocZero(context, size) threaded_alloc_zero(size)

#define initStringInfo threaded_text_start
#define enlargeStringInfo threaded_text_room
#define appendStringInfo threaded_text_add
#define appendStringInfoChar threaded_text_add_char
#define appendBinaryStringInfo threaded_text_add_bytes

#define errcode threaded_code
#define errmsg threaded_message
#define errmsg_internal threaded_message
#define errdetail threaded_detail
#define errdetail_internal threaded_detail
#define errhint threaded_hint
#undef ereport
#define ereport(level, ...) do { (void) (__VA_ARGS__); threaded_throw(); } while (0)
#undef elog
#define elog(level, ...) do { (void) threaded_message(__VA_ARGS__); threaded_throw(); } while (0)
#undef CHECK_FOR_INTERRUPTS
#define CHECK_FOR_INTERRUPTS() ((void) 0)

/* Values were fetched before. */
#define pg_detoast_datum(value) threaded_no_toast(value, 0, -1)
#define pg_detoast_datum_packed(value) threaded_no_toast(value, 0, -1)
#define pg_detoast_datum_slice threaded_no_toast

/* A context for each plane: the codec's own is the process's. */
#define ZSTD_createDCtx() ((ZSTD_DCtx *) threaded_alloc)
#define ZSTD_decompressDCtx(context, to, room, from, length) ZSTD_decompress(to, room, from, length)

#endif							/* DELC_THREADED_H */
