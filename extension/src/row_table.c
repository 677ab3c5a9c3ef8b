/*
 * row_table.c
 *	  Rows of a version by the digests of their keys: a list in the order in
 *	  which they came, and a hash table of where in it each key is.
 *
 * Keys are looked up many at a time, so that the memory that they need is
 * fetched while others are looked at: waiting for it one key after another
 * takes longer than everything else that is done with a row.
 */
#include "row_table.h"

#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "utils/memutils.h"

#define MOST_ROWS		((Size) PG_INT32_MAX)
#define FEWEST_ROWS		((Size) 64)
#define FEWEST_SLOTS	((uint64) 128)
#define AHEAD			16		/* slots are fetched for this many rows before they are needed */

#if defined(__GNUC__)
#define fetch_early(address) __builtin_prefetch(address)
#else
#define fetch_early(address) ((void) (address))
#endif

/* The rows that fit into this many bytes, the hash table included, which has up to four places for each. */
static Size
most_rows(Size memory)
{
	return Min(Max(memory / (sizeof(TableRow) + 4 * sizeof(uint32)), FEWEST_ROWS), MOST_ROWS);
}

/* A table that takes at most so many bytes of memory, for about as many rows as are expected. */
RowTable *
row_table_create(MemoryContext context, int64 expected_rows, Size memory)
{
	RowTable   *table = MemoryContextAllocZero(context, sizeof(RowTable));

	table->context = context;
	table->most = most_rows(memory);
	table->allocated = Min(Max((Size) Max(expected_rows, 0), FEWEST_ROWS), table->most);
	table->rows = MemoryContextAllocHuge(context, table->allocated * sizeof(TableRow));
	return table;
}

void
row_table_add(RowTable *table, const TableRow *row)
{
	if (table->used == table->allocated)
	{
		if (table->allocated == table->most)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("more than %zu stored rows cannot be matched within delc.memory_limit", table->most),
					 errhint("Raise delc.memory_limit.")));
		table->allocated = Min(2 * table->allocated, table->most);
		table->rows = repalloc_huge(table->rows, table->allocated * sizeof(TableRow));
	}
	table->rows[table->used++] = *row;
}

static inline uint64
first_slot(const RowTable *table, const RowDigest *key)
{
	return key->lanes[0] & table->mask;
}

/* Make the hash table, once all rows are there; of rows with the same key the first is found. */
void
row_table_index(RowTable *table)
{
	uint64		slots = Max(pg_nextpower2_64(Max(2 * (uint64) table->used, 1)), FEWEST_SLOTS);

	table->mask = slots - 1;
	table->slots = MemoryContextAllocExtended(table->context, slots * sizeof(uint32), MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (Size i = 0; i < table->used; i++)
	{
		uint64		slot = first_slot(table, &table->rows[i].key);

		if (i % 65536 == 0)
			CHECK_FOR_INTERRUPTS();
		if (i + AHEAD < table->used)
			fetch_early(&table->slots[first_slot(table, &table->rows[i + AHEAD].key)]);
		while (table->slots[slot] != 0)
			slot = (slot + 1) & table->mask;
		table->slots[slot] = (uint32) i + 1;
	}
}

static TableRow *
find(const RowTable *table, const RowDigest *key)
{
	for (uint64 slot = first_slot(table, key); table->slots[slot] != 0; slot = (slot + 1) & table->mask)
	{
		TableRow   *row = &table->rows[table->slots[slot] - 1];

		if (same_digests(&row->key, key))
			return row;
	}
	return NULL;
}

/* The row of each key, or NULL. */
void
row_table_find(const RowTable *table, const RowDigest *keys, int count, TableRow **found)
{
	for (int i = 0; i < count; i++)
		fetch_early(&table->slots[first_slot(table, &keys[i])]);
	for (int i = 0; i < count; i++)
	{
		uint32		row = table->slots[first_slot(table, &keys[i])];

		if (row != 0)
		{
			const char *begin = (const char *) &table->rows[row - 1];

			fetch_early(begin);
			fetch_early(begin + sizeof(TableRow) - 1);
		}
	}
	for (int i = 0; i < count; i++)
		found[i] = find(table, &keys[i]);
}
