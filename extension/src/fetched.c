/*
 * fetched.c
 *	  Sets of stored values that were fetched, or restored, for Python.
 *
 * fetch_stored() fetches of a value what is needed of it, no more, and keeps
 * it where it was fetched to.  restore_numbers() restores a chain, fetched piece by
 * piece, into memory that Python takes over.  Neither leaves a copy behind.
 */
#include "fetched.h"

#include "access/detoast.h"
#include "lib/ilist.h"
#include "utils/memutils.h"

typedef struct SetEntry
{
	dlist_node	node;
	FetchedSet	set;
} SetEntry;

static dlist_head sets = DLIST_STATIC_INIT(sets);
static int	last_handle = 0;

FetchedSet *
delc_fetched_open(void)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "delc fetched values",
												  ALLOCSET_DEFAULT_SIZES);
	SetEntry   *entry = MemoryContextAllocZero(context, sizeof(SetEntry));

	entry->set.context = context;
	entry->set.handle = last_handle = last_handle == PG_INT32_MAX ? 1 : last_handle + 1;
	dlist_push_head(&sets, &entry->node);
	return &entry->set;
}

FetchedSet *
delc_fetched_find(int handle)
{
	dlist_iter	iter;

	dlist_foreach(iter, &sets)
	{
		SetEntry   *entry = dlist_container(SetEntry, node, iter.cur);

		if (entry->set.handle == handle)
			return &entry->set;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("there is no set %d of fetched values", handle),
			 errdetail("Functions of delc open one for themselves.")));
	pg_unreachable();
}

void
delc_fetched_close(FetchedSet *set, bool keep)
{
	SetEntry   *entry = (SetEntry *) ((char *) set - offsetof(SetEntry, set));

	dlist_delete(&entry->node);
	if (!keep)
		MemoryContextDelete(set->context);
}

/* How many bytes of a value hold its first planes; of an integer difference, all. */
static int64
bytes_of_planes(Datum value, int planes)
{
	DeltaLayout delta;
	TensorLayout whole;
	int			wanted;

	if (delc_is_delta(value))
	{
		delc_delta_read(value, &delta);
		if (delta.method == DELTA_SUB || planes >= delta.header.item_size)
			return delta.total_bytes;
		return delc_delta_offset(&delta, planes * delta_blocks(&delta.header));
	}
	delc_layout_read(value, &whole);
	wanted = delc_planes_of_bytes(&whole, planes);
	return (int64) whole.plane[wanted - 1].offset + whole.plane[wanted - 1].length;
}

/* Fetched into the current memory context: the whole value, or so many of its first bytes. */
static FetchedValue
fetch(Datum value, int64 total, int64 wanted)
{
	struct varlena *fetched = wanted < total ? PG_DETOAST_DATUM_SLICE(value, 0, (int32) wanted) :
		PG_DETOAST_DATUM_PACKED(value);
	FetchedValue result;

	if (fetched == (struct varlena *) DatumGetPointer(value))
	{
		/* it lies in its row, which goes */
		fetched = palloc(VARSIZE_ANY(DatumGetPointer(value)));
		memcpy(fetched, DatumGetPointer(value), VARSIZE_ANY(DatumGetPointer(value)));
	}
	result.bytes = VARDATA_ANY(fetched);
	result.there = VARSIZE_ANY_EXHDR(fetched);
	result.total = total;
	if (result.there != Min(wanted, total))
		delc_delta_damaged("It is cut off.");
	return result;
}

static void
add(FetchedSet *set, FetchedValue value)
{
	if (set->count == set->room)
	{
		set->room = Max(16, 2 * set->room);
		set->values = set->values == NULL ? palloc(set->room * sizeof(FetchedValue)) :
			repalloc(set->values, set->room * sizeof(FetchedValue));
	}
	set->values[set->count++] = value;
}

PG_FUNCTION_INFO_V1(delc_fetch_stored);

/* fetch_stored(set integer, value tensor, planes integer) → integer: the value's place in the set */
Datum
delc_fetch_stored(PG_FUNCTION_ARGS)
{
	FetchedSet *set;
	Datum		value = PG_GETARG_DATUM(1);
	int64		total;
	int64		wanted;
	MemoryContext old;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	set = delc_fetched_find(PG_GETARG_INT32(0));
	total = (int64) toast_raw_datum_size(value) - VARHDRSZ;
	wanted = PG_ARGISNULL(2) || PG_GETARG_INT32(2) < 1 ? total : bytes_of_planes(value, PG_GETARG_INT32(2));
	old = MemoryContextSwitchTo(set->context);
	add(set, fetch(value, total, wanted));
	MemoryContextSwitchTo(old);
	PG_RETURN_INT32(set->count - 1);
}

/* ---- restore_numbers ---- */

typedef struct NumbersState
{
	FetchedSet *set;
	DeltaChain	chain;
} NumbersState;

static NumbersState *
start(FunctionCallInfo fcinfo)
{
	MemoryContext context;
	NumbersState *state;

	if (!AggCheckCallContext(fcinfo, &context))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("this function can only be called by an aggregate")));
	if (!PG_ARGISNULL(0))
		return (NumbersState *) PG_GETARG_POINTER(0);
	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("there is no set of fetched values to restore into")));
	state = MemoryContextAllocZero(context, sizeof(NumbersState));
	state->set = delc_fetched_find(PG_GETARG_INT32(1));
	delc_chain_start(&state->chain, state->set->context, PG_ARGISNULL(3) ? 0 : PG_GETARG_INT32(3));
	return state;
}

PG_FUNCTION_INFO_V1(delc_restore_numbers_step);
Datum
delc_restore_numbers_step(PG_FUNCTION_ARGS)
{
	NumbersState *state = start(fcinfo);

	if (PG_ARGISNULL(2))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("value " INT64_FORMAT " of a chain is NULL", state->chain.values + 1)));
	if (state->chain.values == 0)
		delc_chain_begin(&state->chain, PG_GETARG_DATUM(2));
	else
	{
		StoredValue delta = delc_stored_datum(PG_GETARG_DATUM(2));

		delc_chain_add(&state->chain, &delta);
	}
	PG_RETURN_POINTER(state);
}

PG_FUNCTION_INFO_V1(delc_restore_numbers_final);

/* How many values the chain had; the numbers are in the set. */
Datum
delc_restore_numbers_final(PG_FUNCTION_ARGS)
{
	NumbersState *state;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	state = (NumbersState *) PG_GETARG_POINTER(0);
	delc_chain_drop_previous(&state->chain);
	state->set->restored = true;
	state->set->header = state->chain.header;
	state->set->numbers = state->chain.numbers;
	PG_RETURN_INT64(state->chain.values);
}
