/*
 * planes.c: memory that planes of stored tensors are read into.
 */
#include "bridge.h"

static Py_buffer target;
static bool is_set = false;

static void
clear_target(void)
{
	delc_library.plane_target(NULL, 0);
	if (is_set)
		PyBuffer_Release(&target);
	is_set = false;
}

/*
 * plane_target(memory): writable memory that delc.read_planes() writes to, held
 * until the next call; None: none
 */
PyObject *
plane_target(PyObject *self, PyObject *arguments)
{
	PyObject   *memory;

	if (!PyArg_ParseTuple(arguments, "O", &memory))
		return NULL;
	clear_target();
	if (memory != Py_None)
	{
		if (PyObject_GetBuffer(memory, &target, PyBUF_WRITABLE | PyBUF_C_CONTIGUOUS) != 0)
			return NULL;
		is_set = true;
		delc_library.plane_target(target.buf, target.len);
	}
	Py_RETURN_NONE;
}

/* fresh_numbers(bytes) → memory for numbers, to be filled; in large pages where it is large */
PyObject *
fresh_numbers(PyObject *self, PyObject *arguments)
{
	Py_ssize_t	bytes;
	void	   *data;

	if (!PyArg_ParseTuple(arguments, "n", &bytes))
		return NULL;
	if (bytes < 0)
		return PyErr_Format(PyExc_ValueError, "%zd bytes cannot be had", bytes);
	return buffer_of_size(bytes, &data);
}
