/*
 * transform.c: tensor ↔ Python.
 *
 * A tensor becomes a numpy array (bfloat16: a torch tensor) on memory of its
 * own; anything that delc.server.tensors can read as dense numbers becomes a
 * tensor.
 */
#include "bridge.h"

/*
 * A function of the package, kept once it was found. A user's own function
 * may be the first in the session that needs the package.
 */
static PyObject *
package_function(const char *name, PyObject **cache, FunctionCallInfo fcinfo)
{
	PyObject   *module;

	if (*cache != NULL)
		return *cache;
	load_python_for(fcinfo->flinfo->fn_oid);
	module = PyImport_ImportModule("delc.server.tensors");
	if (module == NULL)
		raise_python_error("could not import delc.server.tensors");
	*cache = PyObject_GetAttrString(module, name);
	Py_DECREF(module);
	if (*cache == NULL)
		raise_python_error("could not find a function of delc.server.tensors");
	return *cache;
}

static void
decode_or_release(Datum value, PyObject *buffer, void *data)
{
	PG_TRY();
	{
		delc_library.tensor_decode(value, 0, data);
	}
	PG_CATCH();
	{
		Py_DECREF(buffer);
		PG_RE_THROW();
	}
	PG_END_TRY();
}

static PyObject *
shape_to_python(const DelcTensorHeader *header)
{
	PyObject   *shape = PyTuple_New(header->rank);

	for (int i = 0; shape != NULL && i < header->rank; i++)
		PyTuple_SET_ITEM(shape, i, PyLong_FromLongLong(header->dims[i]));
	return shape;
}

PG_FUNCTION_INFO_V1(delc_tensor_to_python);

Datum
delc_tensor_to_python(PG_FUNCTION_ARGS)
{
	static PyObject *from_buffer = NULL;
	Datum		value = PG_GETARG_DATUM(0);
	DelcTensorHeader header;
	PyObject   *buffer;
	PyObject   *array;
	void	   *data;

	resolve_library();
	package_function("from_buffer", &from_buffer, fcinfo);
	delc_library.tensor_header(value, &header);
	buffer = buffer_of_size(header.raw_bytes, &data);
	if (buffer == NULL)
		raise_python_error("could not read a tensor");
	decode_or_release(value, buffer, data);

	array = PyObject_CallFunction(from_buffer, "NsN", buffer,
								  delc_library.dtype_name(header.dtype), shape_to_python(&header));
	if (array == NULL)
		raise_python_error("could not read a tensor");
	return PointerGetDatum(array);
}

/* Refuses memory that does not hold exactly the numbers it is said to hold. */
static void
require_size(Py_ssize_t size, const char *dtype_name, int rank, const int64 *dims)
{
	double		expected = delc_library.dtype_size(delc_library.dtype_lookup(dtype_name));

	for (int i = 0; i < rank; i++)
		expected *= dims[i];
	if (rank < 0)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a tensor has at most %d dimensions", TENSOR_MAX_RANK)));
	if (expected != (double) size)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%zd bytes are not a tensor of %s with the shape given", size, dtype_name)));
}

static int
shape_from_python(PyObject *shape, int64 *dims)
{
	Py_ssize_t	rank = PyTuple_Check(shape) ? PyTuple_GET_SIZE(shape) : -1;

	if (rank < 0 || rank > TENSOR_MAX_RANK)
		return -1;
	for (Py_ssize_t i = 0; i < rank; i++)
		dims[i] = PyLong_AsLongLong(PyTuple_GET_ITEM(shape, i));
	return (int) rank;
}

/* Encodes what to_buffer returned: (dtype, shape, object with the buffer protocol). */
static struct varlena *
encode_parts(PyObject *parts)
{
	const char *dtype_name;
	PyObject   *shape;
	PyObject   *source;
	Py_buffer	view;
	int64		dims[TENSOR_MAX_RANK] = {0};
	int			rank;
	struct varlena *volatile encoded = NULL;

	if (!PyArg_ParseTuple(parts, "sOO", &dtype_name, &shape, &source) ||
		PyObject_GetBuffer(source, &view, PyBUF_C_CONTIGUOUS) < 0)
		raise_python_error("could not store a tensor");
	rank = shape_from_python(shape, dims);

	PG_TRY();
	{
		require_size(view.len, dtype_name, rank, dims);
		encoded = delc_library.tensor_encode(delc_library.dtype_lookup(dtype_name), rank, dims, view.buf);
	}
	PG_FINALLY();
	{
		PyBuffer_Release(&view);
	}
	PG_END_TRY();
	return encoded;
}

PG_FUNCTION_INFO_V1(delc_tensor_from_python);

Datum
delc_tensor_from_python(PG_FUNCTION_ARGS)
{
	static PyObject *to_buffer = NULL;
	PyObject   *object = (PyObject *) PG_GETARG_POINTER(0);
	PyObject   *parts;
	struct varlena *volatile encoded = NULL;

	resolve_library();
	package_function("to_buffer", &to_buffer, fcinfo);
	parts = PyObject_CallFunctionObjArgs(to_buffer, object, NULL);
	if (parts == NULL)
		raise_python_error("could not store a tensor");
	PG_TRY();
	{
		encoded = encode_parts(parts);
	}
	PG_FINALLY();
	{
		Py_DECREF(parts);
	}
	PG_END_TRY();
	PG_RETURN_POINTER(encoded);
}
