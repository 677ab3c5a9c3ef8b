/*
 * tensor_format.h
 *	  How a tensor lies on disk, and the tools that the type's files share.
 *
 * A stored tensor is a varlena.  After the length word, all numbers
 * little-endian:
 *
 *	offset	bytes	field
 *	0		2		magic: DE 1C
 *	2		1		format version: 2
 *	3		1		dtype (DelcDtype)
 *	4		1		rank, 0 to 8
 *	5		1		number of planes: the item size, or all planes below the first are
 *					halved and there are twice as many less one
 *	6		2		flags: 0
 *	8		4		CRC-32C of the header but for this field
 *	12		8*rank	dims, int64 each
 *	then	10 per plane, the plane directory:
 *			1		encoding (PlaneEncoding)
 *			1		width: bits of each element that the plane holds, 8; 4 if halved
 *			4		stored length of the plane
 *			4		CRC-32C of the plane as it is stored
 *	then	the planes
 *
 * Plane p holds byte p of every element, counted from the most significant:
 * plane 0 of a float32 has the sign and the upper seven bits of the exponent.
 * Halved, plane 1 holds the upper four bits of byte 1, plane 2 the lower ones, and so on:
 * raw, two elements share a byte (tensor_nibbles.c).
 * Planes follow the directory and one another without gaps and end with the
 * value, so the first k planes are a prefix of it.  Whoever decodes a plane compares its
 * checksum first, so that numbers are right however few planes are read.
 *
 * Readers refuse other versions, set flags, other widths and unknown encodings.
 * Flag bit 0 marks a delta, which is no tensor by itself and is described in
 * delta.h.  Flag bit 1 marks a value without checksums (their fields are 0), as clients
 * may send it: input makes them, and it is never stored.
 */
#ifndef DELC_TENSOR_FORMAT_H
#define DELC_TENSOR_FORMAT_H

#include "crc32c.h"
#include "tensor.h"

#include "fmgr.h"
#include "lib/stringinfo.h"

#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

#define TENSOR_MAGIC_0 0xDE
#define TENSOR_MAGIC_1 0x1C
#define TENSOR_FORMAT_VERSION 2

#define TENSOR_FLAG_DELTA 1
#define TENSOR_FLAG_UNCHECKED 2

#define TENSOR_FIXED_BYTES 12
#define TENSOR_CRC_OFFSET 8
#define TENSOR_PLANE_ENTRY_BYTES 10
#define TENSOR_STORED_PLANES_MAX (2 * TENSOR_MAX_PLANES - 1)
#define TENSOR_HEADER_MAX_BYTES \
	(TENSOR_FIXED_BYTES + 8 * TENSOR_MAX_RANK + \
	 TENSOR_PLANE_ENTRY_BYTES * TENSOR_STORED_PLANES_MAX)

typedef enum PlaneEncoding
{
	PLANE_RAW = 0,				/* one byte per element */
	PLANE_ZSTD = 1,				/* one zstd frame that states its content size */
	PLANE_CONSTANT = 2,			/* one byte, the same for all elements */
	PLANE_RANS = 3,				/* this and those below: tensor_dense.h */
	PLANE_ROWS = 4,
	PLANE_TABLE = 5
} PlaneEncoding;

typedef struct TensorPlane
{
	int			encoding;
	int			width;			/* bits of each element, 8 or 4 */
	uint32		offset;			/* from the magic */
	uint32		length;
	uint32		crc;			/* of the plane as it is stored */
} TensorPlane;

/* A whole parsed header. */
typedef struct TensorLayout
{
	DelcTensorHeader header;
	int			header_bytes;	/* up to the first plane */
	int64		total_bytes;	/* without the varlena length word */
	int			planes;
	TensorPlane plane[TENSOR_STORED_PLANES_MAX];
} TensorLayout;

/* ---- dtype.c ---- */

typedef enum DtypeKind
{
	KIND_FLOAT,
	KIND_INTEGER,
	KIND_BOOL
} DtypeKind;

#define DTYPE_NAMES \
	"float64, float32, float16, bfloat16, int64, int32, int16, int8, uint8, bool"

extern DtypeKind delc_dtype_kind(int dtype);
extern int	delc_dtype_require(const char *name, int sqlstate);

/* ---- tensor_shape.c ---- */

extern void delc_shape_set(DelcTensorHeader *header, int dtype, int rank,
						   const int64 *dims, int sqlstate);
extern bool delc_shape_equal(const DelcTensorHeader *a,
							 const DelcTensorHeader *b);
extern char *delc_shape_text(int rank, const int64 *dims);
extern char *delc_header_text(const DelcTensorHeader *header);
extern int	delc_shape_from_array(Datum array, int64 *dims);

/* ---- tensor_format.c ---- */

extern bool delc_is_inline(Datum value);
extern void delc_layout_parse(TensorLayout *layout, const char *bytes,
							  int64 total, int sqlstate);
extern void delc_layout_read(Datum value, TensorLayout *layout);
extern void delc_layout_split(TensorLayout *layout, bool halves);
extern int64 delc_layout_place(TensorLayout *layout);
extern struct varlena *delc_layout_allocate(const TensorLayout *layout);
extern void delc_layout_write(const TensorLayout *layout, char *bytes);
extern void delc_layout_seal(TensorLayout *layout, char *bytes);
extern void delc_plane_check(const TensorLayout *layout, const char *bytes, int p, int sqlstate);
extern uint32 delc_header_crc(const char *bytes, int header_bytes);
extern int64 delc_plane_raw_bytes(const TensorLayout *layout, int p);
extern struct varlena *delc_tensor_reshape(Datum value, int rank,
										   const int64 *dims);
extern struct varlena *delc_tensor_first_planes(Datum value, int planes);
extern void delc_tensor_verify(struct varlena *value);

/* ---- tensor_codec.c: one plane ---- */

/* Planes with fewer bytes than this are stored raw without trying. */
#define PLANE_COMPRESS_MIN_BYTES 2048

extern bool delc_plane_looks_compressible(const unsigned char *dense,
										  int64 elements, int item_size,
										  int byte);
extern size_t delc_plane_worthwhile(size_t length);
extern size_t delc_plane_compress(const char *plane, size_t length, char *out,
								  size_t out_size);
extern void delc_plane_decompress(const char *stored, size_t stored_length,
								  char *plane, size_t length, int sqlstate);
extern size_t delc_plane_content_size(const char *stored, size_t stored_length);

/* ---- tensor_planes.c: dense numbers <-> byte planes ---- */

/*
 * For loops that the compiler's vectoriser turns into vector instructions: on
 * x86-64 with GNU C they are compiled twice, for the base instruction set and
 * for AVX2, and the dynamic linker chooses.
 */
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && \
	defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__)
#define PLANE_LOOP \
	__attribute__((noinline, optimize("O3"), target_clones("avx2", "default")))
#elif defined(__GNUC__) && !defined(__clang__)
#define PLANE_LOOP __attribute__((noinline, optimize("O3")))
#else
#define PLANE_LOOP
#endif

/*
 * Elements handled at a time: eight planes of a block fit the first-level
 * cache together with the dense numbers.
 */
#define TENSOR_BLOCK 1024

extern void delc_planes_split(const char *dense, int64 elements, int item_size,
							  char *const *planes);
extern void delc_planes_join(const char *const *planes, int64 elements,
							 int item_size, char *dense);
extern unsigned int delc_planes_varying(const char *dense, int64 elements,
										int item_size);

/* ---- tensor_reader.c: the numbers of a stored tensor, block by block ---- */

typedef struct TensorReader
{
	TensorLayout layout;
	const char *bytes;			/* the magic; the planes asked for are behind */
	struct varlena *detoasted;	/* to be freed, or NULL */
	char	   *unpacked[TENSOR_MAX_PLANES];	/* to be freed, or NULL */
	const char *source[TENSOR_MAX_PLANES];	/* raw plane; NULL when constant */
	char		filling[TENSOR_MAX_PLANES]; /* byte of a constant plane */
	char	   *constant;		/* TENSOR_BLOCK bytes per constant plane */
	struct DenseReader *dense;	/* reads a value with dense planes, or NULL */
} TensorReader;

extern void delc_reader_open(TensorReader *reader, Datum value, int planes);
extern void delc_bytes_decode(const char *bytes, int64 total, int planes, void *dense_out);
extern void delc_reader_check(const struct varlena *value, int sqlstate,
							  void (*check) (const char *dense, int64 start, int64 elements));
extern void delc_reader_read(const TensorReader *reader, int64 start,
							 int64 elements, void *dense);
extern void delc_reader_close(TensorReader *reader);

/* ---- tensor_convert.c: numbers of one dtype as another ---- */

typedef struct DtypeBlock
{
	bool		integral;		/* which of the two holds the numbers */
	union
	{
		double		floats[TENSOR_BLOCK];
		int64		integers[TENSOR_BLOCK];
	}			u;
} DtypeBlock;

extern void delc_block_widen(DtypeBlock *block, int dtype, const void *dense,
							 int elements);
extern void delc_block_narrow(const DtypeBlock *block, int dtype, void *dense,
							  int elements, int64 first);
extern void delc_convert(int from, const void *source, int to, void *target,
						 int64 elements);
extern struct varlena *delc_tensor_as_dtype(Datum value, int dtype);

/* ---- for SQL functions ---- */

#define PG_RETURN_TENSOR(pointer) PG_RETURN_POINTER(pointer)

/* An argument of which all bytes will be needed: fetched once. */
#define PG_GETARG_WHOLE_TENSOR(n) \
	PointerGetDatum(PG_DETOAST_DATUM_PACKED(PG_GETARG_DATUM(n)))

extern PGDLLEXPORT Datum delc_tensor_reshaped(PG_FUNCTION_ARGS);

#endif							/* DELC_TENSOR_FORMAT_H */
