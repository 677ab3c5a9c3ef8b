/*
 * pack_toast.h: reading values that a table stores out of line, many of them
 * in a row.
 */
#ifndef DELC_PACK_TOAST_H
#define DELC_PACK_TOAST_H

#include "postgres.h"

#include "nodes/pg_list.h"
#include "utils/snapshot.h"

typedef struct ToastSource ToastSource;

/* What stays open between two values. Zeroed, it keeps nothing open. */
typedef struct PackToast
{
	MemoryContext context;		/* NULL outside pack_toast_begin and pack_toast_end */
	const List *tables;			/* Oids of what the query reads */
	List	   *sources;
	ToastSource *last;
	struct varlena *buffer;		/* holds the last value */
	Size		capacity;
#if PG_VERSION_NUM < 180000
	SnapshotData snapshot;
#endif
} PackToast;

extern void pack_toast_begin(PackToast *state, MemoryContext parent, const List *tables);
extern void pack_toast_end(PackToast *state);
extern struct varlena *pack_detoast(PackToast *state, Datum value);

#endif							/* DELC_PACK_TOAST_H */
