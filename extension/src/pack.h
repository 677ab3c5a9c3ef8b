/*
 * pack.h: packing the rows of a query into dense arrays, a batch at a time.
 *
 * Query columns are assigned to groups. A batch holds one dense array
 * (rows, width) for each group; the columns of a group lie side by side.
 */
#ifndef DELC_PACK_H
#define DELC_PACK_H

#include "postgres.h"

#include "access/tupdesc.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "utils/array.h"

#include "pack_toast.h"
#include "tensor.h"

typedef enum PackKind
{
	PACK_SKIP,
	PACK_NUMBER,
	PACK_CATEGORY,
	PACK_KEY
} PackKind;

/* How the values of a column are read. */
typedef enum PackSource
{
	SOURCE_INT2,
	SOURCE_INT4,
	SOURCE_INT8,
	SOURCE_FLOAT4,
	SOURCE_FLOAT8,
	SOURCE_NUMERIC,
	SOURCE_BOOL,
	SOURCE_DATE,
	SOURCE_TIMESTAMP,
	SOURCE_TIME,
	SOURCE_TIMETZ,
	SOURCE_INTERVAL,
	SOURCE_ARRAY,
	SOURCE_VECTOR,
	SOURCE_TENSOR,
	SOURCE_BYTES,
	SOURCE_TEXT					/* category or key: by its text form */
} PackSource;

typedef struct PackDictionary PackDictionary;

typedef struct PackColumn
{
	PackKind	kind;
	PackSource	source;
	int			group;			/* -1 when not packed */
	NameData	name;
	Oid			type_id;
	PackSource	element_source; /* of an array */
	int16		element_length;
	bool		element_by_value;
	char		element_align;
	int64		width;			/* numbers per row, -1 until the first value is seen */
	int64		offset;			/* of the column in its group's row */
	int			rank;			/* dimensions of one value, 0 for a scalar */
	int64		dims[TENSOR_MAX_RANK];
	FmgrInfo	output;			/* text form of categories and keys */
	PackDictionary *dictionary;
	PackToast  *toast;			/* the packer's */
	/* what was wrong in the batch; rows count from 0 within it */
	int64		first_row;		/* of the batch, for messages */
	int64		nulls;
	int64		first_null_row;
	int64		nonfinite;
	int64		first_nonfinite_row;
} PackColumn;

typedef struct PackGroup
{
	int			dtype;
	int			item_size;
	int			columns;
	int64		width;			/* numbers per row, -1 while a column's width is unknown */
	struct PackBuffer *buffer;
} PackGroup;

/*
 * Memory of one group of one batch. It is not palloc'd: Python may hold it
 * longer than the query, the transaction or the packer lives.
 */
typedef struct PackBuffer
{
	int			references;
	Size		capacity;
	void	   *data;
} PackBuffer;

typedef struct Packer
{
	MemoryContext context;		/* holds the packer itself */
	MemoryContext row_context;	/* reset for each row */
	MemoryContext key_context;	/* reset for each batch */
	int			columns_count;
	PackColumn *columns;
	int			groups_count;
	PackGroup  *groups;
	int			key_column;		/* -1 without */
	int64		batch_size;
	int64		rows;			/* in the current batch */
	int64		first_row;		/* of the current batch within the query */
	char	  **keys;
	PackToast	toast;
	MemoryContextCallback release;	/* gives the buffers back with the context */
} Packer;

/* pack_buffer.c */
extern PackBuffer *pack_buffer_create(Size size);
extern PGDLLEXPORT void delc_pack_buffer_retain(PackBuffer *buffer);
extern PGDLLEXPORT void delc_pack_buffer_release(PackBuffer *buffer);

/* pack.c */
typedef struct PackLayout
{
	int			columns_count;
	const PackKind *kinds;
	const int  *groups;
	const int64 *widths;		/* known widths, -1 where the first row decides */
	int			groups_count;
	const int  *dtypes;
} PackLayout;

extern Packer *packer_create(MemoryContext parent, TupleDesc descriptor, const PackLayout *layout,
							 int64 batch_size);
extern void packer_begin_batch(Packer *packer);
extern void packer_begin_single_row(Packer *packer);
extern void packer_add_row(Packer *packer, const Datum *values, const bool *nulls);

/* pack_layout.c */
extern void pack_layout_from_arguments(PackLayout *layout, ArrayType *kinds, ArrayType *groups,
									   ArrayType *widths, ArrayType *dtypes);

/* pack_functions.c, predict.c */
extern PGDLLEXPORT Packer *delc_packer_of_portal(const char *portal_name);
extern PGDLLEXPORT Packer *delc_packer_of_handle(int32 handle);

/* pack_column.c */
extern void pack_column_prepare(PackColumn *column, Form_pg_attribute attribute);
extern void pack_column_measure(PackColumn *column, Datum value);
extern void pack_column_store(PackColumn *column, Datum value, int dtype, void *target, int64 row);
extern void pack_column_store_null(PackColumn *column, int dtype, int item_size, void *target, int64 row);

/* pack_dictionary.c */
extern PackDictionary *pack_dictionary_create(MemoryContext context);
extern int32 pack_dictionary_code(PackDictionary *dictionary, const char *text);
extern void pack_dictionary_reset(PackDictionary *dictionary);
extern PGDLLEXPORT int32 delc_pack_dictionary_size(const PackDictionary *dictionary);
extern PGDLLEXPORT const char *delc_pack_dictionary_text(const PackDictionary *dictionary, int32 code);

#endif							/* DELC_PACK_H */
