/*
 * delta_apply.c
 *	  Applying deltas, one after the other, on dense numbers.
 *
 * Two arrays of numbers are all that a chain takes: the newest value, and the one before it, which the
 * next delta may need as grandbase, and over which the next value is written.
 * A delta that lies outside its row is fetched segment by segment.
 */
#include "delta.h"

#include "access/detoast.h"
#include "miscadmin.h"
#include "utils/memutils.h"

/* ---- where a delta's bytes are ---- */

/* Can parts of a datum be fetched without the rest? */
static bool
in_pieces(Datum value)
{
	struct varlena *pointer = (struct varlena *) DatumGetPointer(value);
	struct varatt_external external;

	if (!VARATT_IS_EXTERNAL_ONDISK(pointer))
		return false;
	VARATT_EXTERNAL_GET_POINTER(external, pointer);
	return !VARATT_EXTERNAL_IS_COMPRESSED(external);
}

/* A datum as a stored value; one that cannot be fetched in parts is fetched now. */
StoredValue
delc_stored_datum(Datum value)
{
	StoredValue stored = {0};
	struct varlena *whole;

	if (in_pieces(value))
	{
		stored.datum = value;
		stored.length = toast_raw_datum_size(value) - VARHDRSZ;
		return stored;
	}
	whole = PG_DETOAST_DATUM_PACKED(value);
	stored.bytes = VARDATA_ANY(whole);
	stored.length = VARSIZE_ANY_EXHDR(whole);
	return stored;
}

typedef struct Piece
{
	const char *bytes;
	struct varlena *fetched;	/* to be freed, or NULL */
} Piece;

static Piece
fetch_piece(const StoredValue *value, int64 offset, int64 length)
{
	Piece		piece = {NULL, NULL};

	if (value->bytes != NULL)
		piece.bytes = value->bytes + offset;
	else
	{
		piece.fetched = PG_DETOAST_DATUM_SLICE(value->datum, (int32) offset, (int32) length);
		if ((int64) VARSIZE_ANY_EXHDR(piece.fetched) != length)
			delc_delta_damaged("It is cut off.");
		piece.bytes = VARDATA_ANY(piece.fetched);
	}
	return piece;
}

static void
release_piece(Piece *piece)
{
	if (piece->fetched != NULL)
		pfree(piece->fetched);
}

static void
read_layout(const StoredValue *value, DeltaLayout *layout)
{
	if (value->bytes != NULL)
		delc_delta_parse(layout, value->bytes, value->length, ERRCODE_DATA_CORRUPTED);
	else
		delc_delta_read(value->datum, layout);
}

/* ---- does the delta fit the chain? ---- */

static void
check_base(const DeltaChain *chain, const DeltaLayout *layout)
{
	const DelcTensorHeader *base = &chain->header;

	if (base->dtype != layout->base.dtype || !delc_shape_equal(base, &layout->base))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the delta was made from another base than the one given"),
				 errdetail("It was made from %s, the base given is %s.",
						   delc_header_text(&layout->base), delc_header_text(base))));
	if (chain->planes > 0)
		return;
	if (chain->crc != layout->base_crc)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the delta was made from another base than the one given"),
				 errdetail("Dtype and shape are the same, %s, the numbers differ.",
						   delc_header_text(base))));
}

static void
check_grandbase(const DeltaChain *chain, const DeltaLayout *layout)
{
	if (!(layout->flags & DELTA_GRANDBASE))
		return;
	if (chain->previous == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the delta needs the base of its base as well"),
				 errhint("Give it as grandbase, or restore the chain from a value further up.")));
	if (chain->previous_crc != layout->grandbase_crc)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the delta was made with another grandbase than the one given"),
				 errdetail("Dtype and shape are the same, the numbers differ.")));
}

static void
check_planes(const DeltaChain *chain, const DeltaLayout *layout)
{
	if (layout->method == DELTA_SUB && chain->planes > 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a delta of method sub cannot be applied to the first %d planes of its base",
						chain->planes),
				 errdetail("Its differences reach from the lowest plane to the highest."),
				 errhint("Restore all planes, or make deltas by method planes.")));
}

/* ---- segments ---- */

/* Whether to stop. */
static bool
interrupted(DeltaChain *chain)
{
	if (chain->interruptible)
		CHECK_FOR_INTERRUPTS();
	else if (InterruptPending && (QueryCancelPending || ProcDiePending))
		chain->interrupted = true;
	return chain->interrupted;
}

/* The only segment of a block of method sub. */
static void
decode_sub_block(DeltaChain *chain, DeltaCoder *coder, const DeltaLayout *layout,
				 const StoredValue *delta, int block, char *result)
{
	int64		start = (int64) block * DELTA_BLOCK;
	size_t		at = start * layout->header.item_size;
	Piece		piece = fetch_piece(delta, delc_delta_offset(layout, block), layout->length[block]);

	delc_sub_decode(coder, chain->numbers + at,
					layout->flags & DELTA_GRANDBASE ? chain->previous + at : NULL,
					start, delta_block_length(&layout->header, block), piece.bytes,
					layout->length[block], result + at);
	release_piece(&piece);
}

/* The segments of all planes of a block that are wanted. */
static void
decode_planes_block(DeltaChain *chain, DeltaCoder *coder, const DeltaLayout *layout,
					const StoredValue *delta, int block, char *result)
{
	int			planes = chain->planes > 0 ? chain->planes : layout->header.item_size;
	int64		start = (int64) block * DELTA_BLOCK;
	size_t		at = start * layout->header.item_size;
	Piece		pieces[TENSOR_MAX_PLANES];
	const char *segments[TENSOR_MAX_PLANES];
	uint32		lengths[TENSOR_MAX_PLANES];

	for (int plane = 0; plane < planes; plane++)
	{
		int			segment = plane * delta_blocks(&layout->header) + block;

		lengths[plane] = layout->length[segment];
		pieces[plane] = fetch_piece(delta, delc_delta_offset(layout, segment), lengths[plane]);
		segments[plane] = pieces[plane].bytes;
	}
	delc_planes_decode(coder, layout->method, chain->numbers + at, start,
					   delta_block_length(&layout->header, block), planes, segments, lengths,
					   result + at);
	for (int plane = 0; plane < planes; plane++)
		release_piece(&pieces[plane]);
}

static void
decode_blocks(DeltaChain *chain, const StoredValue *delta, const DeltaLayout *layout,
			  const DeltaModel *model, char *result)
{
	int			blocks = delta_blocks(&layout->header);
	DeltaCoder	coder;

	delc_coder_open(&coder, model, false, layout->header.elements);
	for (int block = 0; block < blocks && !interrupted(chain); block++)
	{
		if (layout->method == DELTA_SUB)
			decode_sub_block(chain, &coder, layout, delta, block, result);
		else
			decode_planes_block(chain, &coder, layout, delta, block, result);
	}
	delc_coder_close(&coder);
}

static void
open_model(const StoredValue *delta, const DeltaLayout *layout, DeltaModel *model)
{
	Piece		side = fetch_piece(delta, layout->header_bytes, layout->side_length);

	memset(model, 0, sizeof(DeltaModel));
	model->dtype = layout->header.dtype;
	model->rows = delc_delta_rows(&layout->header);
	model->columns = layout->header.elements / model->rows;
	model->flags = layout->flags;
	model->momentum = layout->momentum;
	model->decay = layout->decay;
	model->mean = layout->mean;
	model->context_steps = layout->context_steps;
	model->contexts = layout->contexts;
	delc_side_read(side.bytes, layout->side_length, model);
	release_piece(&side);
}

/* ---- chains ---- */

void
delc_chain_start(DeltaChain *chain, MemoryContext context, int planes)
{
	memset(chain, 0, sizeof(DeltaChain));
	chain->context = context;
	chain->planes = planes;
	chain->interruptible = true;
	chain->keeps_previous = true;
}

/* How many planes of a value hold the first bytes of its numbers: there are more if they are halved. */
int
delc_planes_of_bytes(const TensorLayout *layout, int bytes)
{
	int			bits = 0;
	int			planes = 0;

	while (bits < 8 * bytes && planes < layout->planes)
		bits += layout->plane[planes++].width;
	return planes;
}

/* Room for the value that a chain begins with; how many of its planes are wanted, 0 for all. */
static int
begin(DeltaChain *chain, const TensorLayout *layout)
{
	chain->header = layout->header;
	if (chain->planes >= chain->header.item_size)
		chain->planes = 0;
	chain->keeps_previous = chain->planes == 0; /* deltas of leading planes need the base alone */
	chain->numbers = MemoryContextAlloc(chain->context, Max(chain->header.raw_bytes, 1));
	chain->values = 1;
	return chain->planes == 0 ? 0 : delc_planes_of_bytes(layout, chain->planes);
}

/* What deltas compare their base with, where it is read in full. */
static void
sum_base(DeltaChain *chain)
{
	if (chain->planes == 0)
		chain->crc = delc_crc32c(chain->numbers, chain->header.raw_bytes);
}

/* The value that a chain begins with. */
void
delc_chain_begin(DeltaChain *chain, Datum whole)
{
	TensorLayout layout;
	int			planes;

	delc_layout_read(whole, &layout);
	planes = begin(chain, &layout);
	delc_tensor_decode(whole, planes, chain->numbers);
	sum_base(chain);
}

/* The same in memory, of which no more need be there than the planes wanted; total is the size of all of it. */
void
delc_chain_begin_bytes(DeltaChain *chain, const char *bytes, int64 total)
{
	TensorLayout layout;
	int			planes;

	delc_layout_parse(&layout, bytes, total, ERRCODE_DATA_CORRUPTED);
	planes = begin(chain, &layout);
	delc_bytes_decode(bytes, total, planes, chain->numbers);
	sum_base(chain);
}

void
delc_chain_drop_previous(DeltaChain *chain)
{
	if (chain->previous != NULL)
		pfree(chain->previous);
	chain->previous = NULL;
}

/* Bring the newest value into the shape of the next one. */
static void
align(DeltaChain *chain, const DelcTensorHeader *header)
{
	char	   *aligned;

	delc_chain_drop_previous(chain);
	aligned = delc_aligned(chain->context, &chain->header, chain->numbers, header);
	pfree(chain->numbers);
	chain->numbers = aligned;
}

static void
check_result(const DeltaChain *chain, const DeltaLayout *layout)
{
	int			planes = chain->planes == 0 ? layout->header.item_size : chain->planes;

	if (chain->crc != layout->result_crc[planes - 1])
		delc_delta_damaged("The numbers that it leads to do not have its checksum.");
}

/* Does a delta in memory need the base of its base? */
bool
delc_needs_grandbase(const char *bytes, int64 total)
{
	DeltaLayout layout;

	delc_delta_parse(&layout, bytes, total, ERRCODE_DATA_CORRUPTED);
	return (layout.flags & DELTA_GRANDBASE) != 0;
}

/* Where the next value goes: over the newest one, over the one before it, or to memory of its own. */
static char *
place_of_result(DeltaChain *chain, const DeltaLayout *layout)
{
	if (layout->method != DELTA_SUB && !chain->keeps_previous)
	{
		delc_chain_drop_previous(chain);
		return chain->numbers;
	}
	/* the grandbase is read where the result is written, number by number */
	return chain->previous != NULL ? chain->previous :
		MemoryContextAlloc(chain->context, Max(layout->header.raw_bytes, 1));
}

/* Apply a delta to the newest value. */
void
delc_chain_add(DeltaChain *chain, const StoredValue *delta)
{
	DeltaLayout layout;
	DeltaModel	model;
	char	   *result;
	bool		reshaped;

	read_layout(delta, &layout);
	check_base(chain, &layout);
	check_planes(chain, &layout);
	check_grandbase(chain, &layout);
	open_model(delta, &layout, &model);
	reshaped = !delc_same_frame(&chain->header, &layout.header);
	if (reshaped)
		align(chain, &layout.header);
	result = place_of_result(chain, &layout);
	decode_blocks(chain, delta, &layout, &model, result);
	delc_model_free(&model);
	if (result != chain->numbers)
	{
		chain->previous = chain->numbers;
		chain->previous_crc = chain->crc;
		chain->numbers = result;
	}
	chain->header = layout.header;
	chain->values++;
	if (reshaped)
		delc_chain_drop_previous(chain);	/* an aligned base is no value of the chain */
	if (chain->interrupted || (chain->planes > 0 && chain->goes_on))
		return;
	chain->crc = delc_crc32c(result, layout.header.raw_bytes);
	check_result(chain, &layout);
}
