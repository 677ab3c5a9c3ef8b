/*
 * tensor_dense_bytes.c
 *	  Writing into a block of limited size: what does not fit is noted, not written.
 */
#include "tensor_dense.h"

/* Room for so many bytes, or NULL. */
uint8 *
delc_put_room(ByteWriter *writer, size_t length)
{
	uint8	   *room = writer->at;

	if (writer->full || writer->end - writer->at < length)
	{
		writer->full = true;
		return NULL;
	}
	writer->at += length;
	return room;
}

void
delc_put_bytes(ByteWriter *writer, const void *bytes, size_t length)
{
	uint8	   *room = delc_put_room(writer, length);

	if (room != NULL)
		memcpy(room, bytes, length);
}

void
delc_put_byte(ByteWriter *writer, int value)
{
	uint8		byte = (uint8) value;

	delc_put_bytes(writer, &byte, 1);
}

void
delc_put_uint32(ByteWriter *writer, uint32 value)
{
	delc_put_bytes(writer, &value, 4);
}

void
delc_put_nibbles(ByteWriter *writer, const uint8 *nibbles, int64 elements)
{
	uint8	   *room = delc_put_room(writer, NIBBLE_BYTES(elements));

	if (room != NULL)
		delc_nibbles_pack(nibbles, elements, room);
}

/* n symbols as a rANS stream, after its length where that is not known otherwise. */
void
delc_put_stream(ByteWriter *writer, RansModel *model, const uint8 *symbols,
				const uint8 *contexts, int context_count, size_t n, bool with_length)
{
	uint8	   *at_length = with_length ? delc_put_room(writer, 4) : NULL;
	uint32		length;

	if (writer->full)
		return;
	if (!delc_rans_learn(model, symbols, contexts, context_count, n))
		elog(ERROR, "a context of a plane is not one of %d", context_count);
	length = (uint32) delc_rans_encode(model, symbols, contexts, n, writer->at,
									   writer->end - writer->at);
	if (length == 0)
		writer->full = true;
	if (at_length != NULL)
		memcpy(at_length, &length, 4);
	writer->at += length;
}
