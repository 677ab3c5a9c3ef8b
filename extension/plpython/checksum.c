/*
 * checksum.c: delc.checksum() for numbers that Python holds.
 */
#include "bridge.h"

/* checksum(dtype, shape, memory) → int; memory holds the dense numbers */
PyObject *
checksum(PyObject *self, PyObject *arguments)
{
	const char *dtype;
	PyObject   *shape;
	Py_buffer	memory;
	int			found;
	uint8		kind[2];
	int64		dims[TENSOR_MAX_RANK];
	Py_ssize_t	rank;
	uint32		crc = CRC32C_START;

	if (!PyArg_ParseTuple(arguments, "sO!y*", &dtype, &PyTuple_Type, &shape, &memory))
		return NULL;
	rank = PyTuple_GET_SIZE(shape);
	found = delc_library.dtype_lookup(dtype);
	kind[0] = (uint8) found;
	kind[1] = (uint8) rank;
	if (found < 0 || rank > TENSOR_MAX_RANK)
	{
		PyBuffer_Release(&memory);
		return PyErr_Format(PyExc_ValueError, "no tensor has dtype %s and rank %zd", dtype, rank);
	}
	for (Py_ssize_t axis = 0; axis < rank; axis++)
		dims[axis] = PyLong_AsLongLong(PyTuple_GET_ITEM(shape, axis));
	if (PyErr_Occurred())
	{
		PyBuffer_Release(&memory);
		return NULL;
	}
	crc = delc_library.crc32c_add(crc, kind, sizeof(kind));
	crc = delc_library.crc32c_add(crc, dims, rank * sizeof(int64));
	crc = delc_library.crc32c_add(crc, memory.buf, memory.len);
	PyBuffer_Release(&memory);
	return PyLong_FromUnsignedLong(crc ^ 0xFFFFFFFF);
}
