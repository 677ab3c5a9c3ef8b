/*
 * owner.c: queries on the extension's own tables with its owner's rights.
 *
 * Only the package's constant queries run this way, and only while Python is
 * in the block that asked for it. A failing query restores the caller by
 * itself, because each query of PL/Python is a subtransaction.
 */
#include "bridge.h"

#include "miscadmin.h"
#include "utils/guc.h"

Oid			extension_owner = InvalidOid;

/* become_owner() → what become_caller needs to go back */
PyObject *
become_owner(PyObject *self, PyObject *arguments)
{
	Oid			user;
	int			context;
	int			nesting;

	if (!OidIsValid(extension_owner))
		return PyErr_Format(PyExc_RuntimeError, "delc.load_python() was not called");
	GetUserIdAndSecContext(&user, &context);
	nesting = NewGUCNestLevel();
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	SetUserIdAndSecContext(extension_owner, context | SECURITY_LOCAL_USERID_CHANGE);
	return Py_BuildValue("(Iii)", (unsigned int) user, context, nesting);
}

PyObject *
become_caller(PyObject *self, PyObject *arguments)
{
	unsigned int user;
	int			context;
	int			nesting;

	if (!PyArg_ParseTuple(arguments, "Iii", &user, &context, &nesting))
		return NULL;
	AtEOXact_GUC(true, nesting);
	SetUserIdAndSecContext(user, context);
	Py_RETURN_NONE;
}
