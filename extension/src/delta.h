/*
 * delta.h
 *	  Deltas between tensors: how one lies on disk, and what its files share.
 *
 * A delta is stored as a tensor with flag bit 0 set (tensor_format.h).  Dtype, rank and
 * dimensions of the first part are those of the tensor that it leads to, its checksum is that of
 * everything before the side information.
 * Instead of the plane directory follow, all numbers little-endian:
 *
 *	offset	bytes	field
 *	0		1		method (DeltaMethod)
 *	1		1		rank of the base
 *	2		1		flags (DELTA_*)
 *	3		1		steps per context, as a power of two (sub)
 *	4		1		number of contexts (sub)
 *	5		4		CRC32C of the base's numbers
 *	9		4		CRC32C of the result's numbers
 *	13		4		mean logarithm of the differences, int32, in steps of DELTA_STEPS
 *	17		4		bytes of the side information
 *	then	of method sub alone:
 *			4		CRC32C of the grandbase's numbers, 0 where it is not needed
 *			4		momentum, int32, in parts of 2^20
 *			8		decay, int64, in parts of 2^40
 *	then	8*rank	dimensions of the base
 *	then	of other methods, 4 per plane but the last: CRC32C of the result's numbers of which the
 *			planes below are zero, so that a result is compared, however few planes are read
 *	then	4 per segment: its length
 *	then	the side information: row predictors, row scales, column scales, table
 *	then	the segments
 *
 * The numbers are coded in blocks of DELTA_BLOCK.  A delta of method sub has one segment
 * per block; one of methods planes and xor has one per plane and block, all of
 * the first plane first: its first k planes are a prefix of it.
 *
 * For scales and predictors a tensor is a matrix: its first dimension are the rows, all
 * others the columns; one of rank 0 or 1, or with short rows, is one row.
 */
#ifndef DELC_DELTA_H
#define DELC_DELTA_H

#include "rans.h"
#include "tensor_format.h"

#define DELTA_BLOCK (1 << 22)

/* 128 MiB of one-byte numbers are this many blocks; wider ones have more planes and fewer. */
#define DELTA_MAX_SEGMENTS 32

#define DELTA_FIXED_BYTES 21
#define DELTA_SUB_BYTES 16
#define DELTA_HEADER_MAX_BYTES \
	(TENSOR_FIXED_BYTES + 16 * TENSOR_MAX_RANK + DELTA_FIXED_BYTES + \
	 Max(DELTA_SUB_BYTES, 4 * TENSOR_MAX_PLANES) + 4 * DELTA_MAX_SEGMENTS)

typedef enum DeltaMethod
{
	DELTA_SUB = 0,				/* integer difference of the ordered bit patterns */
	DELTA_PLANES = 1,			/* difference of each byte plane modulo 256 */
	DELTA_XOR = 2				/* exclusive or of each byte plane */
} DeltaMethod;

#define DELTA_GRANDBASE 1		/* the grandbase is needed */
#define DELTA_ROW_SCALES 2
#define DELTA_COLUMN_SCALES 4
#define DELTA_PREDICTORS 8		/* one byte per row; without them, copy */
#define DELTA_TABLE 16			/* steps by the base's leading mantissa bits */
#define DELTA_SUB_FLAGS 31
#define DELTA_PLANES_FLAGS (DELTA_ROW_SCALES | DELTA_COLUMN_SCALES)

/* A tensor with shorter rows is one row. */
#define DELTA_MIN_COLUMNS 16


/* Scales are binary logarithms in steps of a quarter. */
#define DELTA_STEPS 4

/* Numbers handled at a time between one array and the next. */
#define DELTA_RUN 1024

/* For loops that the compiler makes vectors of, as in tensor_planes.c. */
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && \
	defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__)
#define DELTA_LOOP __attribute__((noinline, optimize("O3"), target_clones("avx2", "default")))
#elif defined(__GNUC__) && !defined(__clang__)
#define DELTA_LOOP __attribute__((noinline, optimize("O3")))
#else
#define DELTA_LOOP
#endif

typedef struct DeltaLayout
{
	DelcTensorHeader header;	/* of the result */
	DelcTensorHeader base;
	int			method;
	int			flags;
	int			context_steps;
	int			contexts;
	uint32		base_crc;
	uint32		grandbase_crc;
	uint32		result_crc[TENSOR_MAX_PLANES];	/* of its first planes, 1 to all; sub: all only */
	int32		mean;
	int32		momentum;
	int64		decay;
	int			header_bytes;	/* up to the side information */
	uint32		side_length;
	int			segments;
	uint32		length[DELTA_MAX_SEGMENTS];
	int64		total_bytes;
} DeltaLayout;

/* ---- delta_format.c ---- */

extern bool delc_is_delta(Datum value);
extern void delc_delta_parse(DeltaLayout *layout, const char *bytes,
							 int64 total, int sqlstate);
extern void delc_delta_read(Datum value, DeltaLayout *layout);
extern void delc_delta_write(const DeltaLayout *layout, char *bytes);
extern void delc_delta_place(DeltaLayout *layout);
extern int64 delc_delta_offset(const DeltaLayout *layout, int segment);
extern void delc_value_header(Datum value, DelcTensorHeader *header);
extern void pg_attribute_noreturn() delc_delta_damaged(const char *detail);
extern int64 delc_delta_rows(const DelcTensorHeader *header);

static inline int
delta_blocks(const DelcTensorHeader *header)
{
	return (int) ((header->elements + DELTA_BLOCK - 1) / DELTA_BLOCK);
}

/* How many numbers a block has. */
static inline int
delta_block_length(const DelcTensorHeader *header, int block)
{
	return (int) Min(DELTA_BLOCK, header->elements - (int64) block * DELTA_BLOCK);
}

/* ---- delta_symbols.c: differences as symbols and raw bits ---- */

typedef struct DeltaClasses
{
	uint64		start[256];		/* the smallest magnitude of a symbol */
	uint8		bits[256];		/* how many raw bits follow */
	int			symbols;		/* those below are valid */
	int			exact_bits;		/* magnitudes below this power of two are symbols of their own */
	int			sub_bits;		/* bits behind the leading one that a symbol includes */
} DeltaClasses;

extern void delc_classes_define(DeltaClasses *classes, int item_size);
extern void delc_classes_split(const DeltaClasses *classes, const int64 *differences,
							   int n, uint8 *symbols, uint64 *raw);
extern uint64 delc_raw_bits(const DeltaClasses *classes, const uint8 *symbols,
							size_t n);
extern bool delc_symbols_valid(const DeltaClasses *classes, const uint8 *symbols,
							   size_t n);

typedef struct RawBits
{
	uint8	   *at;				/* 8 bytes may be touched from here on */
	uint64		position;		/* in bits */
} RawBits;

extern void delc_raw_write(RawBits *to, const DeltaClasses *classes,
						   const uint8 *symbols, const uint64 *raw, int n);
extern void delc_raw_read(RawBits *from, const DeltaClasses *classes,
						  const uint8 *symbols, int n, int64 *differences);

/* ---- delta_predict.c: what the next number is expected to be ---- */

/* A row's predictor; those from DELTA_ROW_MOMENTUM on have a momentum of their own. */
#define DELTA_COPY 0
#define DELTA_SHARED 1			/* base + momentum * (base - grandbase) + decay * base */
#define DELTA_BY_TABLE 2
#define DELTA_ROW_MOMENTUM 3
#define DELTA_ROW_MOMENTUM_STEP (1 << 14)	/* 1/64 */
#define DELTA_ROW_MOMENTUM_ZERO 67	/* the predictor whose momentum is 0 */

#define DELTA_TABLE_BITS 12

typedef struct DeltaModel
{
	int			dtype;
	int64		rows;
	int64		columns;
	int			flags;
	int32		momentum;
	int64		decay;
	int32		mean;
	int			context_steps;
	int			contexts;
	uint8	   *predictor;		/* per row, or NULL */
	int8	   *row_scale;		/* or NULL */
	int8	   *column_scale;	/* or NULL */
	int32	   *table;			/* or NULL */
} DeltaModel;

extern int	delc_mantissa_bits(int dtype);
extern int	delc_table_bits(int dtype);
extern void delc_predict_numbers(const DeltaModel *model, const char *base,
						 const char *grandbase, int64 start, int n, int64 *predicted);
extern void delc_predict_row(const DeltaModel *model, int predictor, const char *base,
							 const char *grandbase, int n, int64 *predicted);
extern void delc_ordered(int dtype, const char *dense, int n, int64 *ordered);
extern void delc_differences(int dtype, const int64 *from, const char *target, int n,
							 int64 *differences);
extern void delc_add_differences(int dtype, const int64 *from, const int64 *differences,
								 int n, char *dense);
extern void delc_steps(int dtype, const char *dense, uint64 mask, int n, int32 *steps);

extern void delc_movements(int dtype, const char *base, const char *grandbase, int n,
						   int64 *movements);
extern void delc_significands(int dtype, const char *base, int n, int64 *significands);

/* ---- delta_context.c ---- */

extern void delc_expected_steps(const DeltaModel *model, const char *base, uint64 mask,
								int64 start, int n, int32 *expected);
extern void delc_sub_contexts(const DeltaModel *model, const char *base, int64 start,
							  int n, uint8 *contexts);
extern void delc_plane_contexts(const DeltaModel *model, int method, const char *base,
								const char *result, int plane, int64 start, int n,
								uint8 *contexts);

#define DELTA_PLANE_LEVELS 16
#define DELTA_PLANE_CONTEXTS (4 * DELTA_PLANE_LEVELS)

/* ---- delta_fit.c: the encoder's choice of predictors and scales ---- */

extern void delc_fit(DeltaModel *model, const char *base, const char *grandbase,
					 const char *target);
extern void delc_fit_scales(DeltaModel *model, const char *base, const char *grandbase,
							const char *target);

/* ---- delta_side.c ---- */

extern void delc_bytes_write(StringInfo out, const uint8 *bytes, size_t n);
extern uint8 *delc_bytes_read(const char **at, const char *end, size_t n);
extern void delc_side_write(StringInfo out, const DeltaModel *model);
extern void delc_side_read(const char *side, uint32 length, DeltaModel *model);
extern void delc_model_free(DeltaModel *model);

/* ---- delta_sparse.c: planes of which few numbers differ ---- */

typedef struct SparsePlane
{
	int			n;				/* numbers of the block */
	uint8	   *gap_of;
	int			gaps;
	uint8	   *value_of;
	int			gap;			/* to be looked at */
	int			value;			/* that of next */
	int			next;			/* the next number that differs; n if none does */
} SparsePlane;

extern bool delc_sparse_write(StringInfo out, const uint8 *differences, int n);
extern void delc_sparse_open(SparsePlane *plane, const char *bytes, size_t length, int n);
extern void delc_sparse_add(SparsePlane *plane, bool exclusive, const char *from, int start,
							int end, int item_size, int byte, char *to);
extern void delc_sparse_close(SparsePlane *plane);

/* ---- delta_encode.c ---- */

typedef struct DeltaInput
{
	DelcTensorHeader base;
	DelcTensorHeader header;	/* of the target */
	const char *base_numbers;
	const char *grandbase_numbers;	/* or NULL; of the base's dtype and shape */
	const char *target_numbers;
} DeltaInput;

extern struct varlena *delc_delta_encode(const DeltaInput *input, int method);

/* ---- delta_block.c: one segment ---- */

typedef struct DeltaCoder
{
	const DeltaModel *model;
	DeltaClasses classes;
	uint32	   *table[TENSOR_MAX_PLANES];	/* the entropy decoder's, each when it is needed */
	RansModel  *rans;			/* the entropy encoder's, and its input; NULL for the decoder */
	uint8	   *contexts;
	uint8	   *symbols;
} DeltaCoder;

extern void delc_coder_open(DeltaCoder *coder, const DeltaModel *model, bool encode,
							int64 elements);
extern void delc_coder_close(DeltaCoder *coder);
extern void delc_sub_symbols(const DeltaCoder *coder, const char *base, const char *grandbase,
							 const char *target, int64 start, int n, uint8 *symbols, uint64 *raw);
extern void delc_sub_encode(DeltaCoder *coder, const char *base, const char *grandbase,
							const char *target, int64 start, int n, StringInfo out);
extern void delc_sub_decode(DeltaCoder *coder, const char *base, const char *grandbase,
							int64 start, int n, const char *segment, size_t length,
							char *result);
extern void delc_plane_encode(DeltaCoder *coder, int method, const char *base,
							  const char *target, int plane, int64 start, int n, StringInfo out);
extern void delc_planes_decode(DeltaCoder *coder, int method, const char *base, int64 start,
							   int n, int planes, const char *const *segments,
							   const uint32 *lengths, char *result);

/* ---- delta_shape.c ---- */

extern bool delc_same_frame(const DelcTensorHeader *a, const DelcTensorHeader *b);
extern char *delc_aligned(MemoryContext context, const DelcTensorHeader *from,
						  const char *numbers, const DelcTensorHeader *to);
extern uint32 delc_leading_crc(const DelcTensorHeader *header, const char *numbers, int planes);

/* ---- delta_apply.c ---- */

/* A chain under way: the newest value and the one before it. */
typedef struct DeltaChain
{
	MemoryContext context;		/* for the numbers */
	int			planes;			/* that are wanted; 0: all */
	bool		interruptible;	/* false below Python's frames: then interrupted says so */
	bool		interrupted;
	bool		keeps_previous; /* a delta that is added next may need it */
	bool		goes_on;		/* another delta follows, whose result is compared */
	int64		values;			/* so far */
	DelcTensorHeader header;
	char	   *numbers;
	uint32		crc;
	char	   *previous;		/* the value before, of as many numbers, or NULL */
	uint32		previous_crc;
} DeltaChain;

/* A stored value: a datum, or bytes in memory. */
typedef struct StoredValue
{
	Datum		datum;			/* 0 if the bytes are in memory */
	const char *bytes;
	int64		length;
} StoredValue;

extern StoredValue delc_stored_datum(Datum value);
extern void delc_chain_start(DeltaChain *chain, MemoryContext context, int planes);
extern void delc_chain_begin(DeltaChain *chain, Datum whole);
extern void delc_chain_begin_bytes(DeltaChain *chain, const char *bytes, int64 total);
extern int	delc_planes_of_bytes(const TensorLayout *layout, int bytes);
extern void delc_chain_add(DeltaChain *chain, const StoredValue *delta);
extern bool delc_needs_grandbase(const char *bytes, int64 total);
extern void delc_chain_drop_previous(DeltaChain *chain);

/* ---- for SQL functions ---- */

extern int	delc_delta_method(const char *name);

#endif							/* DELC_DELTA_H */
