/*
 * tensor.h
 *	  The tensor type as other C code sees it.
 *
 * A tensor is dense numbers of one dtype in row-major order with a shape of
 * rank 0 to 8.  On disk it is a varlena (tensor_format.h); here it is a
 * header, and plain little-endian numbers in memory.
 *
 * The functions are exported from delc.so.  Another library of this extension
 * resolves them once with load_external_function("$libdir/delc", name, ...),
 * with the function types below.  All of them report errors with ereport, so
 * C code that must clean up wraps them in PG_TRY.  None of them polls for
 * interrupts: they are safe to call from Python frames inside PG_TRY.
 */
#ifndef DELC_TENSOR_H
#define DELC_TENSOR_H

#include "postgres.h"

#ifdef WORDS_BIGENDIAN
#error "delc stores and decodes tensors on little-endian machines only"
#endif

#define TENSOR_MAX_RANK 8

/* The widest dtype has eight bytes, hence at most eight byte planes. */
#define TENSOR_MAX_PLANES 8

/*
 * Largest payload of one datum: elements times item size.  A text dump of it
 * stays well below the 1 GB that PostgreSQL allocates at once; larger tensors
 * are kept in several rows.
 */
#define TENSOR_MAX_BYTES (INT64CONST(128) * 1024 * 1024)

/*
 * Element types.  The numbers are part of the disk and wire formats: new ones
 * are added at the end, none is ever renumbered.  0 stays unused, so that a
 * zeroed header is never valid.
 */
typedef enum DelcDtype
{
	DELC_FLOAT64 = 1,
	DELC_FLOAT32 = 2,
	DELC_FLOAT16 = 3,			/* IEEE 754 binary16 */
	DELC_BFLOAT16 = 4,			/* the upper half of a float32 */
	DELC_INT64 = 5,
	DELC_INT32 = 6,
	DELC_INT16 = 7,
	DELC_INT8 = 8,
	DELC_UINT8 = 9,
	DELC_BOOL = 10				/* one byte, 0 or 1 */
} DelcDtype;

#define DELC_DTYPE_FIRST DELC_FLOAT64
#define DELC_DTYPE_LAST DELC_BOOL

/* What is known of a tensor without reading its numbers. */
typedef struct DelcTensorHeader
{
	int			dtype;			/* DelcDtype */
	int			rank;			/* 0 to TENSOR_MAX_RANK */
	int64		dims[TENSOR_MAX_RANK];	/* those past rank are 0 */
	int64		elements;		/* product of dims; 1 for rank 0 */
	int			item_size;		/* bytes of one element */
	int64		raw_bytes;		/* elements * item_size */
} DelcTensorHeader;

/*
 * Build a tensor from dense numbers in row-major order (raw_bytes of them; any
 * alignment).  The result is palloc'd.  Refuses an unknown dtype, a bad shape
 * and more than TENSOR_MAX_BYTES; bool bytes other than 0 are stored as 1.
 */
typedef struct varlena *(*DelcTensorEncode) (int dtype, int rank,
											 const int64 *dims,
											 const void *dense);
extern PGDLLEXPORT struct varlena *delc_tensor_encode(int dtype, int rank,
													  const int64 *dims,
													  const void *dense);

/* Read the header alone: at most one TOAST chunk is fetched. */
typedef void (*DelcTensorReadHeader) (Datum value, DelcTensorHeader *out);
extern PGDLLEXPORT void delc_tensor_header(Datum value, DelcTensorHeader *out);

/*
 * Write the dense numbers (raw_bytes of them; any alignment) to dense_out.
 * planes is how many byte planes to read, counted from the most significant
 * byte; the bytes below are zero, and their TOAST chunks are not fetched.
 * 0, or the item size, reads all of them.
 */
typedef void (*DelcTensorDecode) (Datum value, int planes, void *dense_out);
extern PGDLLEXPORT void delc_tensor_decode(Datum value, int planes,
										   void *dense_out);

/*
 * Write the elements to out as numbers of target_dtype, by the rules of
 * delc.as_dtype: rounded to nearest even; a number that the target cannot hold
 * is an error.  The number of elements must be expected_elements.
 */
typedef void (*DelcTensorPack) (Datum value, int target_dtype, void *out,
								int64 expected_elements);
extern PGDLLEXPORT void delc_tensor_pack(Datum value, int target_dtype,
										 void *out, int64 expected_elements);

/*
 * The memory that delc.read_planes() writes numbers to, from now on until it
 * is NULL; whoever sets it sees to it that it stays so long.
 */
typedef void (*DelcPlaneTarget) (void *numbers, int64 bytes);
extern PGDLLEXPORT void delc_plane_target(void *numbers, int64 bytes);

/* "float32" and so on; NULL for a number that is no dtype. */
typedef const char *(*DelcDtypeName) (int dtype);
extern PGDLLEXPORT const char *delc_dtype_name(int dtype);

/* The dtype of that name (lower case, exact); -1 when there is none. */
typedef int (*DelcDtypeLookup) (const char *name);
extern PGDLLEXPORT int delc_dtype_lookup(const char *name);

/* Bytes of one element; 0 for a number that is no dtype. */
typedef int (*DelcDtypeSize) (int dtype);
extern PGDLLEXPORT int delc_dtype_size(int dtype);

#endif							/* DELC_TENSOR_H */
