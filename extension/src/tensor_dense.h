/*
 * tensor_dense.h
 *	  The dense encodings of a plane: smaller than raw or zstd, slower to write.
 *
 * Planes are coded and decoded as one byte per element; those of width 4 have
 * values below 16.  A plane may be coded in the context of planes above it,
 * never of those below, so the first k planes remain a value of their own.
 *
 * PLANE_RANS: the upper bits of each element by rANS, in contexts, the rest as
 * they are.
 *		1		how many of the bits are coded: all, or 4 of 8
 *		1		how contexts are made (ContextKind)
 *		...		what that needs (tensor_context.c)
 *		4		length of the rANS stream, which follows
 *		...		where 4 of 8 bits are coded: the others, packed in pairs
 *
 * PLANE_ROWS: rows of numbers end in zero bits, some in more than others.
 *		4		elements of a row
 *		4		length of a rANS stream with, per row, the number of zero bits that all
 *				its elements end in; it follows
 *		...		per row, the other bits of the elements, from the lowest bit of a byte on
 *
 * PLANE_TABLE: the tensor has at most 256 different numbers.  A number's upper
 * planes lead, like a path in a tree, to what its next plane can be.
 *		2		how many different prefixes there are with this plane
 *		...		unless that is as many as without it: per prefix without it, in order, how many
 *				continue it, less 1 (1 byte)
 *		...		per prefix with it, in order: its last byte
 *		...		a rANS stream of which continuation each element takes, in a context per
 *				prefix (delc_table_contexts); nothing where none has two
 */
#ifndef DELC_TENSOR_DENSE_H
#define DELC_TENSOR_DENSE_H

#include "rans.h"
#include "tensor_format.h"

/* Dense planes are decoded so many elements at a time: a multiple of RANS_LANES. */
#define DENSE_SEGMENT 8192

/* Elements whose lower halves share 32 bytes (tensor_nibbles.c). */
#define NIBBLE_GROUP 64

struct ByteWriter;

/* ---- tensor_nibbles.c: half bytes, two to a byte ---- */

#define NIBBLE_BYTES(elements) (((elements) + 1) / 2)

extern void delc_nibbles_pack(const uint8 *nibbles, int64 elements, uint8 *packed);
extern void delc_nibbles_unpack(const uint8 *packed, int64 elements, uint8 *nibbles);
extern void delc_nibbles_join(const uint8 *upper, const uint8 *lower, int64 elements,
							  uint8 *bytes);
extern void delc_nibbles_split(const uint8 *bytes, int64 elements, uint8 *upper,
							   uint8 *lower);

/* ---- tensor_context.c: contexts of a plane's elements ---- */

typedef enum ContextKind
{
	CONTEXT_NONE = 0,
	CONTEXT_SCALE = 1,			/* size of the element's row and column */
	CONTEXT_WINDOW = 2,			/* exponent, as far as the planes above tell it */
	CONTEXT_MAP = 3				/* value in the plane above */
} ContextKind;

typedef struct DenseContexts
{
	ContextKind kind;
	int			count;
	int			low;			/* of a window */
	uint8		class_of[256];	/* of a map */
	int64		columns;		/* of a scale: elements of a row */
	uint8	   *column_level;	/* palloc'd: one per column */
	uint8	   *row_level;		/* palloc'd: one per row, subtracted */
} DenseContexts;

/* What the keys of windows and maps are made of. */
typedef struct DenseAbove
{
	int			dtype;
	int			plane;			/* whose contexts they are */
	int			width;			/* bits of the planes from the second on */
	const uint8 *first;			/* the planes above: the first two, */
	const uint8 *second;
	const uint8 *last;			/* and the one next above */
} DenseAbove;

extern void delc_context_keys(const DenseAbove *above, int64 elements, uint8 *keys);
extern void delc_contexts_of_keys(const DenseContexts *contexts, const uint8 *keys,
								  int64 elements, uint8 *out);
extern void delc_context_write(const DenseContexts *contexts, int64 elements,
							   RansModel *model, struct ByteWriter *writer);
extern void delc_contexts_of_scale(const DenseContexts *contexts, int64 start,
								   int64 elements, uint8 *out);

/* ---- tensor_dense_table.c ---- */

extern int	delc_table_contexts(const uint8 *more, int prefixes, uint8 *context_of);

/* ---- tensor_dense_write.c: a whole tensor ---- */

/* A tensor on its way to its dense encoding. */
typedef struct DenseWriter
{
	TensorLayout layout;		/* encodings and lengths are filled in */
	uint8	   *values[TENSOR_STORED_PLANES_MAX];	/* each plane, a byte per element */
	uint8	   *stored[TENSOR_STORED_PLANES_MAX];	/* encoded; NULL: as values, or constant */
	/* working memory */
	RansModel  *model;
	uint8	   *keys;			/* a byte per element, each */
	uint8	   *contexts;
	uint8	   *symbols;
} DenseWriter;

extern struct varlena *delc_tensor_compress(Datum value, bool halves);

/* ---- tensor_dense_bytes.c: writing into a block of limited size ---- */

typedef struct ByteWriter
{
	uint8	   *start;
	uint8	   *at;
	uint8	   *end;
	bool		full;			/* did something not fit? */
} ByteWriter;

extern uint8 *delc_put_room(ByteWriter *writer, size_t length);
extern void delc_put_byte(ByteWriter *writer, int value);
extern void delc_put_uint32(ByteWriter *writer, uint32 value);
extern void delc_put_bytes(ByteWriter *writer, const void *bytes, size_t length);
extern void delc_put_nibbles(ByteWriter *writer, const uint8 *nibbles, int64 elements);
extern void delc_put_stream(ByteWriter *writer, RansModel *model, const uint8 *symbols,
							const uint8 *contexts, int context_count, size_t n,
							bool with_length);

/* ---- one plane as each encoding: the size, 0 where that is not below limit ---- */

extern void delc_dense_write_plane(DenseWriter *writer, int p);
extern bool delc_dense_write_table(DenseWriter *writer);

/* ---- tensor_dense_read.c: planes of a stored value, segment by segment ---- */

typedef struct DenseReader DenseReader;

extern DenseReader *delc_dense_open(const TensorLayout *layout, const char *bytes,
									int planes, int sqlstate);
extern DenseReader *delc_dense_open_further(const TensorLayout *layout, const char *bytes,
											const char *numbers, int known, int planes,
											int sqlstate);
extern bool delc_dense_needs_all(const TensorLayout *layout, int known, int planes);
extern void delc_dense_read(DenseReader *reader, int64 start, int64 elements,
							char *dense);
extern void delc_dense_close(DenseReader *reader);

#endif							/* DELC_TENSOR_DENSE_H */
