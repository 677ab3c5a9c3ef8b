/*
 * tensor_format.c
 *	  The stored tensor: parsing and writing its header, building it from dense
 *	  numbers, cutting it down to its first planes.
 */
#include "delta.h"

#include "access/detoast.h"

/* ---- the header ---- */

static int
header_bytes(int rank, int planes)
{
	return TENSOR_FIXED_BYTES + 8 * rank + TENSOR_PLANE_ENTRY_BYTES * planes;
}

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
			 errmsg("not a valid encoded tensor"),
			 errdetail_internal("%s", detail)));
	pg_unreachable();
}

/* Bits of each element in plane p. */
static int
width_of(const TensorLayout *layout, int p)
{
	return p > 0 && layout->planes > layout->header.item_size ? 4 : 8;
}

/* Bytes that plane p takes raw. */
int64
delc_plane_raw_bytes(const TensorLayout *layout, int p)
{
	int64		elements = layout->header.elements;

	return layout->plane[p].width == 8 ? elements : (elements + 1) / 2;
}

/* How many bytes plane p must, or may, occupy. */
static void
check_plane_length(const TensorLayout *layout, int p, int sqlstate)
{
	const TensorPlane *plane = &layout->plane[p];
	int64		raw_bytes = delc_plane_raw_bytes(layout, p);
	bool		right;

	switch (plane->encoding)
	{
		case PLANE_RAW:
			right = plane->length == raw_bytes;
			break;
		case PLANE_CONSTANT:
			right = raw_bytes > 0 && plane->length == 1;
			break;
		case PLANE_ZSTD:
			if (plane->width != 8)
				damaged(sqlstate, "Plane %d has %d bits and encoding %d, which is for 8.",
						p, plane->width, plane->encoding);
			/* FALLTHROUGH */
		case PLANE_RANS:
		case PLANE_ROWS:
		case PLANE_TABLE:
			right = plane->length > 0 && plane->length < raw_bytes;
			break;
		default:
			damaged(sqlstate, "Plane %d has the unknown encoding %d.",
					p, plane->encoding);
	}
	if (!right)
		damaged(sqlstate, "Plane %d of " INT64_FORMAT
				" elements cannot be %u bytes long with encoding %d.",
				p, layout->header.elements, plane->length, plane->encoding);
}

/* Planes follow the header and one another and must end with the value. */
static void
parse_directory(TensorLayout *layout, const char *entry, int sqlstate)
{
	int64		position = layout->header_bytes;

	for (int p = 0; p < layout->planes; p++)
	{
		TensorPlane *plane = &layout->plane[p];

		plane->encoding = (unsigned char) entry[0];
		plane->width = width_of(layout, p);
		if (entry[1] != plane->width)
			damaged(sqlstate, "The directory entry of plane %d is not of format version %d.",
					p, TENSOR_FORMAT_VERSION);
		memcpy(&plane->length, entry + 2, 4);
		memcpy(&plane->crc, entry + 6, 4);
		check_plane_length(layout, p, sqlstate);
		plane->offset = (uint32) position;
		position += plane->length;
		entry += TENSOR_PLANE_ENTRY_BYTES;
	}
	if (position != layout->total_bytes)
		damaged(sqlstate, "The planes end at byte " INT64_FORMAT
				", the value has " INT64_FORMAT " bytes.",
				position, layout->total_bytes);
}

/* Of a header of a tensor or delta, but for the field of the checksum. */
uint32
delc_header_crc(const char *bytes, int header_bytes)
{
	uint32		crc = delc_crc32c_add(CRC32C_START, bytes, TENSOR_CRC_OFFSET);

	crc = delc_crc32c_add(crc, bytes + TENSOR_FIXED_BYTES, header_bytes - TENSOR_FIXED_BYTES);
	return crc ^ 0xFFFFFFFF;
}

static void
check_header_crc(const TensorLayout *layout, const char *bytes, int sqlstate)
{
	uint32		crc;

	memcpy(&crc, bytes + TENSOR_CRC_OFFSET, 4);
	if (crc != delc_header_crc(bytes, layout->header_bytes))
		damaged(sqlstate, "Its header does not have its checksum.");
}

/* Compare the checksum of plane p; it must be there, behind bytes, which are those of the value. */
void
delc_plane_check(const TensorLayout *layout, const char *bytes, int p, int sqlstate)
{
	const TensorPlane *plane = &layout->plane[p];

	if (delc_crc32c(bytes + plane->offset, plane->length) != plane->crc)
		ereport(ERROR,
				(errcode(sqlstate),
				 errmsg("a stored plane of a tensor is damaged"),
				 errdetail("Plane %d does not have its checksum.", p + 1)));
}

/* allowed: the flags that may be set. */
static void
check_fixed_part(const unsigned char *bytes, int64 total, int allowed, int sqlstate)
{
	uint16		flags;

	if (total < TENSOR_FIXED_BYTES)
		damaged(sqlstate, "It has " INT64_FORMAT " bytes, a header has at least %d.",
				total, TENSOR_FIXED_BYTES);
	if (bytes[0] != TENSOR_MAGIC_0 || bytes[1] != TENSOR_MAGIC_1)
		damaged(sqlstate, "It starts with %02X%02X instead of %02X%02X.",
				bytes[0], bytes[1], TENSOR_MAGIC_0, TENSOR_MAGIC_1);
	if (bytes[2] != TENSOR_FORMAT_VERSION)
		damaged(sqlstate, "It has format version %d, this library reads version %d.",
				bytes[2], TENSOR_FORMAT_VERSION);
	if (delc_dtype_size(bytes[3]) == 0)
		damaged(sqlstate, "It has the unknown dtype code %d.", bytes[3]);
	if (bytes[4] > TENSOR_MAX_RANK)
		damaged(sqlstate, "It has rank %d; the rank of a tensor is 0 to %d.",
				bytes[4], TENSOR_MAX_RANK);
	if (bytes[5] != delc_dtype_size(bytes[3]) &&
		bytes[5] != 2 * delc_dtype_size(bytes[3]) - 1)
		damaged(sqlstate, "It has %d planes, %s has %d, or %d if halved.", bytes[5],
				delc_dtype_name(bytes[3]), delc_dtype_size(bytes[3]),
				2 * delc_dtype_size(bytes[3]) - 1);
	memcpy(&flags, bytes + 6, 2);
	if (flags == TENSOR_FLAG_DELTA)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a delta between tensors cannot be used as a tensor"),
				 errdetail("Its numbers exist only together with those of its base."),
				 errhint("Use delc.apply_delta(base, delta) or delc.restore(value ORDER BY hop).")));
	if (flags & ~allowed)
		damaged(sqlstate, "It has the unknown flags %04X.", flags);
}

/* Parse a header with none but the allowed flags, without its checksum. */
static void
parse_header(TensorLayout *layout, const char *bytes, int64 total, int allowed, int sqlstate)
{
	const unsigned char *fixed = (const unsigned char *) bytes;
	int64		dims[TENSOR_MAX_RANK];

	check_fixed_part(fixed, total, allowed, sqlstate);
	layout->total_bytes = total;
	layout->planes = fixed[5];
	layout->header_bytes = header_bytes(fixed[4], fixed[5]);
	if (layout->header_bytes > total)
		damaged(sqlstate, "It has " INT64_FORMAT " bytes, its header has %d.",
				total, layout->header_bytes);
	memcpy(dims, bytes + TENSOR_FIXED_BYTES, 8 * fixed[4]);
	delc_shape_set(&layout->header, fixed[3], fixed[4], dims, sqlstate);
	parse_directory(layout, bytes + TENSOR_FIXED_BYTES + 8 * fixed[4], sqlstate);
}

/*
 * Parse and check a header.  bytes starts with the magic; at least the first
 * TENSOR_HEADER_MAX_BYTES of the value (or all of it) must be there.  total is
 * the size of the whole value.
 */
void
delc_layout_parse(TensorLayout *layout, const char *bytes, int64 total,
				  int sqlstate)
{
	parse_header(layout, bytes, total, 0, sqlstate);
	check_header_crc(layout, bytes, sqlstate);
}

/* Settle planes and their widths by the header's dtype. */
void
delc_layout_split(TensorLayout *layout, bool halves)
{
	layout->planes = halves ? 2 * layout->header.item_size - 1 : layout->header.item_size;
	for (int p = 0; p < layout->planes; p++)
		layout->plane[p].width = width_of(layout, p);
}

/*
 * Given header, planes, encodings and lengths, place the planes one after another.
 * Returns the size of the value.
 */
int64
delc_layout_place(TensorLayout *layout)
{
	int64		position;

	layout->header_bytes = header_bytes(layout->header.rank, layout->planes);
	position = layout->header_bytes;
	for (int p = 0; p < layout->planes; p++)
	{
		layout->plane[p].offset = (uint32) position;
		position += layout->plane[p].length;
	}
	layout->total_bytes = position;
	return position;
}

/* Allocate the value of a placed layout; nothing of it is written. */
struct varlena *
delc_layout_allocate(const TensorLayout *layout)
{
	struct varlena *value = palloc(VARHDRSZ + layout->total_bytes);

	SET_VARSIZE(value, VARHDRSZ + layout->total_bytes);
	return value;
}

/* Write the header of a placed layout whose planes have their checksums. */
void
delc_layout_write(const TensorLayout *layout, char *bytes)
{
	uint32		crc;
	char	   *at = bytes;

	memset(at, 0, TENSOR_FIXED_BYTES);
	at[0] = (char) TENSOR_MAGIC_0;
	at[1] = TENSOR_MAGIC_1;
	at[2] = TENSOR_FORMAT_VERSION;
	at[3] = layout->header.dtype;
	at[4] = layout->header.rank;
	at[5] = layout->planes;
	at += TENSOR_FIXED_BYTES;
	memcpy(at, layout->header.dims, 8 * layout->header.rank);
	at += 8 * layout->header.rank;
	for (int p = 0; p < layout->planes; p++)
	{
		const TensorPlane *plane = &layout->plane[p];

		at[0] = plane->encoding;
		at[1] = plane->width;
		memcpy(at + 2, &plane->length, 4);
		memcpy(at + 6, &plane->crc, 4);
		at += TENSOR_PLANE_ENTRY_BYTES;
	}
	crc = delc_header_crc(bytes, layout->header_bytes);
	memcpy(bytes + TENSOR_CRC_OFFSET, &crc, 4);
}

/* Behind the header of a placed layout all planes are written: take their checksums, and write it. */
void
delc_layout_seal(TensorLayout *layout, char *bytes)
{
	for (int p = 0; p < layout->planes; p++)
	{
		TensorPlane *plane = &layout->plane[p];

		plane->crc = delc_crc32c(bytes + plane->offset, plane->length);
	}
	delc_layout_write(layout, bytes);
}

/* Can the datum's bytes be read where they are? */
bool
delc_is_inline(Datum value)
{
	struct varlena *pointer = (struct varlena *) DatumGetPointer(value);

	return !VARATT_IS_EXTERNAL(pointer) && !VARATT_IS_COMPRESSED(pointer);
}

/* Parse the header of a datum, fetching no more than the header. */
void
delc_layout_read(Datum value, TensorLayout *layout)
{
	struct varlena *pointer = (struct varlena *) DatumGetPointer(value);

	if (delc_is_inline(value))
		delc_layout_parse(layout, VARDATA_ANY(pointer),
						  VARSIZE_ANY_EXHDR(pointer), ERRCODE_DATA_CORRUPTED);
	else
	{
		int64		total = toast_raw_datum_size(value) - VARHDRSZ;
		struct varlena *start = PG_DETOAST_DATUM_SLICE(value, 0,
													   TENSOR_HEADER_MAX_BYTES);

		delc_layout_parse(layout, VARDATA_ANY(start), total,
						  ERRCODE_DATA_CORRUPTED);
		pfree(start);
	}
}

void
delc_tensor_header(Datum value, DelcTensorHeader *out)
{
	TensorLayout layout;

	delc_layout_read(value, &layout);
	*out = layout.header;
}

/* ---- encoding ---- */

/*
 * Compress one plane if it seems worth it.  Returns the compressed bytes and
 * sets *size, or NULL.
 */
static char *
try_compress(const char *dense, const DelcTensorHeader *header, int plane,
			 size_t *size)
{
	size_t		elements = header->elements;
	size_t		limit;
	char	   *gathered[TENSOR_MAX_PLANES] = {NULL};
	char	   *packed;

	if (!delc_plane_looks_compressible((const unsigned char *) dense, elements,
									   header->item_size, plane))
		return NULL;
	limit = delc_plane_worthwhile(elements);
	packed = palloc(limit);
	if (header->item_size == 1)
		*size = delc_plane_compress(dense, elements, packed, limit);
	else
	{
		gathered[plane] = palloc(elements);
		delc_planes_split(dense, elements, header->item_size, gathered);
		*size = delc_plane_compress(gathered[plane], elements, packed, limit);
		pfree(gathered[plane]);
	}
	if (*size == 0)
	{
		pfree(packed);
		return NULL;
	}
	return packed;
}

/* Choose each plane's encoding; packed gets the compressed planes. */
static void
choose_encodings(TensorLayout *layout, const char *dense, char **packed)
{
	const DelcTensorHeader *header = &layout->header;
	unsigned int varying = delc_planes_varying(dense, header->elements,
											   header->item_size);

	for (int p = 0; p < header->item_size; p++)
	{
		TensorPlane *plane = &layout->plane[p];
		size_t		size;

		packed[p] = NULL;
		plane->encoding = PLANE_RAW;
		plane->length = (uint32) header->elements;
		if (header->elements > 1 && !(varying & (1U << p)))
		{
			plane->encoding = PLANE_CONSTANT;
			plane->length = 1;
		}
		else if (header->elements >= PLANE_COMPRESS_MIN_BYTES &&
				 (packed[p] = try_compress(dense, header, p, &size)) != NULL)
		{
			plane->encoding = PLANE_ZSTD;
			plane->length = (uint32) size;
		}
	}
}

/* Write the planes of a value whose header stands. */
static void
write_planes(const TensorLayout *layout, const char *dense, char **packed,
			 char *bytes)
{
	int			item_size = layout->header.item_size;
	char	   *raw[TENSOR_MAX_PLANES] = {NULL};
	bool		any_raw = false;

	for (int p = 0; p < item_size; p++)
	{
		const TensorPlane *plane = &layout->plane[p];

		if (plane->encoding == PLANE_CONSTANT)
			bytes[plane->offset] = dense[item_size - 1 - p];
		else if (plane->encoding == PLANE_ZSTD)
		{
			memcpy(bytes + plane->offset, packed[p], plane->length);
			pfree(packed[p]);
		}
		else
		{
			raw[p] = bytes + plane->offset;
			any_raw = true;
		}
	}
	if (any_raw)
		delc_planes_split(dense, layout->header.elements, item_size, raw);
}

/* A copy of bool bytes with 1 for all that is not 0; NULL if none is needed. */
static char *
normalized_bools(const char *dense, int64 elements)
{
	unsigned char seen = 0;
	char	   *copy;

	for (int64 i = 0; i < elements; i++)
		seen |= (unsigned char) dense[i];
	if (seen <= 1)
		return NULL;
	copy = palloc(elements);
	for (int64 i = 0; i < elements; i++)
		copy[i] = dense[i] != 0;
	return copy;
}

struct varlena *
delc_tensor_encode(int dtype, int rank, const int64 *dims, const void *dense)
{
	TensorLayout layout;
	char	   *packed[TENSOR_MAX_PLANES];
	char	   *bools = NULL;
	struct varlena *value;

	delc_shape_set(&layout.header, dtype, rank, dims,
				   ERRCODE_INVALID_PARAMETER_VALUE);
	if (dtype == DELC_BOOL)
		bools = normalized_bools(dense, layout.header.elements);
	if (bools != NULL)
		dense = bools;
	delc_layout_split(&layout, false);
	choose_encodings(&layout, dense, packed);
	delc_layout_place(&layout);
	value = delc_layout_allocate(&layout);
	write_planes(&layout, dense, packed, VARDATA(value));
	delc_layout_seal(&layout, VARDATA(value));
	if (bools != NULL)
		pfree(bools);
	return value;
}

/* ---- values made of another's planes ---- */

/*
 * The value with only its first planes; the bytes below are zero.  Fetches
 * those planes only and decodes nothing: they keep their checksums, which who decodes them compares.
 */
struct varlena *
delc_tensor_first_planes(Datum value, int planes)
{
	TensorLayout old;
	TensorLayout cut;
	struct varlena *prefix;
	struct varlena *result;
	uint32		end;

	delc_layout_read(value, &old);
	if (planes >= old.planes || old.header.elements == 0)
		return PG_DETOAST_DATUM_COPY(value);
	end = old.plane[planes - 1].offset + old.plane[planes - 1].length;
	prefix = PG_DETOAST_DATUM_SLICE(value, 0, end);
	cut = old;
	for (int p = planes; p < cut.planes; p++)
	{
		cut.plane[p].encoding = PLANE_CONSTANT;
		cut.plane[p].length = 1;
		cut.plane[p].crc = delc_crc32c("", 1);
	}
	delc_layout_place(&cut);
	result = delc_layout_allocate(&cut);
	delc_layout_write(&cut, VARDATA(result));
	memcpy(VARDATA(result) + cut.header_bytes,
		   VARDATA_ANY(prefix) + cut.header_bytes, end - cut.header_bytes);
	memset(VARDATA(result) + end, 0, cut.planes - planes);
	pfree(prefix);
	return result;
}

/* The same numbers in another shape; the caller has checked the element count. */
struct varlena *
delc_tensor_reshape(Datum value, int rank, const int64 *dims)
{
	struct varlena *old = PG_DETOAST_DATUM_PACKED(value);
	TensorLayout layout;
	int			old_header_bytes;
	struct varlena *result;

	delc_layout_parse(&layout, VARDATA_ANY(old), VARSIZE_ANY_EXHDR(old),
					  ERRCODE_DATA_CORRUPTED);
	old_header_bytes = layout.header_bytes;
	delc_shape_set(&layout.header, layout.header.dtype, rank, dims,
				   ERRCODE_INVALID_PARAMETER_VALUE);
	delc_layout_place(&layout);
	result = delc_layout_allocate(&layout);
	delc_layout_write(&layout, VARDATA(result));
	memcpy(VARDATA(result) + layout.header_bytes,
		   VARDATA_ANY(old) + old_header_bytes,
		   layout.total_bytes - layout.header_bytes);
	return result;
}

/* ---- checking a value that came from outside ---- */

static void
check_bools(const char *dense, int64 start, int64 elements)
{
	for (int64 i = 0; i < elements; i++)
	{
		if ((unsigned char) dense[i] > 1)
			damaged(ERRCODE_INVALID_BINARY_REPRESENTATION,
					"Element " INT64_FORMAT " of a bool tensor is %d.",
					start + i, (unsigned char) dense[i]);
	}
}

/* Before anything is allocated: zstd frames must promise what the shape says. */
static void
check_promises(const TensorLayout *layout, const char *bytes)
{
	for (int p = 0; p < layout->planes; p++)
	{
		const TensorPlane *plane = &layout->plane[p];

		if (plane->encoding == PLANE_ZSTD &&
			delc_plane_content_size(bytes + plane->offset, plane->length) !=
			(size_t) layout->header.elements)
			damaged(ERRCODE_INVALID_BINARY_REPRESENTATION,
					"Compressed plane %d does not promise " INT64_FORMAT " bytes.",
					p, layout->header.elements);
	}
}

/* Is there a plane that not every sequence of bytes can be? */
static bool
any_to_decode(const TensorLayout *layout)
{
	for (int p = 0; p < layout->planes; p++)
	{
		if (layout->plane[p].width != 8 ||
			(layout->plane[p].encoding != PLANE_RAW &&
			 layout->plane[p].encoding != PLANE_CONSTANT))
			return true;
	}
	return false;
}

/* Give a value that came without checksums those that it should have. */
static void
make_checksums(struct varlena *value)
{
	TensorLayout layout;
	uint16		flags = 0;

	if (VARSIZE_ANY_EXHDR(value) >= TENSOR_FIXED_BYTES)
		memcpy(&flags, VARDATA_ANY(value) + 6, 2);
	if (flags != TENSOR_FLAG_UNCHECKED)
		return;
	parse_header(&layout, VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value), TENSOR_FLAG_UNCHECKED,
				 ERRCODE_INVALID_BINARY_REPRESENTATION);
	delc_layout_seal(&layout, VARDATA_ANY(value));
}

/*
 * Check an encoded value from outside through and through, so that no later
 * reader meets a damaged one.
 */
void
delc_tensor_verify(struct varlena *value)
{
	TensorLayout layout;
	const char *bytes = VARDATA_ANY(value);
	bool		bools;

	/* what is behind a delta's header can be read with its base only, and is checked then */
	if (delc_is_delta(PointerGetDatum(value)))
	{
		DeltaLayout delta;

		delc_delta_parse(&delta, bytes, VARSIZE_ANY_EXHDR(value),
						 ERRCODE_INVALID_BINARY_REPRESENTATION);
		return;
	}
	make_checksums(value);
	delc_layout_parse(&layout, bytes, VARSIZE_ANY_EXHDR(value),
					  ERRCODE_INVALID_BINARY_REPRESENTATION);
	check_promises(&layout, bytes);
	bools = layout.header.dtype == DELC_BOOL;
	for (int p = 0; p < layout.planes; p++)
		delc_plane_check(&layout, bytes, p, ERRCODE_INVALID_BINARY_REPRESENTATION);
	if (bools || any_to_decode(&layout))
		delc_reader_check(value, ERRCODE_INVALID_BINARY_REPRESENTATION,
						  bools ? check_bools : NULL);
}
