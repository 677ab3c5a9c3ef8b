/*
 * pack_layout.c: how the columns of a query are packed, as SQL arguments say it.
 */
#include "pack.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

/* More numbers than an array can have; so few that widths of all columns can be added up. */
#define MOST_NUMBERS (1 << 28)

static Datum *
elements_of(ArrayType *array, Oid element_type, const char *what, int *count)
{
	Datum	   *elements;
	bool	   *nulls;
	int16		length;
	bool		by_value;
	char		align;

	if (ARR_ELEMTYPE(array) != element_type || ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("%s must be a one-dimensional array", what)));
	length = (element_type == TEXTOID) ? -1 : (element_type == INT8OID) ? sizeof(int64) : sizeof(int32);
	by_value = (element_type == TEXTOID) ? false : (element_type == INT8OID) ? FLOAT8PASSBYVAL : true;
	align = (element_type == INT8OID) ? TYPALIGN_DOUBLE : TYPALIGN_INT;
	deconstruct_array(array, element_type, length, by_value, align, &elements, &nulls, count);
	for (int i = 0; i < *count; i++)
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("%s must not contain NULL", what)));
	return elements;
}

static void
require_count(int count, int expected, const char *what)
{
	if (count != expected)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s has %d elements, expected %d", what, count, expected)));
}

static PackKind
kind_from_text(const char *text)
{
	if (strcmp(text, "skip") == 0)
		return PACK_SKIP;
	if (strcmp(text, "number") == 0)
		return PACK_NUMBER;
	if (strcmp(text, "category") == 0)
		return PACK_CATEGORY;
	if (strcmp(text, "key") == 0)
		return PACK_KEY;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown kind of column \"%s\"", text),
			 errdetail("Known are number, category, key and skip.")));
	return PACK_SKIP;			/* keep the compiler quiet */
}

static int
dtype_from_text(const char *text)
{
	int			dtype = delc_dtype_lookup(text);

	if (dtype < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown dtype \"%s\"", text)));
	return dtype;
}

/* Reads kinds text[], groups integer[], widths bigint[] (by column) and dtypes text[] (by group). */
void
pack_layout_from_arguments(PackLayout *layout, ArrayType *kinds, ArrayType *groups,
						   ArrayType *widths, ArrayType *dtypes)
{
	int			count;
	Datum	   *elements = elements_of(kinds, TEXTOID, "kinds", &layout->columns_count);
	PackKind   *kind_values = palloc(sizeof(PackKind) * Max(layout->columns_count, 1));
	int		   *group_values = palloc(sizeof(int) * Max(layout->columns_count, 1));
	int64	   *width_values = palloc(sizeof(int64) * Max(layout->columns_count, 1));
	int		   *dtype_values;

	for (int i = 0; i < layout->columns_count; i++)
		kind_values[i] = kind_from_text(TextDatumGetCString(elements[i]));

	elements = elements_of(groups, INT4OID, "groups", &count);
	require_count(count, layout->columns_count, "groups");
	for (int i = 0; i < count; i++)
		group_values[i] = DatumGetInt32(elements[i]);

	elements = elements_of(widths, INT8OID, "widths", &count);
	require_count(count, layout->columns_count, "widths");
	for (int i = 0; i < count; i++)
	{
		width_values[i] = DatumGetInt64(elements[i]);
		if (width_values[i] != -1 && (width_values[i] < 1 || width_values[i] > MOST_NUMBERS))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("a width is %lld", (long long) width_values[i]),
					 errdetail("Allowed are 1 to %d, and -1 where the first row decides.", MOST_NUMBERS)));
	}

	elements = elements_of(dtypes, TEXTOID, "dtypes", &layout->groups_count);
	dtype_values = palloc(sizeof(int) * Max(layout->groups_count, 1));
	for (int i = 0; i < layout->groups_count; i++)
		dtype_values[i] = dtype_from_text(TextDatumGetCString(elements[i]));

	layout->kinds = kind_values;
	layout->groups = group_values;
	layout->widths = width_values;
	layout->dtypes = dtype_values;
}
