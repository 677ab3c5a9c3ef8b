/*
 * restore.c: fetched chains of stored values as dense numbers that Python owns.
 *
 * Nothing here throws an error of PostgreSQL over Python's frames: what could is caught.
 */
#include "bridge.h"

#include "restore_jobs.h"

#include <stdlib.h>

/* Turns the PostgreSQL error that was caught into a Python exception. */
static void
error_to_python(MemoryContext context)
{
	ErrorData  *error;

	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	FlushErrorState();
	PyErr_SetString(PyExc_ValueError, error->message);
	FreeErrorData(error);
}

/* fetched_open() → handle */
PyObject *
fetched_open(PyObject *self, PyObject *arguments)
{
	MemoryContext context = CurrentMemoryContext;
	volatile int handle = 0;

	PG_TRY();
	{
		handle = delc_library.fetched_open()->handle;
	}
	PG_CATCH();
	{
		error_to_python(context);
	}
	PG_END_TRY();
	return handle == 0 ? NULL : PyLong_FromLong(handle);
}

/* NULL with a Python exception. */
static FetchedSet *
find_set(int handle)
{
	MemoryContext context = CurrentMemoryContext;
	FetchedSet *volatile set = NULL;

	PG_TRY();
	{
		set = delc_library.fetched_find(handle);
	}
	PG_CATCH();
	{
		error_to_python(context);
	}
	PG_END_TRY();
	return set;
}

/* fetched_close(handle) */
PyObject *
fetched_close(PyObject *self, PyObject *arguments)
{
	FetchedSet *set;
	int			handle;

	if (!PyArg_ParseTuple(arguments, "i", &handle) || (set = find_set(handle)) == NULL)
		return NULL;
	delc_library.fetched_close(set, false);
	Py_RETURN_NONE;
}

static PyObject *
shape_to_python(const DelcTensorHeader *header)
{
	PyObject   *shape = PyTuple_New(header->rank);

	for (int i = 0; shape != NULL && i < header->rank; i++)
		PyTuple_SET_ITEM(shape, i, PyLong_FromLongLong(header->dims[i]));
	return shape;
}

/* ---- jobs ---- */

typedef struct Jobs
{
	int			count;
	RestoreJob *jobs;
	FetchedValue *values;		/* those of all jobs, in order */
	Py_buffer  *buffers;		/* three for each job: base, grandbase, where the numbers go */
} Jobs;

static void
release_jobs(Jobs *jobs)
{
	for (int i = 0; jobs->jobs != NULL && i < jobs->count; i++)
		threaded_release(jobs->jobs[i].memory);
	for (int i = 0; jobs->buffers != NULL && i < 3 * jobs->count; i++)
	{
		if (jobs->buffers[i].obj != NULL)
			PyBuffer_Release(&jobs->buffers[i]);
	}
	PyMem_Free(jobs->jobs);
	PyMem_Free(jobs->values);
	PyMem_Free(jobs->buffers);
}

static bool
take_buffer(PyObject *object, int flags, Py_buffer *buffer)
{
	return object == Py_None || PyObject_GetBuffer(object, buffer, flags) == 0;
}

/* One job of Python's: (places of its values, planes, planes to keep, base, grandbase, into). */
static bool
take_job(PyObject *given, const FetchedSet *set, RestoreJob *job, FetchedValue *values, Py_buffer *buffers)
{
	PyObject   *places;
	PyObject   *base;
	PyObject   *grandbase;
	PyObject   *into;

	if (!PyArg_ParseTuple(given, "O!iiOOO", &PyTuple_Type, &places, &job->planes, &job->keep, &base,
						  &grandbase, &into) ||
		!take_buffer(base, PyBUF_SIMPLE, &buffers[0]) ||
		!take_buffer(grandbase, PyBUF_SIMPLE, &buffers[1]) ||
		!take_buffer(into, PyBUF_WRITABLE, &buffers[2]))
		return false;
	job->count = (int) PyTuple_GET_SIZE(places);
	job->values = values;
	job->base = buffers[0].buf;
	job->base_bytes = buffers[0].len;
	job->grandbase = buffers[1].buf;
	job->into = buffers[2].buf;
	job->into_bytes = buffers[2].len;
	for (int i = 0; i < job->count; i++)
	{
		long		place = PyLong_AsLong(PyTuple_GET_ITEM(places, i));

		if (place < 0 || place >= set->count)
		{
			PyErr_Format(PyExc_ValueError, "set %d has no value %ld", set->handle, place);
			return false;
		}
		values[i] = set->values[place];
	}
	if (job->count > 0 && (job->grandbase == NULL || buffers[1].len == buffers[0].len))
		return true;
	PyErr_SetString(PyExc_ValueError, "a chain has at least one value, and bases of one size");
	return false;
}

static bool
count_values(PyObject *given, Jobs *jobs, Py_ssize_t *values)
{
	*values = 0;
	for (int i = 0; i < jobs->count; i++)
	{
		PyObject   *job = PyTuple_GET_ITEM(given, i);

		if (!PyTuple_Check(job) || PyTuple_GET_SIZE(job) < 1 || !PyTuple_Check(PyTuple_GET_ITEM(job, 0)))
		{
			PyErr_SetString(PyExc_TypeError, "a job is a tuple that begins with a tuple of places");
			return false;
		}
		*values += PyTuple_GET_SIZE(PyTuple_GET_ITEM(job, 0));
	}
	return true;
}

/* False with a Python exception. */
static bool
take_jobs(PyObject *given, const FetchedSet *set, Jobs *jobs)
{
	Py_ssize_t	values;
	Py_ssize_t	taken = 0;

	jobs->count = (int) PyTuple_GET_SIZE(given);
	if (!count_values(given, jobs, &values))
		return false;
	jobs->jobs = PyMem_Calloc(Max(jobs->count, 1), sizeof(RestoreJob));
	jobs->values = PyMem_Calloc(Max(values, 1), sizeof(FetchedValue));
	jobs->buffers = PyMem_Calloc(Max(3 * jobs->count, 1), sizeof(Py_buffer));
	if (jobs->jobs == NULL || jobs->values == NULL || jobs->buffers == NULL)
	{
		PyErr_NoMemory();
		return false;
	}
	for (int i = 0; i < jobs->count; i++)
	{
		if (!take_job(PyTuple_GET_ITEM(given, i), set, &jobs->jobs[i], jobs->values + taken, jobs->buffers + 3 * i))
			return false;
		taken += jobs->jobs[i].count;
	}
	return true;
}

/* The memory that a job's numbers are on, with a reference for the caller. */
static PyObject *
memory_of(RestoreJob *job, Py_buffer *into)
{
	void	   *memory = job->memory;

	if (into->obj != NULL)
	{
		Py_INCREF(into->obj);
		return into->obj;
	}
	job->memory = NULL;
	return buffer_of_memory(memory, threaded_release, job->numbers, job->header.raw_bytes);
}

/* What a job led to: (buffer, dtype, shape, checksum), or what was wrong. */
static PyObject *
result_of(RestoreJob *job, Py_buffer *into)
{
	PyObject   *buffer;

	if (job->failed && job->detail[0] != '\0')
		return PyUnicode_FromFormat("%s (%s)", job->message, job->detail);
	if (job->failed)
		return PyUnicode_FromString(job->message);
	buffer = memory_of(job, into);
	if (buffer == NULL)
		return NULL;
	return Py_BuildValue("(NsNk)", buffer, delc_library.dtype_name(job->header.dtype),
						 shape_to_python(&job->header), (unsigned long) job->checksum);
}

static const RestoreJob *
first_without_memory(const Jobs *jobs)
{
	for (int i = 0; i < jobs->count; i++)
	{
		if (jobs->jobs[i].out_of_memory)
			return &jobs->jobs[i];
	}
	return NULL;
}

/* A list by job, or None when an interrupt is waiting. */
static PyObject *
results_of(Jobs *jobs)
{
	const RestoreJob *starved = first_without_memory(jobs);
	PyObject   *results;

	if (starved != NULL)
		return PyErr_Format(PyExc_MemoryError, "%s", starved->detail);
	for (int i = 0; i < jobs->count; i++)
	{
		if (!jobs->jobs[i].done && !jobs->jobs[i].failed)
			Py_RETURN_NONE;
	}
	results = PyList_New(jobs->count);
	for (int i = 0; results != NULL && i < jobs->count; i++)
	{
		PyObject   *result = result_of(&jobs->jobs[i], &jobs->buffers[3 * i + 2]);

		if (result == NULL)
			Py_CLEAR(results);
		else
			PyList_SET_ITEM(results, i, result);
	}
	return results;
}

/*
 * restore_fetched(handle, jobs, threads) → list, or None when an interrupt is waiting
 *
 * A job is (places, planes, keep, base, grandbase, into): the places in the set of one whole
 * value and of deltas each from what the one before leads to, or of deltas only, the first of which
 * is from the numbers of base, and base from grandbase; how many planes to decode, and how
 * many of what was decoded to keep (0: all); memory of just the numbers' size to put them into, or
 * None.
 */
PyObject *
restore_fetched(PyObject *self, PyObject *arguments)
{
	Jobs		jobs = {0};
	FetchedSet *set;
	PyObject   *given;
	PyObject   *results = NULL;
	int			handle;
	int			threads;

	if (!PyArg_ParseTuple(arguments, "iO!i", &handle, &PyTuple_Type, &given, &threads) ||
		(set = find_set(handle)) == NULL)
		return NULL;
	if (take_jobs(given, set, &jobs))
	{
		restore_jobs(jobs.jobs, jobs.count, threads);
		results = results_of(&jobs);
	}
	release_jobs(&jobs);
	return results;
}

/* take_numbers(handle, planes to keep) → (buffer, dtype, shape) */
PyObject *
take_numbers(PyObject *self, PyObject *arguments)
{
	FetchedSet *set;
	DelcTensorHeader header;
	PyObject   *buffer;
	int			handle;
	int			keep;

	if (!PyArg_ParseTuple(arguments, "ii", &handle, &keep) || (set = find_set(handle)) == NULL)
		return NULL;
	if (!set->restored)
		return PyErr_Format(PyExc_ValueError, "nothing was restored into set %d", handle);
	header = set->header;
	keep_planes(&header, set->numbers, keep);
	delc_library.fetched_close(set, true);
	buffer = buffer_of_context(set->context, set->numbers, header.raw_bytes);
	if (buffer == NULL)
		return NULL;
	return Py_BuildValue("(NsN)", buffer, delc_library.dtype_name(header.dtype), shape_to_python(&header));
}
