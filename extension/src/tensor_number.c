/*
 * tensor_number.c
 *	  One element as text, exact both ways.
 *
 * Floats print as the shortest decimal that reads back as the same bits.  The
 * common quiet NaN prints as NaN, any other as NaN(0x...) with all its bits.
 */
#include "tensor_number.h"

#include <errno.h>
#include <math.h>

#include "common/shortest_dec.h"

#include "small_float.h"

/* ---- the layout of the float dtypes ---- */

typedef struct FloatFormat
{
	uint64		sign;
	uint64		infinity;		/* all exponent bits */
	uint64		quiet_nan;		/* the NaN that prints as NaN */
} FloatFormat;

static FloatFormat
float_format(int dtype)
{
	switch (dtype)
	{
		case DELC_FLOAT64:
			return (FloatFormat)
			{
				UINT64CONST(1) << 63, UINT64CONST(0x7FF) << 52, UINT64CONST(0xFFF) << 51
			};
		case DELC_FLOAT32:
			return (FloatFormat)
			{
				0x80000000, 0x7F800000, 0x7FC00000
			};
		case DELC_FLOAT16:
			return (FloatFormat)
			{
				0x8000, 0x7C00, 0x7E00
			};
		default:
			return (FloatFormat)
			{
				0x8000, 0x7F80, 0x7FC0
			};
	}
}

/* ---- print ---- */

/*
 * The shortest decimal of a 16-bit float.  Five significant digits tell all
 * float16 apart, four all bfloat16.
 */
static void
print_small_float(StringInfo out, int dtype, uint16 bits)
{
	double		number = dtype == DELC_FLOAT16 ?
		delc_float16_to_float(bits) : delc_bfloat16_to_float(bits);
	char		text[32];

	for (int digits = 1; digits <= 9; digits++)
	{
		uint16		back;

		snprintf(text, sizeof(text), "%.*g", digits, number);
		back = delc_small_float_of_double(strtod(text, NULL),
										  dtype == DELC_FLOAT16 ? 10 : 7);
		if (back == bits)
			break;
	}
	appendStringInfoString(out, text);
}

static void
print_finite(StringInfo out, int dtype, uint64 bits)
{
	char		text[DOUBLE_SHORTEST_DECIMAL_LEN];

	if (dtype == DELC_FLOAT64)
	{
		double		number;

		memcpy(&number, &bits, sizeof(number));
		double_to_shortest_decimal_buf(number, text);
		appendStringInfoString(out, text);
	}
	else if (dtype == DELC_FLOAT32)
	{
		float_to_shortest_decimal_buf(delc_float_of_bits((uint32) bits), text);
		appendStringInfoString(out, text);
	}
	else
		print_small_float(out, dtype, (uint16) bits);
}

static void
print_float(StringInfo out, int dtype, uint64 bits)
{
	FloatFormat format = float_format(dtype);
	uint64		magnitude = bits & ~format.sign;

	if (bits == format.quiet_nan)
		appendStringInfoString(out, "NaN");
	else if (magnitude > format.infinity)
		appendStringInfo(out, "NaN(0x%llx)", (unsigned long long) bits);
	else if (magnitude == format.infinity)
		appendStringInfoString(out, bits & format.sign ? "-Infinity" : "Infinity");
	else
		print_finite(out, dtype, bits);
}

static int64
load_integer(int dtype, const void *element)
{
	int64		number;

	delc_convert(dtype, element, DELC_INT64, &number, 1);
	return number;
}

/* Append the text of one element, aligned for its dtype. */
void
delc_number_print(StringInfo out, int dtype, const void *element)
{
	uint64		bits = 0;

	switch (delc_dtype_kind(dtype))
	{
		case KIND_FLOAT:
			memcpy(&bits, element, delc_dtype_size(dtype));
			print_float(out, dtype, bits);
			break;
		case KIND_INTEGER:
			appendStringInfo(out, INT64_FORMAT, load_integer(dtype, element));
			break;
		case KIND_BOOL:
			appendStringInfoChar(out, *(const char *) element ? 't' : 'f');
			break;
	}
}

/* ---- parse ---- */

static void pg_attribute_noreturn()
bad_number(const char *token, int dtype)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
			 errmsg("invalid %s number in tensor: \"%s\"",
					delc_dtype_name(dtype), token)));
	pg_unreachable();
}

static void pg_attribute_noreturn()
number_out_of_range(const char *token, int dtype)
{
	ereport(ERROR,
			(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
			 errmsg("%s is out of range for dtype %s",
					token, delc_dtype_name(dtype))));
	pg_unreachable();
}

/* NaN(0x...): the bits must be those of a NaN of the dtype. */
static uint64
parse_nan_bits(const char *token, int dtype)
{
	FloatFormat format = float_format(dtype);
	char	   *end;
	uint64		bits;

	/* strtoull would also take a sign, or blanks */
	if (!isxdigit((unsigned char) token[6]))
		bad_number(token, dtype);
	errno = 0;
	bits = strtoull(token + 6, &end, 16);
	if (errno != 0 || strcmp(end, ")") != 0 ||
		(bits & ~(format.sign | (format.sign - 1))) != 0 ||
		(bits & ~format.sign) <= format.infinity)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("invalid %s number in tensor: \"%s\"",
						delc_dtype_name(dtype), token),
				 errdetail("The parentheses must hold the bits of a NaN.")));
	return bits;
}

/* A word for a number that is not finite; false when it is none. */
static bool
parse_float_word(const char *token, int dtype, uint64 *bits)
{
	FloatFormat format = float_format(dtype);
	bool		negative = token[0] == '-';
	const char *word = token + (token[0] == '-' || token[0] == '+');

	if (pg_strncasecmp(token, "nan(0x", 6) == 0)
		*bits = parse_nan_bits(token, dtype);
	else if (pg_strcasecmp(word, "nan") == 0)
		*bits = format.quiet_nan | (negative ? format.sign : 0);
	else if (pg_strcasecmp(word, "infinity") == 0 || pg_strcasecmp(word, "inf") == 0)
		*bits = format.infinity | (negative ? format.sign : 0);
	else
		return false;
	return true;
}

/*
 * Decimal text to a float; numbers too small become zero.  float16 and
 * bfloat16 go through a double.
 */
static void
parse_decimal(const char *token, int dtype, void *element)
{
	char	   *end;
	bool		infinite;

	/* strtod takes words and hexadecimal numbers, too */
	if (token[strspn(token, "0123456789.eE+-")] != '\0')
		bad_number(token, dtype);
	if (dtype == DELC_FLOAT32)
	{
		float		number = strtof(token, &end);

		infinite = isinf(number);
		memcpy(element, &number, sizeof(number));
	}
	else
	{
		double		number = strtod(token, &end);

		infinite = isinf(number);
		if (dtype == DELC_FLOAT64)
			memcpy(element, &number, sizeof(number));
		else
		{
			uint16		bits = delc_small_float_of_double(number,
														  dtype == DELC_FLOAT16 ? 10 : 7);

			infinite = (bits & 0x7FFF) == float_format(dtype).infinity;
			memcpy(element, &bits, sizeof(bits));
		}
	}
	if (end == token || *end != '\0')
		bad_number(token, dtype);
	if (infinite)
		number_out_of_range(token, dtype);
}

static void
parse_integer(const char *token, int dtype, void *element)
{
	char	   *end;
	long long	parsed;
	int64		number;

	if (token[strspn(token, "0123456789+-")] != '\0')
		bad_number(token, dtype);
	errno = 0;
	parsed = strtoll(token, &end, 10);
	if (end == token || *end != '\0')
		bad_number(token, dtype);
	if (errno == ERANGE)
		number_out_of_range(token, dtype);
	number = parsed;
	delc_convert(DELC_INT64, &number, dtype, element, 1);
}

static void
parse_bool(const char *token, void *element)
{
	bool		is_true = pg_strcasecmp(token, "t") == 0 ||
		pg_strcasecmp(token, "true") == 0 || strcmp(token, "1") == 0;

	if (!is_true && pg_strcasecmp(token, "f") != 0 &&
		pg_strcasecmp(token, "false") != 0 && strcmp(token, "0") != 0)
		bad_number(token, DELC_BOOL);
	*(uint8 *) element = is_true;
}

/* Parse one number to an element, aligned for its dtype. */
void
delc_number_parse(const char *token, int dtype, void *element)
{
	uint64		bits;

	if (pg_strcasecmp(token, "null") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("a tensor cannot contain NULL"),
				 errhint("Floats may be NaN.")));
	switch (delc_dtype_kind(dtype))
	{
		case KIND_FLOAT:
			if (parse_float_word(token, dtype, &bits))
				memcpy(element, &bits, delc_dtype_size(dtype));
			else
				parse_decimal(token, dtype, element);
			break;
		case KIND_INTEGER:
			parse_integer(token, dtype, element);
			break;
		case KIND_BOOL:
			parse_bool(token, element);
			break;
	}
}
