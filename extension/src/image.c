/*
 * image.c
 *	  Whether pairs of values are stored alike: their images are compared, byte
 *	  by byte, so that 1.0 and 1.00, or 0 and -0, differ, and types without
 *	  equality can be compared.
 */
#include "delc.h"

#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"

typedef struct ImageType
{
	int16		length;
	bool		by_value;
} ImageType;

/* The types of the pairs, looked up once for each call in a query. */
static ImageType *
pair_types(FunctionCallInfo fcinfo)
{
	FmgrInfo   *function = fcinfo->flinfo;
	int			arguments = PG_NARGS();
	ImageType  *types = function->fn_extra;

	if (types != NULL)
		return types;
	if (get_fn_expr_variadic(function) || arguments % 2 != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("same_images() takes pairs of values"),
				 errdetail("There are %d arguments.", arguments),
				 errhint("Give the values that belong together side by side.")));
	types = MemoryContextAlloc(function->fn_mcxt, sizeof(ImageType) * arguments / 2);
	for (int i = 0; i < arguments / 2; i++)
	{
		Oid			left = get_fn_expr_argtype(function, 2 * i);
		Oid			right = get_fn_expr_argtype(function, 2 * i + 1);

		if (!OidIsValid(left) || !OidIsValid(right))
			elog(ERROR, "could not determine the types of pair %d", i + 1);
		left = getBaseType(left);
		right = getBaseType(right);
		if (left != right)
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("pair %d has values of different types", i + 1),
					 errdetail("They are %s and %s.", format_type_be(left), format_type_be(right)),
					 errhint("Cast one of them.")));
		get_typlenbyval(left, &types[i].length, &types[i].by_value);
	}
	function->fn_extra = types;
	return types;
}

/*
 * same_images(VARIADIC "any"): whether the first value is stored like the
 * second, the third like the fourth, and so on; NULL is like NULL alone.
 */
PG_FUNCTION_INFO_V1(delc_same_images);
Datum
delc_same_images(PG_FUNCTION_ARGS)
{
	ImageType  *types = pair_types(fcinfo);
	int			pairs = PG_NARGS() / 2;

	for (int i = 0; i < pairs; i++)
	{
		bool		is_null = PG_ARGISNULL(2 * i);

		if (is_null != PG_ARGISNULL(2 * i + 1))
			PG_RETURN_BOOL(false);
		if (is_null)
			continue;
		if (!datum_image_eq(PG_GETARG_DATUM(2 * i), PG_GETARG_DATUM(2 * i + 1),
							types[i].by_value, types[i].length))
			PG_RETURN_BOOL(false);
	}
	PG_RETURN_BOOL(true);
}
