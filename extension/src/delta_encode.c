/*
 * delta_encode.c
 *	  Making a delta.
 */
#include "delta.h"

#include "miscadmin.h"
#include "utils/memutils.h"

/* Contexts reach so many steps below and above zero at most. */
#define REACH 2048

/* So many numbers in ten thousand may be beyond the first or the last context. */
#define OUTLIERS 20

/* ---- contexts of method sub ---- */

/* How often each expected logarithm occurs. */
static uint32 *
count_expected(const DeltaModel *model, const char *base)
{
	int64		elements = model->rows * model->columns;
	uint32	   *counts = palloc0(2 * REACH * sizeof(uint32));

	for (int64 start = 0; start < elements; start += DELTA_RUN)
	{
		int32		expected[DELTA_RUN];
		int			run = (int) Min(DELTA_RUN, elements - start);

		delc_expected_steps(model, base + start * delc_dtype_size(model->dtype), PG_UINT64_MAX,
							start, run, expected);
		for (int i = 0; i < run; i++)
			counts[Min(Max(expected[i], -REACH), REACH - 1) + REACH]++;
	}
	return counts;
}

/* The least and the most but for outliers. */
static void
expected_range(const DeltaModel *model, const char *base, int *least, int *most)
{
	uint32	   *counts = count_expected(model, base);
	int64		outliers = model->rows * model->columns * OUTLIERS / 10000;
	int64		sum = 0;

	*least = 0;
	*most = 2 * REACH - 1;
	while (*least < *most && (sum += counts[*least]) <= outliers)
		(*least)++;
	sum = 0;
	while (*most > *least && (sum += counts[*most]) <= outliers)
		(*most)--;
	*least -= REACH;
	*most -= REACH;
	pfree(counts);
}

/*
 * Set the number of contexts and their width to what makes the middle block smallest: fine contexts tell more, and
 * each has frequencies to be written.  Returns the bytes of that block's symbols.
 */
static size_t
choose_contexts(DeltaCoder *coder, DeltaModel *model, const DeltaInput *input, const char *base)
{
	int			block = delta_blocks(&input->header) / 2;
	int			n = delta_block_length(&input->header, block);
	int64		start = (int64) block * DELTA_BLOCK;
	size_t		at = start * input->header.item_size;
	size_t		best = SIZE_MAX;
	int			best_steps = 0;
	int			best_contexts = 1;
	int			least;
	int			most;

	expected_range(model, base, &least, &most);
	model->mean -= least;
	model->contexts = 1;
	delc_sub_symbols(coder, base + at,
					 input->grandbase_numbers == NULL ? NULL : input->grandbase_numbers + at,
					 input->target_numbers + at, start, n);
	for (int steps = 0; steps <= 4; steps++)
	{
		size_t		size;

		CHECK_FOR_INTERRUPTS();
		model->context_steps = steps;
		model->contexts = steps == 4 ? 1 : Min(((most - least) >> steps) + 1, RANS_MAX_CONTEXTS);
		delc_sub_contexts(model, base + at, start, n, coder->contexts);
		if (!delc_rans_learn(coder->rans, coder->symbols, coder->contexts, model->contexts, n))
			elog(ERROR, "contexts of a delta are out of range");
		size = delc_rans_estimate(coder->rans, n);
		if (size < best)
		{
			best = size;
			best_steps = steps;
			best_contexts = model->contexts;
		}
	}
	model->context_steps = best_steps;
	model->contexts = best_contexts;
	return best;
}

static size_t
side_bytes(const DeltaModel *model)
{
	StringInfoData side;
	size_t		length;

	initStringInfo(&side);
	delc_side_write(&side, model);
	length = side.len;
	pfree(side.data);
	return length;
}

/* Choose contexts, and whether scales of rows and columns are worth what they take. */
static void
choose_scales(DeltaCoder *coder, DeltaModel *model, const DeltaInput *input, const char *base)
{
	DeltaModel	plain = *model;
	size_t		with_scales = choose_contexts(coder, model, input, base) + side_bytes(model);

	if (model->row_scale == NULL)
		return;
	plain.flags &= ~(DELTA_ROW_SCALES | DELTA_COLUMN_SCALES);
	plain.row_scale = NULL;
	plain.column_scale = NULL;
	coder->model = &plain;
	if (choose_contexts(coder, &plain, input, base) + side_bytes(&plain) < with_scales)
	{
		pfree(model->row_scale);
		pfree(model->column_scale);
		*model = plain;
	}
	coder->model = model;
}

/* ---- segments ---- */

static void
encode_sub(DeltaCoder *coder, DeltaLayout *layout, const DeltaInput *input, const char *base,
		   StringInfo out)
{
	for (int block = 0; block < delta_blocks(&layout->header); block++)
	{
		int64		start = (int64) block * DELTA_BLOCK;
		size_t		at = start * layout->header.item_size;
		int			before = out->len;

		CHECK_FOR_INTERRUPTS();
		delc_sub_encode(coder, base + at,
						input->grandbase_numbers == NULL ? NULL : input->grandbase_numbers + at,
						input->target_numbers + at, start,
						delta_block_length(&layout->header, block), out);
		layout->length[block] = out->len - before;
	}
}

static void
encode_planes(DeltaCoder *coder, DeltaLayout *layout, const DeltaInput *input, const char *base,
			  StringInfo out)
{
	int			blocks = delta_blocks(&layout->header);

	for (int segment = 0; segment < layout->header.item_size * blocks; segment++)
	{
		int			block = segment % blocks;
		int64		start = (int64) block * DELTA_BLOCK;
		size_t		at = start * layout->header.item_size;
		int			before = out->len;

		CHECK_FOR_INTERRUPTS();
		delc_plane_encode(coder, layout->method, base + at, input->target_numbers + at,
						  segment / blocks, start, delta_block_length(&layout->header, block), out);
		layout->length[segment] = out->len - before;
	}
}

/* ---- the whole ---- */

/* Does any row look at the grandbase? */
static bool
needs_grandbase(const DeltaModel *model)
{
	if (model->predictor == NULL)
		return false;
	for (int64 row = 0; row < model->rows; row++)
	{
		int			predictor = model->predictor[row];

		if (predictor >= DELTA_ROW_MOMENTUM || (predictor == DELTA_SHARED && model->momentum != 0))
			return true;
	}
	return false;
}

static void
fill_layout(DeltaLayout *layout, const DeltaModel *model, const DeltaInput *input)
{
	layout->flags = model->flags;
	layout->context_steps = model->context_steps;
	layout->contexts = model->contexts;
	layout->mean = model->mean;
	layout->momentum = model->momentum;
	layout->decay = model->decay;
	layout->base_crc = delc_crc32c(input->base_numbers, input->base.raw_bytes);
	layout->grandbase_crc = 0;
	if (layout->flags & DELTA_GRANDBASE)
		layout->grandbase_crc = delc_crc32c(input->grandbase_numbers, input->base.raw_bytes);
	for (int planes = layout->method == DELTA_SUB ? layout->header.item_size : 1;
		 planes < layout->header.item_size; planes++)
		layout->result_crc[planes - 1] = delc_leading_crc(&layout->header, input->target_numbers, planes);
	layout->result_crc[layout->header.item_size - 1] =
		delc_crc32c(input->target_numbers, input->header.raw_bytes);
}

/* Choose everything about the numbers; there are some. */
static void
fit_model(DeltaModel *model, DeltaCoder *coder, const DeltaInput *input, int method,
		  const char *base)
{
	if (method != DELTA_SUB)
	{
		delc_fit_scales(model, base, NULL, input->target_numbers);
		return;
	}
	delc_fit(model, base, input->grandbase_numbers, input->target_numbers);
	delc_fit_scales(model, base, input->grandbase_numbers, input->target_numbers);
	choose_scales(coder, model, input, base);
	if (needs_grandbase(model))
		model->flags |= DELTA_GRANDBASE;
}

static struct varlena *
as_value(const DeltaLayout *layout, const StringInfoData *side, const StringInfoData *segments)
{
	struct varlena *value = palloc(VARHDRSZ + layout->total_bytes);
	char	   *at = VARDATA(value);

	SET_VARSIZE(value, VARHDRSZ + layout->total_bytes);
	delc_delta_write(layout, at);
	at += layout->header_bytes;
	memcpy(at, side->data, side->len);
	memcpy(at + side->len, segments->data, segments->len);
	return value;
}

static struct varlena *
encode_aligned(const DeltaInput *input, int method, const char *base)
{
	DeltaLayout layout = {.header = input->header,.base = input->base,.method = method};
	DeltaModel	model = {.dtype = input->header.dtype};
	DeltaCoder	coder;
	StringInfoData side;
	StringInfoData segments;
	struct varlena *value;

	initStringInfo(&side);
	initStringInfo(&segments);
	model.rows = delc_delta_rows(&input->header);
	model.columns = input->header.elements / model.rows;
	delc_coder_open(&coder, &model, true, input->header.elements);
	if (input->header.elements > 0)
		fit_model(&model, &coder, input, method, base);
	else if (method == DELTA_SUB)
		model.contexts = 1;
	fill_layout(&layout, &model, input);
	delc_side_write(&side, &model);
	layout.side_length = side.len;
	if (method == DELTA_SUB)
		encode_sub(&coder, &layout, input, base, &segments);
	else
		encode_planes(&coder, &layout, input, base, &segments);
	delc_delta_place(&layout);
	value = as_value(&layout, &side, &segments);
	delc_coder_close(&coder);
	delc_model_free(&model);
	pfree(side.data);
	pfree(segments.data);
	return value;
}

/* The delta that leads from base to target, which have one dtype. */
struct varlena *
delc_delta_encode(const DeltaInput *input, int method)
{
	DeltaInput	aligned = *input;
	struct varlena *value;
	char	   *base;

	if (delc_same_frame(&input->base, &input->header))
		return encode_aligned(input, method, input->base_numbers);
	base = delc_aligned(CurrentMemoryContext, &input->base, input->base_numbers, &input->header);
	aligned.grandbase_numbers = NULL;
	value = encode_aligned(&aligned, method, base);
	pfree(base);
	return value;
}
