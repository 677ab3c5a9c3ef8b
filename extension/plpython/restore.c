/*
 * restore.c: a chain of stored tensors and deltas as dense numbers.
 */
#include "bridge.h"

#include "utils/memutils.h"

typedef struct Chain
{
	int			count;
	const char **bytes;			/* those of Python's objects, which the caller holds */
	int64	   *lengths;
} Chain;

/* Turns the PostgreSQL error that was caught into a Python exception. */
static void
error_to_python(MemoryContext context)
{
	ErrorData  *error;

	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	FlushErrorState();
	if (error->detail != NULL)
		PyErr_Format(PyExc_ValueError, "%s (%s)", error->message, error->detail);
	else
		PyErr_SetString(PyExc_ValueError, error->message);
	FreeErrorData(error);
}

/* False with a Python exception. */
static bool
read_header(const Chain *chain, DelcTensorHeader *header)
{
	MemoryContext context = CurrentMemoryContext;
	volatile bool read = true;

	PG_TRY();
	{
		delc_library.stored_header(chain->bytes[chain->count - 1],
								   chain->lengths[chain->count - 1], header);
	}
	PG_CATCH();
	{
		error_to_python(context);
		read = false;
	}
	PG_END_TRY();
	return read;
}

/* 1 when done, 0 when an interrupt is waiting, -1 with a Python exception. */
static int
read_numbers(const Chain *chain, int planes, void *data)
{
	MemoryContext context = CurrentMemoryContext;
	volatile int done = -1;

	PG_TRY();
	{
		done = delc_library.restore_stored(chain->count, chain->bytes, chain->lengths, planes, data);
	}
	PG_CATCH();
	{
		error_to_python(context);
	}
	PG_END_TRY();
	return done;
}

static PyObject *
shape_to_python(const DelcTensorHeader *header)
{
	PyObject   *shape = PyTuple_New(header->rank);

	for (int i = 0; shape != NULL && i < header->rank; i++)
		PyTuple_SET_ITEM(shape, i, PyLong_FromLongLong(header->dims[i]));
	return shape;
}

static PyObject *
restored(const Chain *chain, int planes)
{
	DelcTensorHeader header;
	PyObject   *buffer;
	void	   *data;
	int			done;

	if (!read_header(chain, &header))
		return NULL;
	buffer = buffer_of_size(header.raw_bytes, &data);
	if (buffer == NULL)
		return NULL;
	done = read_numbers(chain, planes, data);
	if (done == 1)
		return Py_BuildValue("(NsN)", buffer, delc_library.dtype_name(header.dtype),
							 shape_to_python(&header));
	Py_DECREF(buffer);
	if (done < 0)
		return NULL;
	Py_RETURN_NONE;
}

/* The bytes objects of a tuple; false with a Python exception. */
static bool
collect(PyObject *values, Chain *chain)
{
	for (int i = 0; i < chain->count; i++)
	{
		char	   *bytes;
		Py_ssize_t	length;

		if (PyBytes_AsStringAndSize(PyTuple_GET_ITEM(values, i), &bytes, &length) != 0)
			return false;
		chain->bytes[i] = bytes;
		chain->lengths[i] = length;
	}
	return true;
}

/*
 * restore(values, planes) → (buffer, dtype, shape), or None when an interrupt is waiting
 *
 * values is a tuple of bytes as delc.encoded(tensor) gives them: one whole
 * value, and deltas each from what the one before leads to.
 */
PyObject *
restore(PyObject *self, PyObject *arguments)
{
	Chain		chain = {0};
	PyObject   *values;
	PyObject   *result = NULL;
	int			planes;

	if (!PyArg_ParseTuple(arguments, "O!i", &PyTuple_Type, &values, &planes))
		return NULL;
	chain.count = (int) PyTuple_GET_SIZE(values);
	if (chain.count == 0)
	{
		PyErr_SetString(PyExc_ValueError, "a chain has at least one value");
		return NULL;
	}
	chain.bytes = PyMem_Calloc(chain.count, sizeof(char *));
	chain.lengths = PyMem_Calloc(chain.count, sizeof(int64));
	if (chain.bytes == NULL || chain.lengths == NULL)
		PyErr_NoMemory();
	else if (collect(values, &chain))
		result = restored(&chain, planes);
	PyMem_Free(chain.bytes);
	PyMem_Free(chain.lengths);
	return result;
}
