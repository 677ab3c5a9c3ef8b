/*
 * row_table.h: rows of a version by the digests of their keys.
 */
#ifndef DELC_ROW_TABLE_H
#define DELC_ROW_TABLE_H

#include "row_digest.h"

/* One more than the greatest row number, as in sets of rows. */
#define ROW_NUMBER_BITS 48

typedef struct TableRow
{
	RowDigest	key;
	RowDigest	values;			/* of the columns that are no key */
	uint64		number:ROW_NUMBER_BITS,
				split:8,
				is_matched:1;
} TableRow;

typedef struct RowTable
{
	MemoryContext context;
	TableRow   *rows;
	Size		used;
	Size		allocated;
	Size		most;			/* how many it may have */
	uint32	   *slots;			/* the number of a row among rows, counted from 1; 0: free */
	uint64		mask;			/* their number, a power of two, less 1 */
} RowTable;

extern RowTable *row_table_create(MemoryContext context, int64 expected_rows, Size memory);
extern void row_table_add(RowTable *table, const TableRow *row);
extern void row_table_index(RowTable *table);
extern void row_table_find(const RowTable *table, const RowDigest *keys, int count, TableRow **found);

#endif							/* DELC_ROW_TABLE_H */
