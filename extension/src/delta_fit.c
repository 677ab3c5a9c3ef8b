/*
 * delta_fit.c
 *	  The encoder's choice of predictors and scales.
 *
 * Everything here is measured in ordered integers, that is, in units of the base's last place, since a
 * difference costs about the logarithm of its magnitude there.  What is chosen is written
 * into the delta: floating point may differ between machines without harm.
 */
#include "delta.h"

#include <math.h>

#include "miscadmin.h"

/* Numbers that momentum and decay are fitted to. */
#define FIT_SAMPLE 32768

/* With fewer numbers, what a predictor saves does not pay for saying so. */
#define FIT_MIN_ELEMENTS 64

#define ABSOLUTE_ROUNDS 6
#define LOGARITHMIC_ROUNDS 8

#define MOMENTUM_ONE ((double) (1 << 20))
#define MOMENTUM_MOST ((double) (1 << 22))
#define DECAY_MOST ((double) (INT64CONST(1) << 38))

/* A decay of 1 of what delc_significands gives. */
static double
decay_one(int dtype)
{
	return ldexp(1, 40 - Max(delc_mantissa_bits(dtype) - 23, 0));
}

/* What a row's own momentum takes to be written. */
#define ROW_MOMENTUM_BITS 8

/*
 * About log2(|x| + 0.5), in parts of 2^8: the exponent of a float and its mantissa as if the logarithm
 * were linear between powers of two.
 */
static inline int32
logarithm(int64 x)
{
	float		magnitude = fabsf((float) x) + 0.5f;
	int32		bits;

	memcpy(&bits, &magnitude, 4);
	return (bits >> 15) - (127 << 8);
}

static int64
logarithms(const int64 *x, int n)
{
	int64		sum = 0;

	for (int i = 0; i < n; i++)
		sum += logarithm(x[i]);
	return sum;
}

/* ---- momentum and decay for the whole tensor ---- */

typedef struct Sample
{
	int			n;
	int64	   *step;			/* from base to target */
	int64	   *movement;		/* from grandbase to base */
	int64	   *significand;	/* of the base, at most 24 bits */
	int32	   *exponent;		/* of the base, in steps of a scale */
	int32		largest;		/* of them but for infinities */
} Sample;

/* How remainders are weighed: as numbers, by their absolute value, or by its logarithm. */
typedef enum Weighing
{
	BY_SQUARE,
	BY_ABSOLUTE,
	BY_LOGARITHM
} Weighing;

/* The square of the last place, next to that of numbers with the exponent one. */
static double
last_place_squared(int32 exponent, int32 one)
{
	return exp2(Min(exponent - one, 128) * 2.0 / DELTA_STEPS);
}

/* The largest exponent in the sample, and of infinities the one below. */
static int32
largest_exponent(int dtype, const Sample *sample)
{
	int			width = 8 * delc_dtype_size(dtype) - 1 - delc_mantissa_bits(dtype);
	int32		infinite = DELTA_STEPS * ((1 << Min(width, 12)) - 1);
	int32		largest = 0;

	for (int i = 0; i < sample->n; i++)
	{
		if (sample->exponent[i] < infinite)
			largest = Max(largest, sample->exponent[i]);
	}
	return largest;
}

static void
take_sample(const DeltaModel *model, const char *base, const char *grandbase,
			const char *target, Sample *sample)
{
	int64		elements = model->rows * model->columns;
	int			runs = (int) Min((elements + DELTA_RUN - 1) / DELTA_RUN, FIT_SAMPLE / DELTA_RUN);
	int64		stride = elements / runs;
	int			run = (int) Min(stride, DELTA_RUN);
	size_t		bytes = (size_t) runs * run * sizeof(int64);

	sample->n = runs * run;
	sample->step = palloc(bytes);
	sample->movement = palloc0(bytes);
	sample->significand = palloc(bytes);
	sample->exponent = palloc(sample->n * sizeof(int32));
	for (int i = 0; i < runs; i++)
	{
		size_t		first = (size_t) i * stride * delc_dtype_size(model->dtype);
		int64		ordered[DELTA_RUN];

		delc_ordered(model->dtype, base + first, run, ordered);
		delc_differences(model->dtype, ordered, target + first, run, sample->step + i * run);
		delc_significands(model->dtype, base + first, run, sample->significand + i * run);
		delc_steps(model->dtype, base + first, PG_UINT64_MAX, run, sample->exponent + i * run);
		if (grandbase != NULL)
			delc_movements(model->dtype, base + first, grandbase + first, run,
						   sample->movement + i * run);
	}
	sample->largest = largest_exponent(model->dtype, sample);
}

static double
remainder_of(const Sample *sample, int i, const double *by)
{
	return sample->step[i] - by[0] * sample->movement[i] - by[1] * sample->significand[i];
}

/* Magnitudes of a sample's remainders, by the exponents of the base. */
#define EXPONENTS 64
#define OCTAVES 64

static double
entropy(const uint32 *counts, uint32 total)
{
	double		sum = 0;

	for (int i = 0; i < OCTAVES; i++)
	{
		if (counts[i] > 0)
			sum += counts[i] * log2((double) total / counts[i]);
	}
	return sum;
}

/* Of a remainder's magnitude as an integer, 0 for 0, from 1 to 2 for 1: the exponent of the double that it is. */
static inline int
octave_of(double remainder)
{
	double		magnitude = fabs(remainder) + 0.5;
	uint64		bits;

	memcpy(&bits, &magnitude, 8);
	return magnitude < 1 ? 0 : Min((int) (bits >> 52) - 1022, OCTAVES - 1);
}

/* About the bits that the sample's remainders take, if their octaves are coded by exponent. */
static double
sample_cost(const Sample *sample, const double *by)
{
	uint32	  (*counts)[OCTAVES] = palloc0(EXPONENTS * sizeof(*counts));
	uint32		totals[EXPONENTS] = {0};
	double		sum = 0;

	for (int i = 0; i < sample->n; i++)
	{
		int			octave = octave_of(remainder_of(sample, i, by));
		int			exponent = sample->exponent[i] / DELTA_STEPS % EXPONENTS;

		counts[exponent][octave]++;
		totals[exponent]++;
		sum += Max(octave - 1, 0);
	}
	for (int exponent = 0; exponent < EXPONENTS; exponent++)
		sum += entropy(counts[exponent], totals[exponent]);
	pfree(counts);
	return sum;
}

static double
weight_of(const Sample *sample, int i, Weighing weighing, const double *by)
{
	double		r;

	if (weighing == BY_SQUARE)
		return last_place_squared(sample->exponent[i], sample->largest);
	r = fabs(remainder_of(sample, i, by));
	return weighing == BY_ABSOLUTE ? 1 / (1 + r) : 1 / (1 + r * r);
}

/*
 * One round of iteratively reweighted least squares: the weights make it a step to
 * the least sum of squares, of absolute remainders, or of logarithms of 1 + their squares.
 */
static void
reweighted_round(const Sample *sample, Weighing weighing, double *by)
{
	double		mm = 0;
	double		ms = 0;
	double		ss = 0;
	double		my = 0;
	double		sy = 0;
	double		determinant;

	for (int i = 0; i < sample->n; i++)
	{
		double		weight = weight_of(sample, i, weighing, by);
		double		m = sample->movement[i];
		double		s = sample->significand[i];

		mm += weight * m * m;
		ms += weight * m * s;
		ss += weight * s * s;
		my += weight * m * sample->step[i];
		sy += weight * s * sample->step[i];
	}
	determinant = mm * ss - ms * ms;
	if (determinant > 1e-9 * mm * ss)
	{
		by[0] = (my * ss - sy * ms) / determinant;
		by[1] = (sy * mm - my * ms) / determinant;
	}
	else
	{
		by[0] = mm > 0 ? my / mm : 0;
		by[1] = mm > 0 || ss <= 0 ? 0 : sy / ss;
	}
}

/*
 * Momentum and decay that make the sample's remainders cheap.  Squares and absolute values have one
 * minimum; from there logarithms find the exact values where part of the
 * tensor follows them to the last place.
 */
static void
fit_shared(DeltaModel *model, const Sample *sample)
{
	double		by[2] = {0, 0};
	double		best[2] = {0, 0};
	double		best_cost = sample_cost(sample, best);

	for (int round = 0; round < ABSOLUTE_ROUNDS + LOGARITHMIC_ROUNDS; round++)
	{
		double		cost;

		reweighted_round(sample, round == 0 ? BY_SQUARE :
						 round < ABSOLUTE_ROUNDS ? BY_ABSOLUTE : BY_LOGARITHM, by);
		if (!isfinite(by[0]) || !isfinite(by[1]))
			break;
		cost = sample_cost(sample, by);
		if (cost < best_cost)
		{
			best_cost = cost;
			memcpy(best, by, sizeof(by));
		}
	}
	model->momentum = (int32) rint(Min(Max(best[0] * MOMENTUM_ONE, -MOMENTUM_MOST), MOMENTUM_MOST));
	model->decay = (int64) rint(Min(Max(best[1] * decay_one(model->dtype), -DECAY_MOST), DECAY_MOST));
}

/* ---- the rows ---- */

/* Numbers of a row that are looked at to choose its predictor: so many runs of so many, or one run in so many. */
#define ROW_RUNS 8
#define ROW_RUN 32
#define ROW_STRIDE 512

/* Costs of a row are logarithms as above. */
typedef struct RowChoice
{
	uint8		predictor;		/* the best but for the table */
	int64		cost;
	int64		copy_cost;
	int64		table_cost;
} RowChoice;

typedef struct Fit
{
	DeltaModel *model;
	const char *base;
	const char *grandbase;
	const char *target;
	int32		largest;		/* exponent, as in a sample */
	RowChoice  *rows;
} Fit;

static const char *
number_at(const Fit *fit, const char *numbers, int64 first)
{
	return numbers == NULL ? NULL : numbers + first * delc_dtype_size(fit->model->dtype);
}

static int64
row_stride(int64 columns)
{
	return Max(Min(columns / ROW_RUNS, ROW_STRIDE), ROW_RUN);
}

/* By a sample of long rows, in runs that are spread over it. */
static int64
row_cost(const Fit *fit, int64 row, int predictor)
{
	int64		columns = fit->model->columns;
	int64		first = row * columns;
	int64		sum = 0;
	int64		stride = row_stride(columns);
	int64		seen = 0;

	for (int64 done = 0; done < columns; done += stride)
	{
		int64		numbers[ROW_RUN];
		int			run = (int) Min(ROW_RUN, columns - done);

		delc_predict_row(fit->model, predictor, number_at(fit, fit->base, first + done),
						 number_at(fit, fit->grandbase, first + done), run, numbers);
		delc_differences(fit->model->dtype, numbers, number_at(fit, fit->target, first + done),
						 run, numbers);
		sum += logarithms(numbers, run);
		seen += run;
	}
	return sum * columns / seen;
}

/* Sums of a row's own momentum: least squares, as numbers, behind the shared decay. */
static void
add_row_momentum(const Fit *fit, int64 first, int n, double *above, double *below)
{
	DeltaModel *model = fit->model;
	double		decay = model->decay / decay_one(model->dtype);
	int64		step[ROW_RUN];
	int64		movement[ROW_RUN];
	int64		significand[ROW_RUN];
	int32		exponent[ROW_RUN];
	const char *base = number_at(fit, fit->base, first);

	delc_ordered(model->dtype, base, n, step);
	delc_differences(model->dtype, step, number_at(fit, fit->target, first), n, step);
	delc_movements(model->dtype, base, number_at(fit, fit->grandbase, first), n, movement);
	delc_significands(model->dtype, base, n, significand);
	delc_steps(model->dtype, base, PG_UINT64_MAX, n, exponent);
	for (int i = 0; i < n; i++)
	{
		double		y = step[i] - decay * significand[i];
		double		m = movement[i];
		double		weight = last_place_squared(exponent[i], fit->largest);

		*above += weight * m * y;
		*below += weight * m * m;
	}
}

/* The predictor with the row's own momentum, or DELTA_SHARED when it has none. */
static int
row_momentum(const Fit *fit, int64 row)
{
	double		above = 0;
	double		below = 0;
	double		steps;
	int64		columns = fit->model->columns;

	if (fit->grandbase == NULL)
		return DELTA_SHARED;
	for (int64 done = 0; done < columns; done += row_stride(columns))
		add_row_momentum(fit, row * columns + done, (int) Min(ROW_RUN, columns - done), &above, &below);
	if (!(below > 0))
		return DELTA_SHARED;
	steps = above / below * MOMENTUM_ONE / DELTA_ROW_MOMENTUM_STEP + DELTA_ROW_MOMENTUM_ZERO;
	return (int) Min(Max(rint(steps), DELTA_ROW_MOMENTUM), 255);
}

static void
choose_for_row(const Fit *fit, int64 row)
{
	RowChoice  *choice = &fit->rows[row];
	int			own;
	int64		cost;

	choice->copy_cost = choice->cost = row_cost(fit, row, DELTA_COPY);
	choice->predictor = DELTA_COPY;
	if (fit->model->momentum == 0 && fit->model->decay == 0)
		return;
	cost = row_cost(fit, row, DELTA_SHARED);
	if (cost < choice->cost)
	{
		choice->cost = cost;
		choice->predictor = DELTA_SHARED;
	}
	own = row_momentum(fit, row);
	if (own == DELTA_SHARED)
		return;
	cost = row_cost(fit, row, own) + (ROW_MOMENTUM_BITS << 8);
	if (cost < choice->cost)
	{
		choice->cost = cost;
		choice->predictor = (uint8) own;
	}
}

/* ---- the table ---- */

/* So many numbers say enough of each entry. */
#define VOTING_SAMPLE (1 << 20)

typedef struct Vote
{
	int64		step;
	int64		lead;			/* votes for it, less those against */
} Vote;

/* A majority vote in one pass (Boyer and Moore 1981) for each entry. */
static void
vote(const Fit *fit, int64 first, int n, Vote *votes)
{
	int			dtype = fit->model->dtype;
	int			bits = delc_table_bits(dtype);
	/* significands of wide floats come without their low bits */
	int			shift = Min(delc_mantissa_bits(dtype), 23) - bits;
	int			mask = (1 << bits) - 1;
	int64		step[DELTA_RUN];
	int64		significand[DELTA_RUN];
	int64		ordered[DELTA_RUN];

	delc_ordered(dtype, number_at(fit, fit->base, first), n, ordered);
	delc_differences(dtype, ordered, number_at(fit, fit->target, first), n, step);
	delc_significands(dtype, number_at(fit, fit->base, first), n, significand);
	for (int i = 0; i < n; i++)
	{
		bool		negative = significand[i] < 0;
		uint64		magnitude = negative ? -(uint64) significand[i] : (uint64) significand[i];
		Vote	   *entry;
		int64		outwards = negative ? -step[i] : step[i];

		entry = &votes[(magnitude >> shift) & mask];
		if (entry->lead == 0)
			entry->step = outwards;
		entry->lead += entry->step == outwards ? 1 : -1;
	}
}

static int
compare_costs(const void *a, const void *b)
{
	int64		x = *(const int64 *) a;
	int64		y = *(const int64 *) b;

	return x < y ? -1 : x > y;
}

/* Rows that change less than this half of all do are likelier to follow a rule. */
static int64
median_copy_cost(const Fit *fit)
{
	int64		rows = fit->model->rows;
	int64	   *costs = palloc(rows * sizeof(int64));
	int64		median;

	for (int64 row = 0; row < rows; row++)
		costs[row] = fit->rows[row].copy_cost;
	qsort(costs, rows, sizeof(int64), compare_costs);
	median = costs[rows / 2];
	pfree(costs);
	return median;
}

static void
make_table(const Fit *fit)
{
	DeltaModel *model = fit->model;
	int			entries = 1 << delc_table_bits(model->dtype);
	Vote	   *votes = palloc0(entries * sizeof(Vote));
	int64		most = median_copy_cost(fit);
	int64		every = Max(model->rows * model->columns / VOTING_SAMPLE, 1);
	int64		last = 0;

	for (int64 row = 0; row < model->rows; row += every)
	{
		if (fit->rows[row].copy_cost > most)
			continue;
		for (int64 done = 0; done < model->columns; done += DELTA_RUN)
			vote(fit, row * model->columns + done,
				 (int) Min(DELTA_RUN, model->columns - done), votes);
	}
	model->table = palloc(entries * sizeof(int32));
	for (int i = 0; i < entries; i++)
	{
		if (votes[i].lead > 0 && votes[i].step >= PG_INT32_MIN / 2 && votes[i].step <= PG_INT32_MAX / 2)
			last = votes[i].step;
		model->table[i] = (int32) last;
	}
	pfree(votes);
}

/* Bits that the table takes. */
static int64
table_bits(const DeltaModel *model)
{
	DeltaModel	alone = {.dtype = model->dtype,.flags = DELTA_TABLE,.table = model->table};
	StringInfoData out;
	int64		bits;

	initStringInfo(&out);
	delc_side_write(&out, &alone);
	bits = (int64) out.len * 8;
	pfree(out.data);
	return bits;
}

/* Make a table, and keep it if it saves more than it takes. */
static void
try_table(const Fit *fit)
{
	DeltaModel *model = fit->model;
	int64		saved = 0;

	if (delc_table_bits(model->dtype) == 0)
		return;
	make_table(fit);
	for (int64 row = 0; row < model->rows; row++)
	{
		fit->rows[row].table_cost = row_cost(fit, row, DELTA_BY_TABLE);
		saved += Max(fit->rows[row].cost - fit->rows[row].table_cost, 0);
	}
	if (saved / 256 > table_bits(model) + FIT_MIN_ELEMENTS)
	{
		model->flags |= DELTA_TABLE;
		return;
	}
	pfree(model->table);
	model->table = NULL;
}

static void
keep_choices(const Fit *fit)
{
	DeltaModel *model = fit->model;
	bool		table = (model->flags & DELTA_TABLE) != 0;
	bool		any = false;

	model->predictor = palloc(model->rows);
	for (int64 row = 0; row < model->rows; row++)
	{
		const RowChoice *choice = &fit->rows[row];

		model->predictor[row] = table && choice->table_cost < choice->cost ? DELTA_BY_TABLE :
			choice->predictor;
		any = any || model->predictor[row] != DELTA_COPY;
	}
	if (any)
		model->flags |= DELTA_PREDICTORS;
	else
	{
		pfree(model->predictor);
		model->predictor = NULL;
	}
}

/* Set momentum, decay, table and predictors; grandbase may be NULL. */
void
delc_fit(DeltaModel *model, const char *base, const char *grandbase, const char *target)
{
	Fit			fit = {.model = model,.base = base,.grandbase = grandbase,.target = target};
	Sample		sample;

	if (model->rows * model->columns < FIT_MIN_ELEMENTS)
		return;
	take_sample(model, base, grandbase, target, &sample);
	fit_shared(model, &sample);
	fit.largest = sample.largest;
	pfree(sample.step);
	pfree(sample.movement);
	pfree(sample.significand);
	pfree(sample.exponent);
	fit.rows = palloc0(model->rows * sizeof(RowChoice));
	for (int64 row = 0; row < model->rows; row++)
	{
		CHECK_FOR_INTERRUPTS();
		choose_for_row(&fit, row);
	}
	try_table(&fit);
	keep_choices(&fit);
	pfree(fit.rows);
}

/* ---- scales ---- */

/* Fewer rows or columns than this do not pay for scales. */
#define SCALES_MIN 16

typedef struct Scales
{
	double	   *row;			/* sums of logarithms, in steps */
	double	   *column;
} Scales;

/* Logarithms of the differences of a run, in steps, free of the base's exponent. */
static void
scaled_logarithms(const DeltaModel *model, const char *base, const char *grandbase,
				  const char *target, int64 start, int n, int32 *found)
{
	int64		numbers[DELTA_RUN];

	delc_predict_numbers(model, base, grandbase, start, n, numbers);
	delc_differences(model->dtype, numbers, target, n, numbers);
	delc_steps(model->dtype, base, PG_UINT64_MAX, n, found);
	for (int i = 0; i < n; i++)
		found[i] += logarithm(numbers[i]) * DELTA_STEPS / 256;
}

/* Sums by row and, where they are wanted, by column. */
static void
sum_up(const DeltaModel *model, const char *base, const char *grandbase, const char *target,
	   Scales *scales)
{
	int			item_size = delc_dtype_size(model->dtype);

	for (int64 row = 0; row < model->rows; row++)
	{
		int64		sum = 0;

		CHECK_FOR_INTERRUPTS();
		for (int64 done = 0; done < model->columns; done += DELTA_RUN)
		{
			int64		start = row * model->columns + done;
			size_t		at = (size_t) start * item_size;
			int			run = (int) Min(DELTA_RUN, model->columns - done);
			int32		found[DELTA_RUN];

			scaled_logarithms(model, base + at, grandbase == NULL ? NULL : grandbase + at,
							  target + at, start, run, found);
			for (int i = 0; i < run; i++)
				sum += found[i];
			for (int i = 0; scales->column != NULL && i < run; i++)
				scales->column[done + i] += found[i];
		}
		scales->row[row] = (double) sum / model->columns;
	}
}

static int8 *
rounded_scales(const double *scales, int64 n, double divisor, double mean)
{
	int8	   *rounded = palloc(n);

	for (int64 i = 0; i < n; i++)
		rounded[i] = (int8) Min(Max(rint(scales[i] / divisor - mean), -127), 127);
	return rounded;
}

/* Set mean and scales from the differences that the predictors leave. */
void
delc_fit_scales(DeltaModel *model, const char *base, const char *grandbase, const char *target)
{
	bool		matrix = model->rows >= SCALES_MIN && model->columns >= SCALES_MIN;
	Scales		scales = {palloc0(model->rows * sizeof(double)),
		matrix ? palloc0(model->columns * sizeof(double)) : NULL};
	double		mean = 0;

	sum_up(model, base, grandbase, target, &scales);
	for (int64 row = 0; row < model->rows; row++)
		mean += scales.row[row] / model->rows;
	model->mean = (int32) rint(mean);
	if (matrix)
	{
		model->row_scale = rounded_scales(scales.row, model->rows, 1, mean);
		/* free of the rows' means, whose mean it is */
		model->column_scale = rounded_scales(scales.column, model->columns, (double) model->rows, mean);
		model->flags |= DELTA_ROW_SCALES | DELTA_COLUMN_SCALES;
		pfree(scales.column);
	}
	pfree(scales.row);
}
