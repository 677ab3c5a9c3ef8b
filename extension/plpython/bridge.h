/*
 * bridge.h: what the parts of delc_plpython.so share.
 *
 * Rule of this library: a function that Python calls never lets a PostgreSQL
 * error jump over Python's frames. Whatever can fail runs as a SQL function
 * through plpy, which turns errors into exceptions.
 */
#ifndef DELC_BRIDGE_H
#define DELC_BRIDGE_H

#include "postgres.h"

#include "fmgr.h"

#include "crc32c.h"
#include "fetched.h"
#include "pack.h"
#include "plpython.h"
#include "tensor.h"

/* buffer.c: memory that Python owns, with the buffer protocol */
extern PyTypeObject *buffer_type(void);
extern PyObject *buffer_from_packed(PackBuffer *buffer, Size size);
extern PyObject *buffer_of_size(Size size, void **data);
extern PyObject *buffer_of_memory(void *memory, void (*release) (void *memory), void *data, Size size);
extern PyObject *buffer_of_context(MemoryContext context, void *data, Size size);

/* library.c: functions of delc.so */
typedef struct DelcLibrary
{
	DelcTensorEncode tensor_encode;
	DelcTensorReadHeader tensor_header;
	DelcTensorDecode tensor_decode;
	DelcPlaneTarget plane_target;
	DelcCrc32cAdd crc32c_add;
	DelcFetchedOpen fetched_open;
	DelcFetchedFind fetched_find;
	DelcFetchedClose fetched_close;
	DelcDtypeName dtype_name;
	DelcDtypeLookup dtype_lookup;
	DelcDtypeSize dtype_size;
	Packer	   *(*packer_of_portal) (const char *portal_name);
	Packer	   *(*packer_of_handle) (int32 handle);
	void		(*buffer_retain) (PackBuffer *buffer);
	void		(*buffer_release) (PackBuffer *buffer);
	int32		(*dictionary_size) (const PackDictionary *dictionary);
	const char *(*dictionary_text) (const PackDictionary *dictionary, int32 code);
	void		(*progress_start) (int64 run_id, const char *operation, const char *subject);
	void		(*progress_report) (const char *phase, int epoch, int epochs,
									int64 batch, int64 batches, double loss);
	void		(*progress_end) (void);
	const char *(*python_path) (void);
} DelcLibrary;

extern DelcLibrary delc_library;
extern void resolve_library(void);

/* load.c */
extern void load_python(Oid owner);
extern void load_python_for(Oid function);
extern void raise_python_error(const char *doing);

/* owner.c */
extern Oid	extension_owner;
extern PyObject *become_owner(PyObject *self, PyObject *arguments);
extern PyObject *become_caller(PyObject *self, PyObject *arguments);

/* store_guard.c */
extern PyObject *open_store(PyObject *self, PyObject *arguments);
extern PyObject *close_store(PyObject *self, PyObject *arguments);
extern PyObject *expect_insert(PyObject *self, PyObject *arguments);

/* batch.c */
extern PyObject *take_batch(PyObject *self, PyObject *arguments);
extern PyObject *row_buffers(PyObject *self, PyObject *arguments);
extern PyObject *row_problems(PyObject *self, PyObject *arguments);

/* restore.c */
extern PyObject *fetched_open(PyObject *self, PyObject *arguments);
extern PyObject *fetched_close(PyObject *self, PyObject *arguments);
extern PyObject *restore_fetched(PyObject *self, PyObject *arguments);
extern PyObject *take_numbers(PyObject *self, PyObject *arguments);

/* planes.c */
extern PyObject *plane_target(PyObject *self, PyObject *arguments);
extern PyObject *fresh_numbers(PyObject *self, PyObject *arguments);

/* client.c */
extern PyObject *client_gone(PyObject *self, PyObject *arguments);

/* checksum.c */
extern PyObject *checksum(PyObject *self, PyObject *arguments);

/* module.c */
extern PyObject *create_module(void);

#endif							/* DELC_BRIDGE_H */
