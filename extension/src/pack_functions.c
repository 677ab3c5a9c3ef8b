/*
 * pack_functions.c: packing the rows of a query, as SQL functions.
 *
 * pack_open starts a query and returns its portal's name; each pack_fetch
 * fills the next batch, which Python takes through the module _delc;
 * pack_close ends it. The query runs with the caller's rights. The packer
 * lives as long as the portal, so that an abort frees it.
 */
#include "pack.h"

#include "lib/ilist.h"
#include "materialize.h"
#include "plain_select.h"
#include "tcop/pquery.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/portal.h"

typedef struct OpenPacker
{
	dlist_node	node;
	MemoryContextCallback callback;
	char		portal_name[NAMEDATALEN];
	Packer	   *packer;
} OpenPacker;

static dlist_head open_packers = DLIST_STATIC_INIT(open_packers);

/* ---- open packers by portal ---- */

static void
forget_packer(void *argument)
{
	dlist_delete(&((OpenPacker *) argument)->node);
}

static void
remember_packer(Portal portal, Packer *packer)
{
	OpenPacker *open = MemoryContextAllocZero(packer->context, sizeof(OpenPacker));

	strlcpy(open->portal_name, portal->name, NAMEDATALEN);
	open->packer = packer;
	dlist_push_head(&open_packers, &open->node);
	open->callback.func = forget_packer;
	open->callback.arg = open;
	MemoryContextRegisterResetCallback(packer->context, &open->callback);
}

/* The packer of an open portal, or NULL. Never throws: Python calls it. */
Packer *
delc_packer_of_portal(const char *portal_name)
{
	dlist_iter	iter;

	dlist_foreach(iter, &open_packers)
	{
		OpenPacker *open = dlist_container(OpenPacker, node, iter.cur);

		if (strcmp(open->portal_name, portal_name) == 0)
			return open->packer;
	}
	return NULL;
}

static Packer *
require_packer(const char *portal_name)
{
	Packer	   *packer = delc_packer_of_portal(portal_name);

	if (packer == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_CURSOR),
				 errmsg("no rows are being packed under the name \"%s\"", portal_name)));
	return packer;
}

/* ---- queries ---- */

PG_FUNCTION_INFO_V1(delc_describe_query);

/* The names and types (of domains, the base type) of a query's columns; the query is not run. */
Datum
delc_describe_query(PG_FUNCTION_ARGS)
{
	char	   *query = text_to_cstring(PG_GETARG_TEXT_PP(0));
	ReturnSetInfo *result = begin_materialized_set(fcinfo);
	CachedPlanSource *source;

	SPI_connect();
	source = linitial(SPI_plan_get_plan_sources(delc_prepare_select(query, 0)));
	for (int i = 0; i < source->resultDesc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(source->resultDesc, i);
		int32		typmod = attribute->atttypmod;
		Oid			type_id = getBaseTypeAndTypmod(attribute->atttypid, &typmod);
		Datum		values[2];
		bool		nulls[2] = {false, false};

		values[0] = CStringGetTextDatum(NameStr(attribute->attname));
		values[1] = CStringGetTextDatum(format_type_with_typemod(type_id, typmod));
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	SPI_finish();
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(delc_pack_open);

/* pack_open(query, kinds, groups, widths, dtypes, batch_size) → the portal's name */
Datum
delc_pack_open(PG_FUNCTION_ARGS)
{
	char	   *query = text_to_cstring(PG_GETARG_TEXT_PP(0));
	int32		batch_size = PG_GETARG_INT32(5);
	PackLayout	layout;
	Portal		portal;
	text	   *name;

	if (batch_size < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("batch_size is %d, but must be at least 1", batch_size)));
	pack_layout_from_arguments(&layout, PG_GETARG_ARRAYTYPE_P(1), PG_GETARG_ARRAYTYPE_P(2),
							   PG_GETARG_ARRAYTYPE_P(3), PG_GETARG_ARRAYTYPE_P(4));
	SPI_connect();
	portal = SPI_cursor_open(NULL, delc_prepare_select(query, 0), NULL, NULL, false);
	remember_packer(portal, packer_create(portal->portalContext, portal->tupDesc, &layout, batch_size));
	SPI_finish();

	name = cstring_to_text(portal->name);
	PG_RETURN_TEXT_P(name);
}

typedef struct PackReceiver
{
	DestReceiver public;
	Packer	   *packer;
	Portal		portal;
} PackReceiver;

static void
receiver_startup(DestReceiver *self, int operation, TupleDesc descriptor)
{
	Packer	   *packer = ((PackReceiver *) self)->packer;
	Portal		portal = ((PackReceiver *) self)->portal;

	pack_toast_begin(&packer->toast, packer->context, portal->queryDesc->plannedstmt->relationOids);
}

static bool
receiver_take_row(TupleTableSlot *slot, DestReceiver *self)
{
	slot_getallattrs(slot);
	packer_add_row(((PackReceiver *) self)->packer, slot->tts_values, slot->tts_isnull);
	return true;
}

static void
receiver_shutdown(DestReceiver *self)
{
	pack_toast_end(&((PackReceiver *) self)->packer->toast);
}

static void
receiver_destroy(DestReceiver *self)
{
}

PG_FUNCTION_INFO_V1(delc_pack_fetch);

/* Fills the next batch; returns how many rows it has, 0 at the end. */
Datum
delc_pack_fetch(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Packer	   *packer = require_packer(name);
	Portal		portal = GetPortalByName(name);
	PackReceiver receiver = {
		{receiver_take_row, receiver_startup, receiver_shutdown, receiver_destroy, DestNone},
		packer, portal
	};

	packer_begin_batch(packer);
	SPI_connect();
	PortalRunFetch(portal, FETCH_FORWARD, packer->batch_size, (DestReceiver *) &receiver);
	SPI_finish();
	PG_RETURN_INT64(packer->rows);
}

PG_FUNCTION_INFO_V1(delc_pack_close);

Datum
delc_pack_close(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));

	/* An error in the query has ended it already. */
	if (delc_packer_of_portal(name) != NULL)
	{
		SPI_connect();
		SPI_cursor_close(GetPortalByName(name));
		SPI_finish();
	}
	PG_RETURN_VOID();
}
