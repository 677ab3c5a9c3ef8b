/*
 * buffer.c: dense numbers as a Python object with the buffer protocol.
 *
 * The memory is malloc'd or mapped, a packer's, or in a memory context of its own, never in
 * another: Python may keep a view longer than that lives. It is writable, because torch warns of
 * read-only memory; whoever holds it owns it.
 */
#include "bridge.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "utils/memutils.h"

/* From this size on, memory is asked for in large pages: the kernel's work for each of 4 KiB takes longer than decoding. */
#define LARGE_BUFFER ((Size) 4 << 20)
#define LARGE_PAGE ((Size) 2 << 20)

typedef struct DenseBuffer
{
	PyObject_HEAD
	PackBuffer *packed;			/* that data is part of, or NULL */
	MemoryContext context;		/* that data is all of, or NULL */
	void	   *memory;			/* with data in it, or NULL */
	void		(*release) (void *memory);	/* frees it */
	void	   *data;
	Py_ssize_t	size;
} DenseBuffer;

static void
buffer_dealloc(PyObject *self)
{
	DenseBuffer *buffer = (DenseBuffer *) self;
	PyTypeObject *type = Py_TYPE(self);

	if (buffer->packed != NULL)
		delc_library.buffer_release(buffer->packed);
	if (buffer->context != NULL)
		MemoryContextDelete(buffer->context);
	if (buffer->memory != NULL)
		buffer->release(buffer->memory);
	type->tp_free(self);
	Py_DECREF(type);
}

static int
buffer_get(PyObject *self, Py_buffer *view, int flags)
{
	DenseBuffer *buffer = (DenseBuffer *) self;

	return PyBuffer_FillInfo(view, self, buffer->data, buffer->size, 0, flags);
}

static PyType_Slot buffer_slots[] = {
	{Py_tp_dealloc, buffer_dealloc},
	{Py_bf_getbuffer, buffer_get},
	{Py_tp_doc, "Dense numbers in memory of the database server."},
	{0, NULL}
};

static PyType_Spec buffer_spec = {
	.name = "_delc.Buffer",
	.basicsize = sizeof(DenseBuffer),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
	.slots = buffer_slots
};

PyTypeObject *
buffer_type(void)
{
	static PyTypeObject *type = NULL;

	if (type == NULL)
		type = (PyTypeObject *) PyType_FromSpec(&buffer_spec);
	return type;
}

static DenseBuffer *
new_buffer(void)
{
	PyTypeObject *type = buffer_type();

	return type == NULL ? NULL : (DenseBuffer *) type->tp_alloc(type, 0);
}

/* A view on a packed batch, which stays alive as long as the view. */
PyObject *
buffer_from_packed(PackBuffer *packed, Size size)
{
	DenseBuffer *buffer = new_buffer();

	if (buffer == NULL)
		return NULL;
	delc_library.buffer_retain(packed);
	buffer->packed = packed;
	buffer->data = packed->data;
	buffer->size = size;
	return (PyObject *) buffer;
}

/* Memory whose alignment suits vector instructions, or large pages. */
static void *
fresh_memory(Size size)
{
	void	   *memory;

	if (size < LARGE_BUFFER)
		return aligned_alloc(64, TYPEALIGN(64, Max(size, 1)));
	memory = aligned_alloc(LARGE_PAGE, TYPEALIGN(LARGE_PAGE, size));
#ifdef MADV_HUGEPAGE
	if (memory != NULL)
		(void) madvise(memory, size, MADV_HUGEPAGE);	/* a hint: it may be refused */
#endif
	return memory;
}

/* Fresh memory, to be filled by the caller. */
PyObject *
buffer_of_size(Size size, void **data)
{
	DenseBuffer *buffer = new_buffer();

	if (buffer == NULL)
		return NULL;
	buffer->data = buffer->memory = fresh_memory(size);
	buffer->release = free;
	buffer->size = size;
	if (buffer->data == NULL)
	{
		Py_DECREF(buffer);
		return PyErr_NoMemory();
	}
	*data = buffer->data;
	return (PyObject *) buffer;
}

/* Memory that becomes the buffer's, or is released where there is none: data in it. */
PyObject *
buffer_of_memory(void *memory, void (*release) (void *memory), void *data, Size size)
{
	DenseBuffer *buffer = new_buffer();

	if (buffer == NULL)
	{
		release(memory);
		return NULL;
	}
	buffer->memory = memory;
	buffer->release = release;
	buffer->data = data;
	buffer->size = size;
	return (PyObject *) buffer;
}

/* A memory context of long life, which becomes the buffer's, or is deleted: data in it. */
PyObject *
buffer_of_context(MemoryContext context, void *data, Size size)
{
	DenseBuffer *buffer = new_buffer();

	if (buffer == NULL)
	{
		MemoryContextDelete(context);
		return NULL;
	}
	buffer->context = context;
	buffer->data = data;
	buffer->size = size;
	return (PyObject *) buffer;
}
