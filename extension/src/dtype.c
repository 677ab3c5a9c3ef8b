/*
 * dtype.c
 *	  The element types: names, sizes, kinds.
 */
#include "tensor_format.h"

typedef struct DtypeEntry
{
	const char *name;
	int			size;
	DtypeKind	kind;
} DtypeEntry;

static const DtypeEntry dtype_table[DELC_DTYPE_LAST + 1] = {
	[DELC_FLOAT64] = {"float64", 8, KIND_FLOAT},
	[DELC_FLOAT32] = {"float32", 4, KIND_FLOAT},
	[DELC_FLOAT16] = {"float16", 2, KIND_FLOAT},
	[DELC_BFLOAT16] = {"bfloat16", 2, KIND_FLOAT},
	[DELC_INT64] = {"int64", 8, KIND_INTEGER},
	[DELC_INT32] = {"int32", 4, KIND_INTEGER},
	[DELC_INT16] = {"int16", 2, KIND_INTEGER},
	[DELC_INT8] = {"int8", 1, KIND_INTEGER},
	[DELC_UINT8] = {"uint8", 1, KIND_INTEGER},
	[DELC_BOOL] = {"bool", 1, KIND_BOOL},
};

static bool
is_dtype(int dtype)
{
	return dtype >= DELC_DTYPE_FIRST && dtype <= DELC_DTYPE_LAST;
}

const char *
delc_dtype_name(int dtype)
{
	return is_dtype(dtype) ? dtype_table[dtype].name : NULL;
}

int
delc_dtype_size(int dtype)
{
	return is_dtype(dtype) ? dtype_table[dtype].size : 0;
}

DtypeKind
delc_dtype_kind(int dtype)
{
	Assert(is_dtype(dtype));
	return dtype_table[dtype].kind;
}

int
delc_dtype_lookup(const char *name)
{
	for (int dtype = DELC_DTYPE_FIRST; dtype <= DELC_DTYPE_LAST; dtype++)
	{
		if (strcmp(name, dtype_table[dtype].name) == 0)
			return dtype;
	}
	return -1;
}

int
delc_dtype_require(const char *name, int sqlstate)
{
	int			dtype = delc_dtype_lookup(name);

	if (dtype < 0)
		ereport(ERROR,
				(errcode(sqlstate),
				 errmsg("unknown dtype \"%s\"", name),
				 errhint("Known dtypes: %s.", DTYPE_NAMES)));
	return dtype;
}
