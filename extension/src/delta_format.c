/*
 * delta_format.c
 *	  The stored delta: parsing and writing all of it that comes before the segments.
 */
#include "delta.h"

#include "access/detoast.h"

static void pg_attribute_noreturn() pg_attribute_printf(2, 3)
damaged(int sqlstate, const char *format,...)
{
	char		detail[256];
	va_list		arguments;

	va_start(arguments, format);
	vsnprintf(detail, sizeof(detail), format, arguments);
	va_end(arguments);
	ereport(ERROR,
			(errcode(sqlstate),
			 errmsg("not a valid encoded delta between tensors"),
			 errdetail_internal("%s", detail)));
	pg_unreachable();
}

/* For what shows only when the delta is applied. */
void
delc_delta_damaged(const char *detail)
{
	damaged(ERRCODE_DATA_CORRUPTED, "%s", detail);
}

/* Rows of the matrix as which scales and predictors see a tensor. */
int64
delc_delta_rows(const DelcTensorHeader *header)
{
	bool		one = header->rank < 2 || header->elements == 0 ||
		header->elements / DELTA_MIN_COLUMNS < header->dims[0];

	return one ? 1 : header->dims[0];
}

static bool
has_flag(const char *bytes, int64 total)
{
	uint16		flags;

	if (total < TENSOR_FIXED_BYTES)
		return false;
	memcpy(&flags, bytes + 6, 2);
	return (flags & TENSOR_FLAG_DELTA) != 0;
}

/* Is the value a delta?  Looks at the header only. */
bool
delc_is_delta(Datum value)
{
	struct varlena *pointer = (struct varlena *) DatumGetPointer(value);
	struct varlena *start;
	bool		found;

	if (delc_is_inline(value))
		return has_flag(VARDATA_ANY(pointer), VARSIZE_ANY_EXHDR(pointer));
	start = PG_DETOAST_DATUM_SLICE(value, 0, TENSOR_FIXED_BYTES);
	found = has_flag(VARDATA_ANY(start), VARSIZE_ANY_EXHDR(start));
	pfree(start);
	return found;
}

/* ---- parse ---- */

static void
parse_tensor_part(DeltaLayout *layout, const unsigned char *bytes, int64 total, int sqlstate)
{
	int64		dims[TENSOR_MAX_RANK];
	uint16		flags;

	if (total < TENSOR_FIXED_BYTES)
		damaged(sqlstate, "It has " INT64_FORMAT " bytes, a header has at least %d.",
				total, TENSOR_FIXED_BYTES);
	memcpy(&flags, bytes + 6, 2);
	if (bytes[0] != TENSOR_MAGIC_0 || bytes[1] != TENSOR_MAGIC_1 ||
		bytes[2] != TENSOR_FORMAT_VERSION || flags != TENSOR_FLAG_DELTA)
		damaged(sqlstate, "It does not begin like a delta of format version %d.",
				TENSOR_FORMAT_VERSION);
	if (delc_dtype_size(bytes[3]) == 0 || bytes[5] != delc_dtype_size(bytes[3]))
		damaged(sqlstate, "It has dtype code %d and %d planes, which is not known.",
				bytes[3], bytes[5]);
	if (bytes[4] > TENSOR_MAX_RANK)
		damaged(sqlstate, "It has rank %d; the rank of a tensor is 0 to %d.",
				bytes[4], TENSOR_MAX_RANK);
	if (total < TENSOR_FIXED_BYTES + 8 * bytes[4] + DELTA_FIXED_BYTES)
		damaged(sqlstate, "It ends within its header, at byte " INT64_FORMAT ".", total);
	memcpy(dims, bytes + TENSOR_FIXED_BYTES, 8 * bytes[4]);
	delc_shape_set(&layout->header, bytes[3], bytes[4], dims, sqlstate);
}

/* Checksums of results of which not all planes are read. */
static int
leading_crcs(const DeltaLayout *layout)
{
	return layout->method == DELTA_SUB ? 0 : layout->header.item_size - 1;
}

static void
check_fields(const DeltaLayout *layout, int sqlstate)
{
	bool		sub = layout->method == DELTA_SUB;

	if (layout->method > DELTA_XOR)
		damaged(sqlstate, "It has the unknown method %d.", layout->method);
	if (layout->flags & ~(sub ? DELTA_SUB_FLAGS : DELTA_PLANES_FLAGS))
		damaged(sqlstate, "It has the unknown flags %02X.", layout->flags);
	if (layout->context_steps > 4 || (!sub && layout->context_steps != 0) ||
		layout->contexts > 64 || (sub ? layout->contexts < 1 : layout->contexts != 0))
		damaged(sqlstate, "It cannot have %d contexts of 2^%d steps.", layout->contexts,
				layout->context_steps);
	if (layout->mean < -100000 || layout->mean > 100000)
		damaged(sqlstate, "Its mean difference is out of range.");
	if (layout->momentum < -(1 << 22) || layout->momentum > 1 << 22 ||
		layout->decay < -(INT64CONST(1) << 38) || layout->decay > INT64CONST(1) << 38)
		damaged(sqlstate, "Its momentum or decay is out of range.");
	if ((layout->flags & DELTA_TABLE) && delc_table_bits(layout->header.dtype) == 0)
		damaged(sqlstate, "It has a table of mantissas, which %s has not.",
				delc_dtype_name(layout->header.dtype));
}

/* Bytes between the dimensions and those of the base. */
static int
fixed_bytes(const DeltaLayout *layout)
{
	return DELTA_FIXED_BYTES + (layout->method == DELTA_SUB ? DELTA_SUB_BYTES : 0);
}

/* The part between the dimensions and those of the base, and these. */
static void
parse_fixed_part(DeltaLayout *layout, const char *at, int64 left, int sqlstate)
{
	int64		dims[TENSOR_MAX_RANK];
	int			base_rank = (unsigned char) at[1];

	layout->method = (unsigned char) at[0];
	layout->flags = (unsigned char) at[2];
	layout->context_steps = (unsigned char) at[3];
	layout->contexts = (unsigned char) at[4];
	memcpy(&layout->base_crc, at + 5, 4);
	memcpy(&layout->result_crc[layout->header.item_size - 1], at + 9, 4);
	memcpy(&layout->mean, at + 13, 4);
	memcpy(&layout->side_length, at + 17, 4);
	if (base_rank > TENSOR_MAX_RANK || left < fixed_bytes(layout) + 8 * base_rank)
		damaged(sqlstate, "Its base cannot have rank %d.", base_rank);
	layout->grandbase_crc = 0;
	layout->momentum = 0;
	layout->decay = 0;
	if (layout->method == DELTA_SUB)
	{
		memcpy(&layout->grandbase_crc, at + 21, 4);
		memcpy(&layout->momentum, at + 25, 4);
		memcpy(&layout->decay, at + 29, 8);
	}
	check_fields(layout, sqlstate);
	memcpy(dims, at + fixed_bytes(layout), 8 * base_rank);
	delc_shape_set(&layout->base, layout->header.dtype, base_rank, dims, sqlstate);
	if ((layout->flags & DELTA_GRANDBASE) && !delc_same_frame(&layout->base, &layout->header))
		damaged(sqlstate, "It needs a grandbase, and leads to another shape.");
}

static int
count_segments(const DeltaLayout *layout)
{
	return delta_blocks(&layout->header) *
		(layout->method == DELTA_SUB ? 1 : layout->header.item_size);
}

static int
count_header_bytes(const DeltaLayout *layout)
{
	return TENSOR_FIXED_BYTES + 8 * (layout->header.rank + layout->base.rank) +
		fixed_bytes(layout) + 4 * leading_crcs(layout) + 4 * count_segments(layout);
}

/*
 * Parse and check what comes before the side information.  bytes starts with the magic; at least
 * the first DELTA_HEADER_MAX_BYTES of the value (or all of it) must be there.
 * total is the size of the whole value.
 */
void
delc_delta_parse(DeltaLayout *layout, const char *bytes, int64 total, int sqlstate)
{
	const char *at;
	int64		end;
	uint32		crc;

	parse_tensor_part(layout, (const unsigned char *) bytes, total, sqlstate);
	at = bytes + TENSOR_FIXED_BYTES + 8 * layout->header.rank;
	parse_fixed_part(layout, at, total - (at - bytes), sqlstate);
	layout->segments = count_segments(layout);
	layout->header_bytes = count_header_bytes(layout);
	layout->total_bytes = total;
	if (total < layout->header_bytes)
		damaged(sqlstate, "It has " INT64_FORMAT " bytes, its header has %d.",
				total, layout->header_bytes);
	at = bytes + layout->header_bytes - 4 * layout->segments;
	memcpy(layout->length, at, 4 * layout->segments);
	memcpy(layout->result_crc, at - 4 * leading_crcs(layout), 4 * leading_crcs(layout));
	end = delc_delta_offset(layout, layout->segments);
	if (end != total)
		damaged(sqlstate, "Its segments end at byte " INT64_FORMAT
				", the value has " INT64_FORMAT " bytes.", end, total);
	memcpy(&crc, bytes + TENSOR_CRC_OFFSET, 4);
	if (crc != delc_header_crc(bytes, layout->header_bytes))
		damaged(sqlstate, "Its header does not have its checksum.");
}

/* Parse the header of a datum, fetching no more than the header. */
void
delc_delta_read(Datum value, DeltaLayout *layout)
{
	struct varlena *pointer = (struct varlena *) DatumGetPointer(value);

	if (delc_is_inline(value))
		delc_delta_parse(layout, VARDATA_ANY(pointer), VARSIZE_ANY_EXHDR(pointer),
						 ERRCODE_DATA_CORRUPTED);
	else
	{
		struct varlena *start = PG_DETOAST_DATUM_SLICE(value, 0, DELTA_HEADER_MAX_BYTES);

		delc_delta_parse(layout, VARDATA_ANY(start), toast_raw_datum_size(value) - VARHDRSZ,
						 ERRCODE_DATA_CORRUPTED);
		pfree(start);
	}
}

/* Dtype and shape of a tensor, or of what a delta leads to. */
void
delc_value_header(Datum value, DelcTensorHeader *header)
{
	DeltaLayout layout;

	if (!delc_is_delta(value))
	{
		delc_tensor_header(value, header);
		return;
	}
	delc_delta_read(value, &layout);
	*header = layout.header;
}

/* Where a segment begins, counted from the magic. */
int64
delc_delta_offset(const DeltaLayout *layout, int segment)
{
	int64		offset = (int64) layout->header_bytes + layout->side_length;

	for (int s = 0; s < segment; s++)
		offset += layout->length[s];
	return offset;
}

/* ---- write ---- */

/* Given all fields but these, find the number of segments, the header's size and the total. */
void
delc_delta_place(DeltaLayout *layout)
{
	layout->segments = count_segments(layout);
	layout->header_bytes = count_header_bytes(layout);
	layout->total_bytes = delc_delta_offset(layout, layout->segments);
}

/* Write the header of a placed layout, header_bytes of them. */
void
delc_delta_write(const DeltaLayout *layout, char *bytes)
{
	const DelcTensorHeader *header = &layout->header;
	uint16		flags = TENSOR_FLAG_DELTA;
	uint32		crc;
	char	   *at = bytes;

	memset(bytes, 0, layout->header_bytes);
	at[0] = (char) TENSOR_MAGIC_0;
	at[1] = TENSOR_MAGIC_1;
	at[2] = TENSOR_FORMAT_VERSION;
	at[3] = header->dtype;
	at[4] = header->rank;
	at[5] = header->item_size;
	memcpy(at + 6, &flags, 2);
	memcpy(at + TENSOR_FIXED_BYTES, header->dims, 8 * header->rank);
	at += TENSOR_FIXED_BYTES + 8 * header->rank;
	at[0] = layout->method;
	at[1] = layout->base.rank;
	at[2] = layout->flags;
	at[3] = layout->context_steps;
	at[4] = layout->contexts;
	memcpy(at + 5, &layout->base_crc, 4);
	memcpy(at + 9, &layout->result_crc[header->item_size - 1], 4);
	memcpy(at + 13, &layout->mean, 4);
	memcpy(at + 17, &layout->side_length, 4);
	if (layout->method == DELTA_SUB)
	{
		memcpy(at + 21, &layout->grandbase_crc, 4);
		memcpy(at + 25, &layout->momentum, 4);
		memcpy(at + 29, &layout->decay, 8);
	}
	at += fixed_bytes(layout);
	memcpy(at, layout->base.dims, 8 * layout->base.rank);
	at += 8 * layout->base.rank;
	memcpy(at, layout->result_crc, 4 * leading_crcs(layout));
	memcpy(at + 4 * leading_crcs(layout), layout->length, 4 * layout->segments);
	crc = delc_header_crc(bytes, layout->header_bytes);
	memcpy(bytes + TENSOR_CRC_OFFSET, &crc, 4);
}

/* ---- names ---- */

static const char *const method_names[] = {"sub", "planes", "xor"};

int
delc_delta_method(const char *name)
{
	for (int method = 0; method < lengthof(method_names); method++)
	{
		if (strcmp(name, method_names[method]) == 0)
			return method;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown method \"%s\" of a delta", name),
			 errdetail("The methods are sub, planes and xor."),
			 errhint("sub is the smallest; of planes the first planes can be read alone.")));
	pg_unreachable();
}
