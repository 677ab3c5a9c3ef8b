/*
 * load.c: making the package delc known to the backend's Python.
 */
#include "bridge.h"

#include "access/htup_details.h"
#include "catalog/pg_proc.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#if PG_VERSION_NUM >= 180000
PG_MODULE_MAGIC_EXT(
					.name = "delc_plpython",
					.version = "0.1.0"
);
#else
PG_MODULE_MAGIC;
#endif

typedef struct PythonError
{
	char	   *message;
	char	   *sqlstate;		/* this and the rest NULL where the exception does not say */
	char	   *detail;
	char	   *hint;
} PythonError;

/* The text of an attribute, palloc'd; NULL where there is none. */
static char *
text_attribute(PyObject *object, const char *name)
{
	PyObject   *attribute = object == NULL ? NULL : PyObject_GetAttrString(object, name);
	char	   *text = NULL;

	if (attribute != NULL && PyUnicode_Check(attribute) && PyUnicode_AsUTF8(attribute) != NULL)
		text = pstrdup(PyUnicode_AsUTF8(attribute));
	PyErr_Clear();
	Py_XDECREF(attribute);
	return text;
}

/* What the Python exception says; it is cleared. */
static PythonError
take_python_error(void)
{
	PythonError error = {.message = "unknown error"};
	char	   *said;
	PyObject   *type;
	PyObject   *value;
	PyObject   *traceback;
	PyObject   *text;

	PyErr_Fetch(&type, &value, &traceback);
	PyErr_NormalizeException(&type, &value, &traceback);
	said = text_attribute(value, "message");
	text = value == NULL ? NULL : PyObject_Str(value);
	if (said != NULL)
		error.message = said;
	else if (text != NULL && PyUnicode_AsUTF8(text) != NULL)
		error.message = pstrdup(PyUnicode_AsUTF8(text));
	PyErr_Clear();
	error.sqlstate = text_attribute(value, "sqlstate");
	error.detail = text_attribute(value, "detail");
	error.hint = text_attribute(value, "hint");
	Py_XDECREF(text);
	Py_XDECREF(type);
	Py_XDECREF(value);
	Py_XDECREF(traceback);
	return error;
}

static int
errcode_of(const char *sqlstate)
{
	return errcode(MAKE_SQLSTATE(sqlstate[0], sqlstate[1], sqlstate[2], sqlstate[3], sqlstate[4]));
}

/*
 * Turns the pending Python exception into an error of the database.  The
 * package's own errors speak for themselves.
 */
void
raise_python_error(const char *doing)
{
	PythonError error = take_python_error();

	if (error.sqlstate != NULL && strlen(error.sqlstate) == 5)
		ereport(ERROR,
				(errcode_of(error.sqlstate),
				 errmsg("delc: %s", error.message),
				 error.detail != NULL ? errdetail("%s", error.detail) : 0,
				 error.hint != NULL ? errhint("%s", error.hint) : 0));
	ereport(ERROR,
			(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
			 errmsg("%s: %s", doing, error.message)));
}

/* Puts the folders of delc.python_path in front of sys.path, in their order. */
static bool
extend_path(const char *folders)
{
	PyObject   *path = PySys_GetObject("path");
	PyObject   *list;
	bool		done;

	if (path == NULL)
		return false;
	list = PyObject_CallMethod(PyUnicode_FromString(folders), "split", "s", ":");
	done = list != NULL && PyList_SetSlice(path, 0, 0, list) == 0;
	Py_XDECREF(list);
	return done;
}

static bool
add_module(void)
{
	PyObject   *module = create_module();
	bool		done = module != NULL && PyDict_SetItemString(PyImport_GetModuleDict(), "_delc", module) == 0;

	Py_XDECREF(module);
	return done;
}

/* Sets the path, adds _delc and imports the package's entry, once for each backend. */
void
load_python(Oid owner)
{
	static bool path_done = false;
	static bool loaded = false;
	PyObject   *entry;

	extension_owner = owner;
	if (loaded)
		return;
	resolve_library();
	if (!path_done && !(extend_path(delc_library.python_path()) && add_module()))
		raise_python_error("could not prepare Python");
	path_done = true;

	entry = PyImport_ImportModule("delc.server.entry");
	if (entry == NULL)
	{
		PythonError error = take_python_error();

		/* Another value of the setting shall be tried on the next call. */
		path_done = false;
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the Python package delc cannot be imported: %s", error.message),
				 errdetail("delc.python_path is \"%s\".", delc_library.python_path()),
				 errhint("Run SELECT * FROM delc.check_environment(); it names what is missing.")));
	}
	Py_DECREF(entry);
	loaded = true;
}

static Oid
owner_of_function(Oid function)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	owner = ((Form_pg_proc) GETSTRUCT(tuple))->proowner;
	ReleaseSysCache(tuple);
	return owner;
}

/* Loads the package for a function of the extension, with whose owner's rights it will work. */
void
load_python_for(Oid function)
{
	load_python(owner_of_function(function));
}

PG_FUNCTION_INFO_V1(delc_load_python);

/* load_python(): called once for each backend by the first function that needs the package. */
Datum
delc_load_python(PG_FUNCTION_ARGS)
{
	if (!Py_IsInitialized())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("Python is not running in this session"),
				 errdetail("Functions of delc call this one; it has no use of its own.")));
	load_python_for(fcinfo->flinfo->fn_oid);
	PG_RETURN_VOID();
}
