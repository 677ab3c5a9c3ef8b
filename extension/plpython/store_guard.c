/*
 * store_guard.c: rows of data sets are inserted by the package's own
 * statements alone.
 *
 * They are inserted by the caller's query, so that it reads what the caller may
 * read, and the caller has the right to insert meanwhile.  Functions that the
 * query calls run within that time too.  So the package says which statement it
 * is: the next one that inserts, and no other until it says so again.  Should a
 * function come first, while the statement is planned, the statement itself is
 * refused, and what the function did is undone with it.
 */
#include "bridge.h"

#include "catalog/namespace.h"
#include "executor/executor.h"
#include "nodes/parsenodes.h"
#include "utils/lsyscache.h"

#define STORE_SCHEMA "delc_data"

typedef enum StoreState
{
	STORE_CLOSED,				/* nobody was given the right to insert */
	STORE_OPEN,					/* the caller has the right, and shall not use it */
	STORE_EXPECTING				/* the next statement is the package's */
} StoreState;

static StoreState state = STORE_CLOSED;
static ExecutorCheckPerms_hook_type previous_hook = NULL;

static bool
inserts_into_store(Oid relation, AclMode wanted)
{
	return (wanted & ACL_INSERT) != 0 && OidIsValid(relation) &&
		get_rel_namespace(relation) == get_namespace_oid(STORE_SCHEMA, true);
}

static bool
may_insert(bool report)
{
	if (state == STORE_EXPECTING)
	{
		state = STORE_OPEN;
		return true;
	}
	if (report)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("a function that a source calls may not insert rows into the schema %s", STORE_SCHEMA),
				 errdetail("A version of a data set is being made, and has the rows of its source alone."),
				 errhint("Take the function out of the source, or what it inserts out of the function.")));
	return false;
}

#if PG_VERSION_NUM >= 160000
static bool
check_permissions(List *range_table, List *permissions, bool report)
{
	ListCell   *cell;
	bool		inserts = false;

	if (previous_hook != NULL && !previous_hook(range_table, permissions, report))
		return false;
	if (state == STORE_CLOSED)
		return true;
	foreach(cell, permissions)
	{
		RTEPermissionInfo *wanted = lfirst_node(RTEPermissionInfo, cell);

		inserts = inserts || inserts_into_store(wanted->relid, wanted->requiredPerms);
	}
	return !inserts || may_insert(report);
}
#else
static bool
check_permissions(List *range_table, bool report)
{
	ListCell   *cell;
	bool		inserts = false;

	if (previous_hook != NULL && !previous_hook(range_table, report))
		return false;
	if (state == STORE_CLOSED)
		return true;
	foreach(cell, range_table)
	{
		RangeTblEntry *entry = lfirst_node(RangeTblEntry, cell);

		inserts = inserts || inserts_into_store(entry->relid, entry->requiredPerms);
	}
	return !inserts || may_insert(report);
}
#endif

/* open_store() → what close_store needs: the caller is about to get the right to insert */
PyObject *
open_store(PyObject *self, PyObject *arguments)
{
	static bool installed = false;
	StoreState	before = state;

	if (!installed)
	{
		previous_hook = ExecutorCheckPerms_hook;
		ExecutorCheckPerms_hook = check_permissions;
		installed = true;
	}
	state = STORE_OPEN;
	return PyLong_FromLong(before);
}

PyObject *
close_store(PyObject *self, PyObject *arguments)
{
	int			before;

	if (!PyArg_ParseTuple(arguments, "i", &before))
		return NULL;
	state = (StoreState) before;
	Py_RETURN_NONE;
}

/* expect_insert(): the next statement is the package's own */
PyObject *
expect_insert(PyObject *self, PyObject *arguments)
{
	state = STORE_EXPECTING;
	Py_RETURN_NONE;
}
