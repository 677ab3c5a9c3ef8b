/*
 * module.c: the Python module _delc. None of its functions can throw a
 * PostgreSQL error; those that could are SQL functions, or turn it into a
 * Python exception (restore.c).
 */
#include "bridge.h"

#include "miscadmin.h"

/* Whether a cancel, a termination or the loss of the client is waiting to be handled. */
static PyObject *
interrupted(PyObject *self, PyObject *arguments)
{
	return PyBool_FromLong(InterruptPending && (QueryCancelPending || ProcDiePending || ClientConnectionLost));
}

static PyObject *
progress_start(PyObject *self, PyObject *arguments)
{
	long long	run_id;
	const char *operation;
	const char *subject;

	if (!PyArg_ParseTuple(arguments, "Lss", &run_id, &operation, &subject))
		return NULL;
	delc_library.progress_start(run_id, operation, subject);
	Py_RETURN_NONE;
}

static PyObject *
progress_report(PyObject *self, PyObject *arguments)
{
	const char *phase;
	int			epoch;
	int			epochs;
	long long	batch;
	long long	batches;
	double		loss;

	if (!PyArg_ParseTuple(arguments, "siiLLd", &phase, &epoch, &epochs, &batch, &batches, &loss))
		return NULL;
	delc_library.progress_report(phase, epoch, epochs, batch, batches, loss);
	Py_RETURN_NONE;
}

static PyObject *
progress_end(PyObject *self, PyObject *arguments)
{
	delc_library.progress_end();
	Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
	{"interrupted", interrupted, METH_NOARGS, "Whether a cancel or termination is waiting."},
	{"client_gone", client_gone, METH_NOARGS, "Whether the session's client is gone; then the session ends soon."},
	{"become_owner", become_owner, METH_NOARGS, "Run what follows with the rights of the extension's owner."},
	{"become_caller", become_caller, METH_VARARGS, "Go back to the caller's rights."},
	{"open_store", open_store, METH_NOARGS, "Let nothing insert rows of data sets but what expect_insert announces."},
	{"close_store", close_store, METH_VARARGS, "Go back to what was before open_store."},
	{"expect_insert", expect_insert, METH_NOARGS, "The next statement that inserts rows of data sets is the package's."},
	{"take_batch", take_batch, METH_VARARGS, "The batch that pack_fetch filled."},
	{"row_buffers", row_buffers, METH_VARARGS, "The memory of the rows of a prediction by row."},
	{"row_problems", row_problems, METH_VARARGS, "NULLs, non-finite numbers and texts of the packed row."},
	{"fetched_open", fetched_open, METH_NOARGS, "A new set to fetch stored values into."},
	{"fetched_close", fetched_close, METH_VARARGS, "Forget a set and its values."},
	{"restore_fetched", restore_fetched, METH_VARARGS, "The numbers that chains of fetched values lead to."},
	{"take_numbers", take_numbers, METH_VARARGS, "The numbers that restore_numbers left in a set, which is closed."},
	{"plane_target", plane_target, METH_VARARGS, "The memory that planes are read into."},
	{"fresh_numbers", fresh_numbers, METH_VARARGS, "Memory for so many bytes of numbers."},
	{"checksum", checksum, METH_VARARGS, "The checksum of dense numbers of a dtype and shape."},
	{"progress_start", progress_start, METH_VARARGS, "Start reporting an operation."},
	{"progress_report", progress_report, METH_VARARGS, "Report how far the operation is."},
	{"progress_end", progress_end, METH_NOARGS, "Stop reporting."},
	{NULL, NULL, 0, NULL}
};

static struct PyModuleDef definition = {
	PyModuleDef_HEAD_INIT,
	.m_name = "_delc",
	.m_doc = "The database server's side of the package delc.",
	.m_size = -1,
	.m_methods = methods
};

PyObject *
create_module(void)
{
	return PyModule_Create(&definition);
}
