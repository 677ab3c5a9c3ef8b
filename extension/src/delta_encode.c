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

/* Numbers that contexts are chosen by, in runs from all over the tensor. */
#define CONTEXT_SAMPLE 524288

/* Contexts are at most eight of these wide, or there is one. */
#define WIDEST 3
#define FINE_CONTEXTS (RANS_MAX_CONTEXTS << WIDEST)

typedef struct ContextSample
{
	int			n;
	double		weight;			/* how many numbers each stands for */
	uint8	   *symbols;
	int32	   *expected;		/* steps, with the scales */
	int32	   *plain;			/* without them */
} ContextSample;

static void
take_context_sample(const DeltaCoder *coder, const DeltaModel *plain, const DeltaInput *input,
					const char *base, ContextSample *sample)
{
	int64		elements = input->header.elements;
	int64		runs = (elements + DELTA_RUN - 1) / DELTA_RUN;
	int64		every = (runs + CONTEXT_SAMPLE / DELTA_RUN - 1) / (CONTEXT_SAMPLE / DELTA_RUN);
	size_t		room = (size_t) (runs / every + 1) * DELTA_RUN;

	sample->n = 0;
	sample->symbols = palloc(room);
	sample->expected = palloc(room * sizeof(int32));
	sample->plain = palloc(room * sizeof(int32));
	for (int64 run = 0; run < runs; run += every)
	{
		int64		start = run * DELTA_RUN;
		size_t		at = start * input->header.item_size;
		int			n = (int) Min(DELTA_RUN, elements - start);
		uint64		raw[DELTA_RUN];

		CHECK_FOR_INTERRUPTS();
		delc_sub_symbols(coder, base + at,
						 input->grandbase_numbers == NULL ? NULL : input->grandbase_numbers + at,
						 input->target_numbers + at, start, n, sample->symbols + sample->n, raw);
		delc_expected_steps(coder->model, base + at, PG_UINT64_MAX, start, n,
							sample->expected + sample->n);
		delc_expected_steps(plain, base + at, PG_UINT64_MAX, start, n, sample->plain + sample->n);
		sample->n += n;
	}
	sample->weight = (double) elements / sample->n;
}

static void
free_context_sample(ContextSample *sample)
{
	pfree(sample->symbols);
	pfree(sample->expected);
	pfree(sample->plain);
}

/* The least and the most of expected logarithms but for outliers. */
static void
expected_range(const int32 *expected, int n, int *least, int *most)
{
	uint32	   *counts = palloc0(2 * REACH * sizeof(uint32));
	int64		outliers = (int64) n * OUTLIERS / 10000;
	int64		sum = 0;

	for (int i = 0; i < n; i++)
		counts[Min(Max(expected[i], -REACH), REACH - 1) + REACH]++;
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

/* Bits of the symbols that fine contexts, 2^steps of them as one, count. */
static double
cost_of_width(uint32 (*fine)[256], int fine_contexts, int steps, int contexts, double weight)
{
	double		sum = 0;

	for (int context = 0; context < contexts; context++)
	{
		uint32		counts[256] = {0};
		int			end = context == contexts - 1 ? fine_contexts :
			Min((context + 1) << steps, fine_contexts);

		for (int from = context << steps; from < end; from++)
		{
			for (int symbol = 0; symbol < 256; symbol++)
				counts[symbol] += fine[from][symbol];
		}
		sum += delc_rans_context_cost(counts, weight);
	}
	return sum;
}

/*
 * Set the number of contexts and their width to what makes the symbols smallest: fine contexts tell more, and
 * each has frequencies to be written.  Returns about the bytes of all symbols.
 */
static size_t
choose_contexts(DeltaModel *model, const ContextSample *sample, const int32 *expected)
{
	uint32	  (*fine)[256];
	int			fine_contexts;
	int			least;
	int			most;
	double		best = 0;

	expected_range(expected, sample->n, &least, &most);
	model->mean -= least;
	fine_contexts = Min(most - least + 1, FINE_CONTEXTS);
	fine = palloc0(fine_contexts * sizeof(*fine));
	for (int i = 0; i < sample->n; i++)
		fine[Min(Max(expected[i] - least, 0), fine_contexts - 1)][sample->symbols[i]]++;
	for (int steps = 0; steps <= WIDEST + 1; steps++)
	{
		int			contexts = steps > WIDEST ? 1 :
			Min(((most - least) >> steps) + 1, RANS_MAX_CONTEXTS);
		double		cost = cost_of_width(fine, fine_contexts, steps, contexts, sample->weight);

		if (steps > 0 && cost >= best)
			continue;
		best = cost;
		model->context_steps = steps;
		model->contexts = contexts;
	}
	pfree(fine);
	return (size_t) (best / 8);
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
choose_scales(const DeltaCoder *coder, DeltaModel *model, const DeltaInput *input, const char *base)
{
	DeltaModel	plain = *model;
	ContextSample sample;
	size_t		with_scales;

	plain.flags &= ~(DELTA_ROW_SCALES | DELTA_COLUMN_SCALES);
	plain.row_scale = NULL;
	plain.column_scale = NULL;
	take_context_sample(coder, &plain, input, base, &sample);
	with_scales = choose_contexts(model, &sample, sample.expected) + side_bytes(model);
	if (model->row_scale != NULL &&
		choose_contexts(&plain, &sample, sample.plain) + side_bytes(&plain) < with_scales)
	{
		pfree(model->row_scale);
		pfree(model->column_scale);
		*model = plain;
	}
	free_context_sample(&sample);
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
