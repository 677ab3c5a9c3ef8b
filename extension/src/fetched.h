/*
 * fetched.h
 *	  Stored values that were fetched from their table and are to be decoded.
 *
 * A set belongs to the session: SQL adds values to it, and what decodes them,
 * in threads that must not touch PostgreSQL, only reads its memory.
 */
#ifndef DELC_FETCHED_H
#define DELC_FETCHED_H

#include "delta.h"

typedef struct FetchedValue
{
	const char *bytes;			/* from the magic on */
	int64		there;			/* so many of them were fetched */
	int64		total;			/* so many the value has */
} FetchedValue;

typedef struct FetchedSet
{
	int			handle;
	MemoryContext context;		/* of this and everything in it */
	int			count;
	int			room;
	FetchedValue *values;
	bool		restored;		/* what restore_numbers() leads to is here */
	DelcTensorHeader header;
	char	   *numbers;
} FetchedSet;

/* A new set, until it is closed. */
typedef FetchedSet *(*DelcFetchedOpen) (void);
extern PGDLLEXPORT FetchedSet *delc_fetched_open(void);

/* The set of a handle; an error where there is none. */
typedef FetchedSet *(*DelcFetchedFind) (int handle);
extern PGDLLEXPORT FetchedSet *delc_fetched_find(int handle);

/* Forget a set; its memory goes too, unless the caller keeps the context. */
typedef void (*DelcFetchedClose) (FetchedSet *set, bool keep);
extern PGDLLEXPORT void delc_fetched_close(FetchedSet *set, bool keep);

#endif							/* DELC_FETCHED_H */
