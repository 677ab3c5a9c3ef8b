/*
 * tensor_text.c
 *	  Text in and out.
 *
 * Small tensors read like arrays behind their dtype and shape:
 *
 *		float32[2,3]{{1,2.5,NaN},{-0,Infinity,1e-45}}
 *		int64[]{7}			rank 0: one number
 *		float32[4,0]{}		no numbers
 *
 * Larger ones carry the stored value itself, which is compact and as exact:
 *
 *		float32[512,512]base64:3hwBAgIEAAA...
 *
 * So do deltas (delta.h) of any size.
 *
 * Input takes both for any size.  It also takes a dtype without shape
 * (int16{{1,2},{3,4}}), and braces or brackets alone, which are float32.
 */
#include "delta.h"
#include "tensor_number.h"

#include <errno.h>

#include "mb/pg_wchar.h"

#include "base64.h"

/* Tensors with more elements than this are written as base64. */
#define READABLE_ELEMENTS 256

#define COMPACT_MARK "base64:"

/* Longest text of one number; longer ones are mistakes. */
#define TOKEN_LENGTH 1000

/* ---- out ---- */

static void
print_numbers(StringInfo out, const DelcTensorHeader *header, int axis,
			  const char **element)
{
	if (axis == header->rank)
	{
		delc_number_print(out, header->dtype, *element);
		*element += header->item_size;
		return;
	}
	appendStringInfoChar(out, '{');
	for (int64 i = 0; i < header->dims[axis]; i++)
	{
		if (i > 0)
			appendStringInfoChar(out, ',');
		print_numbers(out, header, axis + 1, element);
	}
	appendStringInfoChar(out, '}');
}

static void
print_readable(StringInfo out, Datum value, const DelcTensorHeader *header)
{
	uint64		dense[READABLE_ELEMENTS];
	const char *element = (const char *) dense;

	delc_tensor_decode(value, 0, dense);
	if (header->elements == 0)
		appendStringInfoString(out, "{}");
	else if (header->rank == 0)
	{
		appendStringInfoChar(out, '{');
		delc_number_print(out, header->dtype, element);
		appendStringInfoChar(out, '}');
	}
	else
		print_numbers(out, header, 0, &element);
}

static void
print_compact(StringInfo out, const struct varlena *value)
{
	int64		length = VARSIZE_ANY_EXHDR(value);
	int64		text_length = delc_base64_length(length);

	appendStringInfoString(out, COMPACT_MARK);
	enlargeStringInfo(out, text_length);
	delc_base64_encode(VARDATA_ANY(value), length, out->data + out->len);
	out->len += text_length;
	out->data[out->len] = '\0';
}

PG_FUNCTION_INFO_V1(delc_tensor_out);
Datum
delc_tensor_out(PG_FUNCTION_ARGS)
{
	struct varlena *value = PG_DETOAST_DATUM_PACKED(PG_GETARG_DATUM(0));
	DelcTensorHeader header;
	StringInfoData out;

	delc_value_header(PointerGetDatum(value), &header);
	initStringInfo(&out);
	appendStringInfoString(&out, delc_header_text(&header));
	if (header.elements <= READABLE_ELEMENTS && !delc_is_delta(PointerGetDatum(value)))
		print_readable(&out, PointerGetDatum(value), &header);
	else
		print_compact(&out, value);
	PG_RETURN_CSTRING(out.data);
}

/* ---- in ---- */

typedef struct TextParser
{
	const char *text;			/* all of it, for messages */
	const char *at;
	int			dtype;			/* 0 while unknown */
	bool		has_shape;
	DelcTensorHeader header;	/* valid if has_shape */
	int			rank;			/* -1 while unknown */
	int64		dims[TENSOR_MAX_RANK];	/* -1 while unknown */
	StringInfoData dense;
} TextParser;

static void pg_attribute_noreturn() pg_attribute_printf(2, 3)
bad_text(const TextParser *parser, const char *format,...)
{
	char		detail[256];
	char		excerpt[64];
	va_list		arguments;

	va_start(arguments, format);
	vsnprintf(detail, sizeof(detail), format, arguments);
	va_end(arguments);
	strlcpy(excerpt, parser->text, sizeof(excerpt) - 4);
	if (strlen(parser->text) > strlen(excerpt))
	{
		/* do not cut a character of several bytes in two */
		excerpt[pg_mbcliplen(excerpt, strlen(excerpt), sizeof(excerpt) - 8)] = '\0';
		strcat(excerpt, "...");
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
			 errmsg("malformed tensor: \"%s\"", excerpt),
			 errdetail_internal("%s", detail),
			 errhint("A tensor reads like float32[2,3]{{1,2,3},{4,5,6}}.")));
	pg_unreachable();
}

/* Where the parser stands, counted from 1, for messages. */
static int64
position(const TextParser *parser)
{
	return parser->at - parser->text + 1;
}

static void
skip_blanks(TextParser *parser)
{
	while (isspace((unsigned char) *parser->at))
		parser->at++;
}

static void
parse_dtype(TextParser *parser)
{
	char		name[NAMEDATALEN];
	size_t		length = strspn(parser->at, "abcdefghijklmnopqrstuvwxyz0123456789_");

	if (length == 0 || strncmp(parser->at, COMPACT_MARK, strlen(COMPACT_MARK)) == 0)
		return;
	/* float32[2]base64:... never meets this; base64 without a dtype does */
	strlcpy(name, parser->at, Min(length + 1, sizeof(name)));
	parser->dtype = delc_dtype_require(name, ERRCODE_INVALID_TEXT_REPRESENTATION);
	parser->at += length;
}

/* "[2,3]", "[]" */
static void
parse_shape(TextParser *parser)
{
	int			rank = 0;

	parser->at++;
	skip_blanks(parser);
	while (*parser->at != ']')
	{
		char	   *end;

		if (rank == TENSOR_MAX_RANK)
			bad_text(parser, "The rank of a tensor is 0 to %d.", TENSOR_MAX_RANK);
		if (rank > 0 && *parser->at++ != ',')
			bad_text(parser, "The shape needs a comma or ] before character "
					 INT64_FORMAT ".", position(parser));
		skip_blanks(parser);
		errno = 0;
		if (*parser->at != '-' && !isdigit((unsigned char) *parser->at))
			bad_text(parser, "The shape has no number at character " INT64_FORMAT ".",
					 position(parser));
		parser->dims[rank++] = strtoll(parser->at, &end, 10);
		if (errno != 0 || end == parser->at)
			bad_text(parser, "Dimension %d of the shape is out of range.", rank);
		parser->at = end;
		skip_blanks(parser);
	}
	parser->at++;
	parser->rank = rank;
	parser->has_shape = true;
	delc_shape_set(&parser->header, parser->dtype, rank, parser->dims,
				   ERRCODE_INVALID_TEXT_REPRESENTATION);
}

static void
parse_number(TextParser *parser)
{
	char		token[TOKEN_LENGTH + 1];
	size_t		length = strcspn(parser->at, ",{}[] \t\n\r\f\v");
	uint64		element;
	int			item_size = delc_dtype_size(parser->dtype);

	if (length == 0)
		bad_text(parser, "There is no number at character " INT64_FORMAT ".",
				 position(parser));
	if (length > TOKEN_LENGTH)
		bad_text(parser, "The number at character " INT64_FORMAT
				 " has more than %d characters.", position(parser), TOKEN_LENGTH);
	memcpy(token, parser->at, length);
	token[length] = '\0';
	delc_number_parse(token, parser->dtype, &element);
	if (parser->dense.len + item_size > TENSOR_MAX_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("tensor is too large"),
				 errdetail("One tensor holds at most " INT64_FORMAT " bytes (128 MiB).",
						   TENSOR_MAX_BYTES),
				 errhint("Keep larger tensors in chunks, one per row, split along the first axis.")));
	appendBinaryStringInfo(&parser->dense, (char *) &element, item_size);
	parser->at += length;
}

static bool
at_opening(const TextParser *parser)
{
	return *parser->at == '{' || *parser->at == '[';
}

/* Numbers and groups of one kind decide the rank at the first number. */
static void
set_rank(TextParser *parser, int rank)
{
	if (parser->rank < 0)
	{
		if (rank > TENSOR_MAX_RANK)
			bad_text(parser, "The rank of a tensor is 0 to %d.", TENSOR_MAX_RANK);
		parser->rank = rank;
	}
	else if (parser->rank != rank)
		bad_text(parser, "Numbers at character " INT64_FORMAT
				 " are nested %d deep, the tensor has rank %d.",
				 position(parser), rank, parser->rank);
}

static void
set_dimension(TextParser *parser, int axis, int64 count)
{
	if (parser->dims[axis] < 0)
		parser->dims[axis] = count;
	else if (parser->dims[axis] != count)
		bad_text(parser, "Up to character " INT64_FORMAT " axis %d has " INT64_FORMAT
				 " entries instead of " INT64_FORMAT ".",
				 position(parser), axis + 1, count, parser->dims[axis]);
}

/* One pair of braces or brackets along an axis. */
static void
parse_group(TextParser *parser, int axis)
{
	char		closing = *parser->at == '{' ? '}' : ']';
	int64		count = 0;

	if (axis >= (parser->rank < 0 ? TENSOR_MAX_RANK : parser->rank))
		bad_text(parser, "Braces at character " INT64_FORMAT
				 " are nested %d deep, the tensor has rank %d at most.",
				 position(parser), axis + 1,
				 parser->rank < 0 ? TENSOR_MAX_RANK : parser->rank);
	parser->at++;
	skip_blanks(parser);
	while (*parser->at != closing)
	{
		if (count > 0)
		{
			if (*parser->at != ',')
				bad_text(parser, "There should be , or %c at character "
						 INT64_FORMAT ".", closing, position(parser));
			parser->at++;
			skip_blanks(parser);
		}
		if (at_opening(parser))
			parse_group(parser, axis + 1);
		else
		{
			set_rank(parser, axis + 1);
			parse_number(parser);
		}
		count++;
		skip_blanks(parser);
	}
	if (count == 0 && parser->rank < 0)
		set_rank(parser, axis + 1);
	parser->at++;
	set_dimension(parser, axis, count);
}

/* "{7}" for a tensor of rank 0. */
static void
parse_scalar(TextParser *parser)
{
	char		closing = *parser->at == '{' ? '}' : ']';

	parser->at++;
	skip_blanks(parser);
	parse_number(parser);
	skip_blanks(parser);
	if (*parser->at != closing)
		bad_text(parser, "A tensor of rank 0 has one number in braces; %c is missing at character "
				 INT64_FORMAT ".", closing, position(parser));
	parser->at++;
}

/* "{}", for an empty tensor of any shape; false when it is something else. */
static bool
parse_nothing(TextParser *parser)
{
	const char *start = parser->at;
	char		closing = *parser->at == '{' ? '}' : ']';

	if (!parser->has_shape || parser->header.elements != 0)
		return false;
	parser->at++;
	skip_blanks(parser);
	if (*parser->at++ == closing)
		return true;
	parser->at = start;
	return false;
}

static struct varlena *
parse_readable(TextParser *parser)
{
	initStringInfo(&parser->dense);
	if (parser->has_shape && parser->rank == 0)
		parse_scalar(parser);
	else if (!parse_nothing(parser))
		parse_group(parser, 0);
	skip_blanks(parser);
	if (*parser->at != '\0')
		bad_text(parser, "There is more after the tensor, from character "
				 INT64_FORMAT " on.", position(parser));
	return delc_tensor_encode(parser->dtype, parser->rank, parser->dims,
							  parser->dense.data);
}

static struct varlena *
parse_compact(TextParser *parser)
{
	const char *text = parser->at + strlen(COMPACT_MARK);
	int64		length = strlen(text);
	int64		bytes;
	int64		wrong;
	struct varlena *value;
	DelcTensorHeader header;

	while (length > 0 && isspace((unsigned char) text[length - 1]))
		length--;
	bytes = delc_base64_decoded_length(text, length);
	if (bytes < 0)
		bad_text(parser, "The base64 text has " INT64_FORMAT
				 " characters, which is no multiple of 4.", length);
	value = palloc(VARHDRSZ + bytes);
	SET_VARSIZE(value, VARHDRSZ + bytes);
	wrong = delc_base64_decode(text, length, VARDATA(value));
	if (wrong >= 0)
		bad_text(parser, "The base64 text is wrong at character " INT64_FORMAT ".",
				 text - parser->text + wrong + 1);
	delc_tensor_verify(value);
	delc_value_header(PointerGetDatum(value), &header);
	if ((parser->dtype != 0 && parser->dtype != header.dtype) ||
		(parser->has_shape && !delc_shape_equal(&parser->header, &header)))
		bad_text(parser, "The text holds a tensor %s.", delc_header_text(&header));
	return value;
}

PG_FUNCTION_INFO_V1(delc_tensor_in);
Datum
delc_tensor_in(PG_FUNCTION_ARGS)
{
	TextParser	parser = {.rank = -1};

	parser.text = parser.at = PG_GETARG_CSTRING(0);
	for (int axis = 0; axis < TENSOR_MAX_RANK; axis++)
		parser.dims[axis] = -1;
	skip_blanks(&parser);
	parse_dtype(&parser);
	skip_blanks(&parser);
	if (parser.dtype != 0 && *parser.at == '[')
		parse_shape(&parser);
	skip_blanks(&parser);
	if (strncmp(parser.at, COMPACT_MARK, strlen(COMPACT_MARK)) == 0)
		PG_RETURN_TENSOR(parse_compact(&parser));
	if (!at_opening(&parser))
		bad_text(&parser, "There should be a dtype, { or [ at character "
				 INT64_FORMAT ".", position(&parser));
	if (parser.dtype == 0)
		parser.dtype = DELC_FLOAT32;
	PG_RETURN_TENSOR(parse_readable(&parser));
}
