/*
 * tensor_npy.c
 *	  numpy's .npy files as bytea.
 *
 * Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
 * A magic string, a version, the length of a header, the header (the literal
 * of a Python dict), the numbers.  The header is read by a small parser of the one dict that numpy
 * writes; nothing is evaluated.
 *
 * numpy has no bfloat16: files of the ml_dtypes package declare it as two raw
 * bytes ("<V2"), and that is what is read and written here.
 */
#include "tensor_format.h"

#include "common/int.h"

static const char npy_magic[] = "\x93NUMPY";

#define NPY_MAGIC_BYTES 6

/* numpy's own limit is 10000; longer headers describe structured dtypes. */
#define NPY_MAX_HEADER 65536

typedef struct NpyHeader
{
	int			dtype;
	bool		big_endian;
	bool		fortran_order;
	int			rank;
	int64		dims[TENSOR_MAX_RANK];
} NpyHeader;

typedef struct NpyParser
{
	const char *at;
	const char *end;
	bool		has_descr;
	bool		has_order;
	bool		has_shape;
	NpyHeader	header;
} NpyParser;

static void pg_attribute_noreturn() pg_attribute_printf(1, 2)
malformed(const char *format,...)
{
	char		detail[256];
	va_list		arguments;

	va_start(arguments, format);
	vsnprintf(detail, sizeof(detail), format, arguments);
	va_end(arguments);
	ereport(ERROR,
			(errcode(ERRCODE_DATA_EXCEPTION),
			 errmsg("malformed .npy file"),
			 errdetail_internal("%s", detail)));
	pg_unreachable();
}

/* ---- the header's dict ---- */

static void
skip_blanks(NpyParser *parser)
{
	while (parser->at < parser->end &&
		   (*parser->at == ' ' || *parser->at == '\n' || *parser->at == '\t'))
		parser->at++;
}

/* Take a character if it is next. */
static bool
take(NpyParser *parser, char character)
{
	skip_blanks(parser);
	if (parser->at == parser->end || *parser->at != character)
		return false;
	parser->at++;
	return true;
}

static void
require(NpyParser *parser, char character)
{
	if (!take(parser, character))
		malformed("Its header lacks a %c.", character);
}

/* A string literal without escapes, up to size - 1 bytes. */
static void
parse_string(NpyParser *parser, char *out, int size)
{
	char		quote = take(parser, '"') ? '"' : '\'';
	int			length = 0;

	if (quote == '\'')
		require(parser, quote);
	while (parser->at < parser->end && *parser->at != quote)
	{
		unsigned char character = *parser->at++;

		if (character == '\\' || character < ' ' || character > '~' ||
			length + 1 >= size)
			malformed("Its header has a string that is not understood.");
		out[length++] = character;
	}
	out[length] = '\0';
	require(parser, quote);
}

static void pg_attribute_noreturn()
unknown_descr(const char *descr)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg(".npy files with dtype \"%s\" cannot be tensors", descr),
			 errdetail("b1, i1, i2, i4, i8, u1, f2, f4, f8 and V2 (bfloat16) can."),
			 errhint("Convert the array with astype before saving it.")));
	pg_unreachable();
}

static void
parse_descr(NpyParser *parser)
{
	static const struct
	{
		const char *name;
		int			dtype;
	}			kinds[] =
	{
		{"f8", DELC_FLOAT64}, {"f4", DELC_FLOAT32}, {"f2", DELC_FLOAT16},
		{"V2", DELC_BFLOAT16}, {"i8", DELC_INT64}, {"i4", DELC_INT32},
		{"i2", DELC_INT16}, {"i1", DELC_INT8}, {"u1", DELC_UINT8}, {"b1", DELC_BOOL}
	};
	char		descr[64];

	skip_blanks(parser);
	if (parser->at < parser->end && *parser->at == '[')
		unknown_descr("[...]");
	parse_string(parser, descr, sizeof(descr));
	if (descr[0] == '\0' || strchr("<>|=", descr[0]) == NULL)
		unknown_descr(descr);
	for (int i = 0; i < lengthof(kinds); i++)
	{
		if (strcmp(descr + 1, kinds[i].name) != 0)
			continue;
		parser->header.dtype = kinds[i].dtype;
		parser->header.big_endian = descr[0] == '>';
		return;
	}
	unknown_descr(descr);
}

static void
parse_order(NpyParser *parser)
{
	skip_blanks(parser);
	if (parser->end - parser->at >= 4 && memcmp(parser->at, "True", 4) == 0)
	{
		parser->header.fortran_order = true;
		parser->at += 4;
	}
	else if (parser->end - parser->at >= 5 && memcmp(parser->at, "False", 5) == 0)
		parser->at += 5;
	else
		malformed("fortran_order is neither True nor False.");
}

static int64
parse_dimension(NpyParser *parser)
{
	int64		number = 0;
	const char *start;

	skip_blanks(parser);
	start = parser->at;
	while (parser->at < parser->end && *parser->at >= '0' && *parser->at <= '9')
	{
		if (pg_mul_s64_overflow(number, 10, &number) ||
			pg_add_s64_overflow(number, *parser->at - '0', &number))
			malformed("A dimension of its shape is too large.");
		parser->at++;
	}
	if (parser->at == start)
		malformed("Its shape is not a tuple of integers.");
	return number;
}

static void
parse_tuple(NpyParser *parser)
{
	require(parser, '(');
	while (!take(parser, ')'))
	{
		if (parser->header.rank == TENSOR_MAX_RANK)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("the array in the .npy file has too many dimensions"),
					 errdetail("The rank of a tensor is 0 to %d.", TENSOR_MAX_RANK)));
		parser->header.dims[parser->header.rank++] = parse_dimension(parser);
		if (!take(parser, ','))
		{
			require(parser, ')');
			return;
		}
	}
}

/* One "key: value"; each key comes once. */
static void
parse_entry(NpyParser *parser)
{
	char		key[32];
	bool	   *seen;

	parse_string(parser, key, sizeof(key));
	if (strcmp(key, "descr") == 0)
		seen = &parser->has_descr;
	else if (strcmp(key, "fortran_order") == 0)
		seen = &parser->has_order;
	else if (strcmp(key, "shape") == 0)
		seen = &parser->has_shape;
	else
		malformed("Its header has the unknown key \"%s\".", key);
	if (*seen)
		malformed("Its header has the key \"%s\" twice.", key);
	*seen = true;
	require(parser, ':');
	if (seen == &parser->has_descr)
		parse_descr(parser);
	else if (seen == &parser->has_order)
		parse_order(parser);
	else
		parse_tuple(parser);
}

static NpyHeader
parse_header(const char *text, int64 length)
{
	NpyParser	parser = {.at = text,.end = text + length};

	require(&parser, '{');
	while (!take(&parser, '}'))
	{
		parse_entry(&parser);
		if (!take(&parser, ','))
		{
			require(&parser, '}');
			break;
		}
	}
	skip_blanks(&parser);
	if (parser.at != parser.end)
		malformed("Its header has more after the closing brace.");
	if (!parser.has_descr || !parser.has_order || !parser.has_shape)
		malformed("Its header lacks the key \"%s\".",
				  !parser.has_descr ? "descr" :
				  !parser.has_order ? "fortran_order" : "shape");
	return parser.header;
}

/* ---- in ---- */

/* Find the header's text; returns where the numbers start. */
static int64
locate_header(const char *file, int64 length, const char **text,
			  int64 *text_length)
{
	int			prefix;
	uint16		short_length;
	uint32		long_length;

	if (length < NPY_MAGIC_BYTES + 4 || memcmp(file, npy_magic, NPY_MAGIC_BYTES) != 0)
		malformed("It does not start with \\x93NUMPY and a version.");
	if (file[6] < 1 || file[6] > 3 || file[7] != 0)
		malformed("It has version %d.%d; 1.0, 2.0 and 3.0 are known.",
				  (unsigned char) file[6], (unsigned char) file[7]);
	prefix = NPY_MAGIC_BYTES + (file[6] == 1 ? 4 : 6);
	if (length < prefix)
		malformed("It ends within its header.");
	memcpy(&short_length, file + 8, 2);
	long_length = short_length;
	if (file[6] > 1)
		memcpy(&long_length, file + 8, 4);
	if (long_length > NPY_MAX_HEADER)
		malformed("Its header has %u bytes, more than %d.", long_length, NPY_MAX_HEADER);
	if (length - prefix < long_length)
		malformed("It ends within its header.");
	*text = file + prefix;
	*text_length = long_length;
	return prefix + long_length;
}

/* Copy elements from Fortran order to row-major order. */
static void
from_fortran_order(const char *from, const DelcTensorHeader *header, char *to)
{
	int64		strides[TENSOR_MAX_RANK];
	int64		index[TENSOR_MAX_RANK] = {0};
	int64		stride = header->item_size;
	int64		offset = 0;

	for (int axis = 0; axis < header->rank; axis++)
	{
		strides[axis] = stride;
		stride *= header->dims[axis];
	}
	for (int64 i = 0; i < header->elements; i++)
	{
		memcpy(to + i * header->item_size, from + offset, header->item_size);
		for (int axis = header->rank - 1; axis >= 0; axis--)
		{
			offset += strides[axis];
			if (++index[axis] < header->dims[axis])
				break;
			offset -= strides[axis] * header->dims[axis];
			index[axis] = 0;
		}
	}
}

static void
swap_bytes(char *dense, const DelcTensorHeader *header)
{
	int			size = header->item_size;

	for (int64 i = 0; i < header->elements; i++)
	{
		for (int low = 0, high = size - 1; low < high; low++, high--)
		{
			char		byte = dense[i * size + low];

			dense[i * size + low] = dense[i * size + high];
			dense[i * size + high] = byte;
		}
	}
}

PG_FUNCTION_INFO_V1(delc_tensor_from_npy);
Datum
delc_tensor_from_npy(PG_FUNCTION_ARGS)
{
	struct varlena *file = PG_DETOAST_DATUM_PACKED(PG_GETARG_DATUM(0));
	int64		length = VARSIZE_ANY_EXHDR(file);
	const char *text;
	int64		text_length;
	int64		start = locate_header(VARDATA_ANY(file), length, &text, &text_length);
	NpyHeader	npy = parse_header(text, text_length);
	DelcTensorHeader header;
	const char *dense = VARDATA_ANY(file) + start;

	delc_shape_set(&header, npy.dtype, npy.rank, npy.dims, ERRCODE_DATA_EXCEPTION);
	if (length - start != header.raw_bytes)
		malformed("An array %s has " INT64_FORMAT " bytes of numbers, not " INT64_FORMAT ".",
				  delc_header_text(&header), header.raw_bytes, length - start);
	if ((npy.fortran_order && npy.rank > 1) || npy.big_endian)
	{
		char	   *copy = palloc(Max(header.raw_bytes, 1));

		if (npy.fortran_order)
			from_fortran_order(dense, &header, copy);
		else
			memcpy(copy, dense, header.raw_bytes);
		if (npy.big_endian)
			swap_bytes(copy, &header);
		dense = copy;
	}
	PG_RETURN_TENSOR(delc_tensor_encode(npy.dtype, npy.rank, npy.dims, dense));
}

/* ---- out ---- */

static const char *
descr_of_dtype(int dtype)
{
	switch ((DelcDtype) dtype)
	{
		case DELC_FLOAT64:
			return "<f8";
		case DELC_FLOAT32:
			return "<f4";
		case DELC_FLOAT16:
			return "<f2";
		case DELC_BFLOAT16:
			return "<V2";
		case DELC_INT64:
			return "<i8";
		case DELC_INT32:
			return "<i4";
		case DELC_INT16:
			return "<i2";
		case DELC_INT8:
			return "|i1";
		case DELC_UINT8:
			return "|u1";
		case DELC_BOOL:
			return "|b1";
	}
	return NULL;
}

/*
 * Everything before the numbers, padded as numpy does so that they start at a
 * multiple of 64 bytes.
 */
static void
print_header(StringInfo out, const DelcTensorHeader *header)
{
	uint16		length;

	appendBinaryStringInfo(out, npy_magic, NPY_MAGIC_BYTES);
	appendBinaryStringInfo(out, "\1\0\0\0", 4);
	appendStringInfo(out, "{'descr': '%s', 'fortran_order': False, 'shape': (",
					 descr_of_dtype(header->dtype));
	for (int axis = 0; axis < header->rank; axis++)
		appendStringInfo(out, "%s" INT64_FORMAT "%s", axis > 0 ? " " : "",
						 header->dims[axis],
						 axis < header->rank - 1 || header->rank == 1 ? "," : "");
	appendStringInfoString(out, "), }");
	while ((out->len + 1) % 64 != 0)
		appendStringInfoChar(out, ' ');
	appendStringInfoChar(out, '\n');
	length = out->len - NPY_MAGIC_BYTES - 4;
	memcpy(out->data + NPY_MAGIC_BYTES + 2, &length, 2);
}

PG_FUNCTION_INFO_V1(delc_tensor_to_npy);
Datum
delc_tensor_to_npy(PG_FUNCTION_ARGS)
{
	TensorReader reader;
	const DelcTensorHeader *header = &reader.layout.header;
	StringInfoData start;
	int64		size;
	struct varlena *file;

	delc_reader_open(&reader, PG_GETARG_DATUM(0), 0);
	initStringInfo(&start);
	print_header(&start, header);
	size = VARHDRSZ + start.len + header->raw_bytes;
	file = palloc(size);
	SET_VARSIZE(file, size);
	memcpy(VARDATA(file), start.data, start.len);
	delc_reader_read(&reader, 0, header->elements, VARDATA(file) + start.len);
	delc_reader_close(&reader);
	PG_RETURN_BYTEA_P(file);
}
