/*
 * pack.c: the packer: rows in, a dense array for each group of columns out.
 */
#include "pack.h"

#include <math.h>

#include "delc.h"
#include "utils/memutils.h"

/* ---- creation ---- */

static bool
is_target_dtype(int dtype)
{
	return dtype == DELC_FLOAT32 || dtype == DELC_FLOAT64 || dtype == DELC_INT64 ||
		dtype == DELC_INT32 || dtype == DELC_UINT8;
}

static void
create_groups(Packer *packer, const PackLayout *layout)
{
	packer->groups_count = layout->groups_count;
	packer->groups = palloc0(sizeof(PackGroup) * Max(layout->groups_count, 1));
	for (int i = 0; i < layout->groups_count; i++)
	{
		if (!is_target_dtype(layout->dtypes[i]))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("rows cannot be packed as %s", delc_dtype_name(layout->dtypes[i])),
					 errdetail("Allowed are float32, float64, int64, int32 and uint8.")));
		packer->groups[i].dtype = layout->dtypes[i];
		packer->groups[i].item_size = delc_dtype_size(layout->dtypes[i]);
		packer->groups[i].width = -1;
	}
}

static void
require_group(const PackColumn *column, const Packer *packer)
{
	if (column->group < 0 || column->group >= packer->groups_count)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("column \"%s\" is in group %d, but there are %d groups",
						NameStr(column->name), column->group, packer->groups_count)));
	if (column->kind == PACK_CATEGORY && packer->groups[column->group].dtype != DELC_INT32)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("categories of column \"%s\" need a group of int32", NameStr(column->name))));
}

static void
create_column(Packer *packer, int i, TupleDesc descriptor, const PackLayout *layout)
{
	PackColumn *column = &packer->columns[i];

	column->kind = layout->kinds[i];
	column->group = layout->groups[i];
	column->width = -1;
	column->toast = &packer->toast;
	if (column->kind == PACK_SKIP)
		return;

	pack_column_prepare(column, TupleDescAttr(descriptor, i));
	if (column->kind == PACK_KEY)
	{
		packer->key_column = i;
		return;
	}
	require_group(column, packer);
	if (column->kind == PACK_CATEGORY)
		column->dictionary = pack_dictionary_create(packer->context);
	if (column->width < 0 && layout->widths[i] > 0)
	{
		column->width = column->dims[0] = layout->widths[i];
		column->rank = 1;
	}
	packer->groups[column->group].columns++;
}

/* Fixes where each column lies once the widths of a group's columns are known. */
static void
settle_group(Packer *packer, int group_index)
{
	PackGroup  *group = &packer->groups[group_index];
	int64		width = 0;

	for (int i = 0; i < packer->columns_count; i++)
	{
		PackColumn *column = &packer->columns[i];

		if (column->kind == PACK_SKIP || column->kind == PACK_KEY || column->group != group_index)
			continue;
		if (column->width < 0)
			return;
		column->offset = width;
		width += column->width;
	}
	group->width = width;
}

static void
release_buffers(void *argument)
{
	Packer	   *packer = argument;

	for (int i = 0; i < packer->groups_count; i++)
	{
		if (packer->groups[i].buffer != NULL)
			delc_pack_buffer_release(packer->groups[i].buffer);
		packer->groups[i].buffer = NULL;
	}
}

Packer *
packer_create(MemoryContext parent, TupleDesc descriptor, const PackLayout *layout, int64 batch_size)
{
	MemoryContext context = AllocSetContextCreate(parent, "delc packer", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	Packer	   *packer = palloc0(sizeof(Packer));

	if (layout->columns_count != descriptor->natts)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the query has %d columns, the layout %d", descriptor->natts, layout->columns_count)));

	packer->context = context;
	packer->row_context = AllocSetContextCreate(context, "delc packed row", ALLOCSET_DEFAULT_SIZES);
	packer->key_context = AllocSetContextCreate(context, "delc packed keys", ALLOCSET_DEFAULT_SIZES);
	packer->batch_size = batch_size;
	packer->key_column = -1;
	packer->release.func = release_buffers;
	packer->release.arg = packer;
	MemoryContextRegisterResetCallback(context, &packer->release);
	create_groups(packer, layout);
	packer->columns_count = layout->columns_count;
	packer->columns = palloc0(sizeof(PackColumn) * Max(layout->columns_count, 1));
	for (int i = 0; i < layout->columns_count; i++)
		create_column(packer, i, descriptor, layout);
	for (int i = 0; i < packer->groups_count; i++)
		settle_group(packer, i);

	MemoryContextSwitchTo(old);
	return packer;
}

/* ---- memory of a batch ---- */

static Size
bytes_of_row(const Packer *packer)
{
	Size		bytes = packer->key_column >= 0 ? sizeof(char *) : 0;

	for (int i = 0; i < packer->groups_count; i++)
		if (packer->groups[i].width > 0)
			bytes += packer->groups[i].width * packer->groups[i].item_size;
	return bytes;
}

static void
check_memory_limit(const Packer *packer)
{
	/* Bounds everything that is allocated, so that no size can overflow. */
	double		needed = (double) bytes_of_row(packer) * packer->batch_size;
	double		limit = (double) delc_memory_limit_mb * 1024 * 1024;

	if (needed > limit)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a batch of %lld rows needs %.0f MB, more than delc.memory_limit (%d MB)",
						(long long) packer->batch_size, ceil(needed / (1024 * 1024)), delc_memory_limit_mb),
				 errhint("Use a smaller batch_size, or raise delc.memory_limit.")));
}

static void
allocate_group(Packer *packer, PackGroup *group)
{
	check_memory_limit(packer);
	group->buffer = pack_buffer_create((Size) group->width * group->item_size * packer->batch_size);
}

/*
 * Starts a batch in memory of its own: the last batch stays with whoever
 * retained its buffers.
 */
void
packer_begin_batch(Packer *packer)
{
	release_buffers(packer);
	packer->first_row += packer->rows;
	packer->rows = 0;
	MemoryContextReset(packer->key_context);
	packer->keys = NULL;
	check_memory_limit(packer);
	if (packer->key_column >= 0)
		packer->keys = MemoryContextAllocHuge(packer->key_context, sizeof(char *) * packer->batch_size);

	for (int i = 0; i < packer->columns_count; i++)
	{
		packer->columns[i].nulls = packer->columns[i].nonfinite = 0;
		packer->columns[i].first_row = packer->first_row;
	}
	for (int i = 0; i < packer->groups_count; i++)
		if (packer->groups[i].width >= 0)
			allocate_group(packer, &packer->groups[i]);
}

/*
 * Starts a batch of one row in the memory of the last one, which Python's
 * views of it rely on; distinct texts start anew.
 */
void
packer_begin_single_row(Packer *packer)
{
	packer->rows = 0;
	for (int i = 0; i < packer->columns_count; i++)
	{
		packer->columns[i].nulls = packer->columns[i].nonfinite = 0;
		if (packer->columns[i].dictionary != NULL)
			pack_dictionary_reset(packer->columns[i].dictionary);
	}
}

/* ---- rows ---- */

static void
measure_column(Packer *packer, PackColumn *column, Datum value, bool isnull)
{
	if (isnull)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("row %lld: column \"%s\" is NULL, so its length is not known",
						(long long) (packer->first_row + packer->rows + 1), NameStr(column->name)),
				 errhint("Leave out rows with NULL in this column: WHERE %s IS NOT NULL.",
						 NameStr(column->name))));
	pack_column_measure(column, value);
}

/* The first row tells the widths of arrays that nobody stated. */
static void
measure_groups(Packer *packer, const Datum *values, const bool *nulls)
{
	for (int i = 0; i < packer->columns_count; i++)
	{
		PackColumn *column = &packer->columns[i];

		if (column->kind == PACK_NUMBER && column->width < 0)
			measure_column(packer, column, values[i], nulls[i]);
	}
	for (int i = 0; i < packer->groups_count; i++)
	{
		if (packer->groups[i].width >= 0)
			continue;
		settle_group(packer, i);
		allocate_group(packer, &packer->groups[i]);
	}
}

static bool
widths_known(const Packer *packer)
{
	for (int i = 0; i < packer->groups_count; i++)
		if (packer->groups[i].width < 0)
			return false;
	return true;
}

static void
keep_key(Packer *packer, PackColumn *column, Datum value, bool isnull)
{
	if (isnull)
		packer->keys[packer->rows] = NULL;
	else
	{
		MemoryContext old = MemoryContextSwitchTo(packer->key_context);

		packer->keys[packer->rows] = OutputFunctionCall(&column->output, value);
		MemoryContextSwitchTo(old);
	}
}

static void
add_value(Packer *packer, PackColumn *column, Datum value, bool isnull)
{
	PackGroup  *group = &packer->groups[column->group];
	char	   *target = (char *) group->buffer->data +
		((Size) packer->rows * group->width + column->offset) * group->item_size;

	if (isnull)
		pack_column_store_null(column, group->dtype, group->item_size, target, packer->rows);
	else
		pack_column_store(column, value, group->dtype, target, packer->rows);
}

/* Adds a row; the caller sees to it that the batch has room. */
void
packer_add_row(Packer *packer, const Datum *values, const bool *nulls)
{
	MemoryContext old = MemoryContextSwitchTo(packer->row_context);

	Assert(packer->rows < packer->batch_size);
	if (!widths_known(packer))
		measure_groups(packer, values, nulls);
	for (int i = 0; i < packer->columns_count; i++)
	{
		PackColumn *column = &packer->columns[i];

		if (column->kind == PACK_KEY)
			keep_key(packer, column, values[i], nulls[i]);
		else if (column->kind != PACK_SKIP)
			add_value(packer, column, values[i], nulls[i]);
	}
	packer->rows++;
	MemoryContextSwitchTo(old);
	MemoryContextReset(packer->row_context);
}
