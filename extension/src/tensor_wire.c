/*
 * tensor_wire.c
 *	  Binary send and receive, for drivers.
 *
 * All numbers little-endian:
 *
 *	offset		bytes		field
 *	0			2			magic: DE 1C
 *	2			1			wire version: 1
 *	3			1			dtype (DelcDtype)
 *	4			1			rank, 0 to 8
 *	5			1			1 for a delta, else 0
 *	6			2			0
 *	8			8 * rank	dims, int64 each
 *	8+8*rank	...			elements * item size bytes, row-major; of a delta
 *							the stored value (delta.h)
 *
 * The numbers start at a multiple of eight bytes, so that a driver can use
 * them where they are (numpy.frombuffer, torch.frombuffer).
 */
#include "delta.h"

#include "libpq/pqformat.h"

#define WIRE_VERSION 1
#define WIRE_FIXED_BYTES 8
#define WIRE_DELTA 1

/* A delta travels as it is stored. */
static bytea *
send_delta(const struct varlena *value)
{
	DeltaLayout layout;
	StringInfoData message;
	char		fixed[WIRE_FIXED_BYTES] = {(char) TENSOR_MAGIC_0, TENSOR_MAGIC_1,
	WIRE_VERSION};

	delc_delta_read(PointerGetDatum(value), &layout);
	fixed[3] = layout.header.dtype;
	fixed[4] = layout.header.rank;
	fixed[5] = WIRE_DELTA;
	pq_begintypsend(&message);
	pq_sendbytes(&message, fixed, WIRE_FIXED_BYTES);
	pq_sendbytes(&message, (const char *) layout.header.dims, 8 * layout.header.rank);
	pq_sendbytes(&message, VARDATA_ANY(value), (int) layout.total_bytes);
	return pq_endtypsend(&message);
}

PG_FUNCTION_INFO_V1(delc_tensor_send);
Datum
delc_tensor_send(PG_FUNCTION_ARGS)
{
	TensorReader reader;
	const DelcTensorHeader *header = &reader.layout.header;
	StringInfoData message;
	char		fixed[WIRE_FIXED_BYTES] = {(char) TENSOR_MAGIC_0, TENSOR_MAGIC_1,
	WIRE_VERSION};

	if (delc_is_delta(PG_GETARG_DATUM(0)))
		PG_RETURN_BYTEA_P(send_delta(PG_DETOAST_DATUM_PACKED(PG_GETARG_DATUM(0))));
	delc_reader_open(&reader, PG_GETARG_DATUM(0), 0);
	fixed[3] = header->dtype;
	fixed[4] = header->rank;
	pq_begintypsend(&message);
	enlargeStringInfo(&message, WIRE_FIXED_BYTES + 8 * header->rank + header->raw_bytes);
	pq_sendbytes(&message, fixed, WIRE_FIXED_BYTES);
	pq_sendbytes(&message, (const char *) header->dims, 8 * header->rank);
	delc_reader_read(&reader, 0, header->elements, message.data + message.len);
	message.len += header->raw_bytes;
	message.data[message.len] = '\0';
	delc_reader_close(&reader);
	PG_RETURN_BYTEA_P(pq_endtypsend(&message));
}

static void pg_attribute_noreturn() pg_attribute_printf(1, 2)
malformed(const char *format,...)
{
	char		detail[256];
	va_list		arguments;

	va_start(arguments, format);
	vsnprintf(detail, sizeof(detail), format, arguments);
	va_end(arguments);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
			 errmsg("malformed binary tensor"),
			 errdetail_internal("%s", detail)));
	pg_unreachable();
}

/* Read and check everything before the numbers; is it a delta? */
static bool
receive_header(StringInfo message, DelcTensorHeader *header)
{
	int64		dims[TENSOR_MAX_RANK];
	const unsigned char *fixed;
	int			left = message->len - message->cursor;

	if (left < WIRE_FIXED_BYTES)
		malformed("It has %d bytes, a header has at least %d.", left, WIRE_FIXED_BYTES);
	fixed = (const unsigned char *) pq_getmsgbytes(message, WIRE_FIXED_BYTES);
	if (fixed[0] != TENSOR_MAGIC_0 || fixed[1] != TENSOR_MAGIC_1)
		malformed("It starts with %02X%02X instead of %02X%02X.",
				  fixed[0], fixed[1], TENSOR_MAGIC_0, TENSOR_MAGIC_1);
	if (fixed[2] != WIRE_VERSION)
		malformed("It has wire version %d; this server reads version %d.",
				  fixed[2], WIRE_VERSION);
	if (fixed[5] > WIRE_DELTA || fixed[6] != 0 || fixed[7] != 0)
		malformed("Bytes 5 to 7 are not zero.");
	if (fixed[4] > TENSOR_MAX_RANK)
		malformed("It has rank %d; the rank of a tensor is 0 to %d.",
				  fixed[4], TENSOR_MAX_RANK);
	left -= WIRE_FIXED_BYTES;
	if (left < 8 * fixed[4])
		malformed("It ends within its dimensions.");
	memcpy(dims, pq_getmsgbytes(message, 8 * fixed[4]), 8 * fixed[4]);
	delc_shape_set(header, fixed[3], fixed[4], dims,
				   ERRCODE_INVALID_BINARY_REPRESENTATION);
	left -= 8 * fixed[4];
	if (fixed[5] == WIRE_DELTA)
		return true;
	if (left != header->raw_bytes)
		malformed("Tensor %s has " INT64_FORMAT " bytes of numbers, not %d.",
				  delc_header_text(header), header->raw_bytes, left);
	return false;
}

static struct varlena *
receive_delta(StringInfo message, const DelcTensorHeader *header)
{
	int			length = message->len - message->cursor;
	struct varlena *value = palloc(VARHDRSZ + length);
	DelcTensorHeader stored;

	SET_VARSIZE(value, VARHDRSZ + length);
	memcpy(VARDATA(value), pq_getmsgbytes(message, length), length);
	if (!delc_is_delta(PointerGetDatum(value)))
		malformed("It should hold a delta, and does not.");
	delc_tensor_verify(value);
	delc_value_header(PointerGetDatum(value), &stored);
	if (stored.dtype != header->dtype || !delc_shape_equal(&stored, header))
		malformed("It holds a delta to %s.", delc_header_text(&stored));
	return value;
}

PG_FUNCTION_INFO_V1(delc_tensor_recv);
Datum
delc_tensor_recv(PG_FUNCTION_ARGS)
{
	StringInfo	message = (StringInfo) PG_GETARG_POINTER(0);
	DelcTensorHeader header;
	const char *dense;

	if (receive_header(message, &header))
		PG_RETURN_TENSOR(receive_delta(message, &header));
	dense = pq_getmsgbytes(message, (int) header.raw_bytes);
	if (header.dtype == DELC_BOOL)
	{
		for (int64 i = 0; i < header.elements; i++)
		{
			if ((unsigned char) dense[i] > 1)
				malformed("Element " INT64_FORMAT " of a bool tensor is %d.",
						  i, (unsigned char) dense[i]);
		}
	}
	PG_RETURN_TENSOR(delc_tensor_encode(header.dtype, header.rank, header.dims, dense));
}
