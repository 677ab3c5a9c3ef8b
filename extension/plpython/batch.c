/*
 * batch.c: packed batches for Python, without copies.
 */
#include "bridge.h"

static PyObject *
shape_of_group(const Packer *packer, int group_index)
{
	const PackGroup *group = &packer->groups[group_index];
	PyObject   *shape;

	for (int i = 0; i < packer->columns_count && group->columns == 1; i++)
	{
		const PackColumn *column = &packer->columns[i];

		if (column->kind != PACK_NUMBER || column->group != group_index)
			continue;
		shape = PyTuple_New(Max(column->rank, 1));
		for (int d = 0; shape != NULL && d < Max(column->rank, 1); d++)
			PyTuple_SET_ITEM(shape, d, PyLong_FromLongLong(column->rank == 0 ? 1 : column->dims[d]));
		return shape;
	}
	return Py_BuildValue("(L)", (long long) Max(group->width, 0));
}

/* (buffer, dtype, width, shape) */
static PyObject *
group_to_python(const Packer *packer, int group_index)
{
	const PackGroup *group = &packer->groups[group_index];
	PyObject   *buffer;

	if (group->buffer == NULL)
	{
		void	   *data;

		buffer = buffer_of_size(0, &data);
	}
	else
		buffer = buffer_from_packed(group->buffer, (Size) packer->rows * group->width * group->item_size);
	if (buffer == NULL)
		return NULL;
	return Py_BuildValue("(NsLN)", buffer, delc_library.dtype_name(group->dtype),
						 (long long) Max(group->width, 0), shape_of_group(packer, group_index));
}

static PyObject *
groups_to_python(const Packer *packer)
{
	PyObject   *groups = PyList_New(packer->groups_count);

	for (int i = 0; groups != NULL && i < packer->groups_count; i++)
	{
		PyObject   *group = group_to_python(packer, i);

		if (group == NULL)
			Py_CLEAR(groups);
		else
			PyList_SET_ITEM(groups, i, group);
	}
	return groups;
}

/* (column, nulls, first NULL row, non-finite values, first non-finite row) for columns with any */
static PyObject *
problems_to_python(const Packer *packer)
{
	PyObject   *problems = PyList_New(0);

	for (int i = 0; problems != NULL && i < packer->columns_count; i++)
	{
		const PackColumn *column = &packer->columns[i];
		PyObject   *problem;

		if (column->nulls == 0 && column->nonfinite == 0)
			continue;
		problem = Py_BuildValue("(iLLLL)", i,
								(long long) column->nulls, (long long) column->first_null_row,
								(long long) column->nonfinite, (long long) column->first_nonfinite_row);
		if (problem == NULL || PyList_Append(problems, problem) < 0)
			Py_CLEAR(problems);
		Py_XDECREF(problem);
	}
	return problems;
}

static PyObject *
texts_from(const PackDictionary *dictionary, int32 first)
{
	int32		size = delc_library.dictionary_size(dictionary);
	PyObject   *texts = PyList_New(Max(size - first, 0));

	for (int32 code = first; texts != NULL && code < size; code++)
	{
		/* The database encoding is UTF-8 or the text is refused by Python itself. */
		PyObject   *text = PyUnicode_FromString(delc_library.dictionary_text(dictionary, code));

		if (text == NULL)
			Py_CLEAR(texts);
		else
			PyList_SET_ITEM(texts, code - first, text);
	}
	return texts;
}

/* {column: texts with codes from known[column] on} */
static PyObject *
dictionaries_to_python(const Packer *packer, PyObject *known)
{
	PyObject   *dictionaries = PyDict_New();

	for (int i = 0; dictionaries != NULL && i < packer->columns_count; i++)
	{
		const PackDictionary *dictionary = packer->columns[i].dictionary;
		PyObject   *column;
		PyObject   *count;
		PyObject   *texts;

		if (dictionary == NULL)
			continue;
		column = PyLong_FromLong(i);
		count = known == Py_None ? NULL : PyDict_GetItem(known, column);
		texts = texts_from(dictionary, count == NULL ? 0 : (int32) PyLong_AsLong(count));
		if (texts == NULL || PyDict_SetItem(dictionaries, column, texts) < 0)
			Py_CLEAR(dictionaries);
		Py_XDECREF(texts);
		Py_DECREF(column);
	}
	return dictionaries;
}

/* take_batch(portal, {column: known texts}) → (rows, first_row, groups, problems, new texts) */
PyObject *
take_batch(PyObject *self, PyObject *arguments)
{
	const char *portal_name;
	PyObject   *known;
	Packer	   *packer;

	if (!PyArg_ParseTuple(arguments, "sO!", &portal_name, &PyDict_Type, &known))
		return NULL;
	packer = delc_library.packer_of_portal(portal_name);
	if (packer == NULL)
		return PyErr_Format(PyExc_RuntimeError, "no rows are being packed under the name \"%s\"", portal_name);
	return Py_BuildValue("(LLNNN)", (long long) packer->rows, (long long) packer->first_row,
						 groups_to_python(packer), problems_to_python(packer),
						 dictionaries_to_python(packer, known));
}

static Packer *
packer_argument(PyObject *arguments)
{
	int			handle;
	Packer	   *packer;

	if (!PyArg_ParseTuple(arguments, "i", &handle))
		return NULL;
	packer = delc_library.packer_of_handle(handle);
	if (packer == NULL)
		PyErr_Format(PyExc_RuntimeError, "unknown prediction %d", handle);
	return packer;
}

/* row_buffers(handle) → groups as in take_batch, of one row; their memory is filled anew for each row */
PyObject *
row_buffers(PyObject *self, PyObject *arguments)
{
	Packer	   *packer = packer_argument(arguments);
	int64		rows;
	PyObject   *groups;

	if (packer == NULL)
		return NULL;
	rows = packer->rows;
	packer->rows = 1;
	groups = groups_to_python(packer);
	packer->rows = rows;
	return groups;
}

/* row_problems(handle) → None, or (problems, {column: texts}) of the packed row where there is any */
PyObject *
row_problems(PyObject *self, PyObject *arguments)
{
	Packer	   *packer = packer_argument(arguments);
	bool		any = false;

	if (packer == NULL)
		return NULL;
	for (int i = 0; i < packer->columns_count; i++)
		any = any || packer->columns[i].nulls > 0 || packer->columns[i].nonfinite > 0 ||
			packer->columns[i].dictionary != NULL;
	if (!any)
		Py_RETURN_NONE;
	return Py_BuildValue("(NN)", problems_to_python(packer), dictionaries_to_python(packer, Py_None));
}
