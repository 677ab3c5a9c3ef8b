/*
 * delta_predict.c
 *	  Numbers as ordered integers, and what the next value of each is expected to be.
 *
 * Ordered means that the integers are in the order of the numbers, neighbours one apart:
 * two's complement as it is; floats, which are sign and magnitude, with the
 * magnitude's bits turned over below zero (so that -0 is -1, and each bit pattern has an integer
 * of its own).  Sums and differences wrap around at the dtype's width, so
 * that every pattern leads to every other.
 *
 * All arithmetic is of integers: encoder and decoder agree on every machine, whatever the
 * rounding mode and whether it flushes denormals.  Momentum and decay are computed in units of
 * the base's last place: exact where base and grandbase are near, and a mere
 * guess elsewhere, which costs size and nothing else.
 */
#include "delta.h"

/*
 * Functions on a run of numbers are written once, with the dtype as an argument, and compiled
 * for each.
 */
#define INLINE static inline __attribute__((always_inline))

/* Per dtype: name of its functions. */
#define EACH_DTYPE(DO) \
	DO(DELC_FLOAT64, float64) DO(DELC_FLOAT32, float32) DO(DELC_FLOAT16, float16) \
	DO(DELC_BFLOAT16, bfloat16) DO(DELC_INT64, int64) DO(DELC_INT32, int32) \
	DO(DELC_INT16, int16) DO(DELC_INT8, int8) DO(DELC_UINT8, uint8)

INLINE int
mantissa_bits(int dtype)
{
	switch (dtype)
	{
		case DELC_FLOAT64:
			return 52;
		case DELC_FLOAT32:
			return 23;
		case DELC_FLOAT16:
			return 10;
		case DELC_BFLOAT16:
			return 7;
		default:
			return 0;
	}
}

INLINE bool
is_float(int dtype)
{
	return dtype <= DELC_BFLOAT16;
}

INLINE int
item_bits(int dtype)
{
	switch (dtype)
	{
		case DELC_FLOAT64:
		case DELC_INT64:
			return 64;
		case DELC_FLOAT32:
		case DELC_INT32:
			return 32;
		case DELC_FLOAT16:
		case DELC_BFLOAT16:
		case DELC_INT16:
			return 16;
		default:
			return 8;
	}
}

/* Number i, its sign extended; uint8 and bool have none. */
INLINE int64
load(int dtype, const char *dense, int i)
{
	int16		two;
	int32		four;
	int64		eight;

	switch (item_bits(dtype))
	{
		case 64:
			memcpy(&eight, dense + 8 * (size_t) i, 8);
			return eight;
		case 32:
			memcpy(&four, dense + 4 * (size_t) i, 4);
			return four;
		case 16:
			memcpy(&two, dense + 2 * (size_t) i, 2);
			return two;
		default:
			return dtype == DELC_INT8 ? (int64) ((const int8 *) dense)[i] :
				(int64) ((const uint8 *) dense)[i];
	}
}

INLINE void
store(int dtype, char *dense, int i, int64 number)
{
	int16		two = (int16) number;
	int32		four = (int32) number;

	switch (item_bits(dtype))
	{
		case 64:
			memcpy(dense + 8 * (size_t) i, &number, 8);
			break;
		case 32:
			memcpy(dense + 4 * (size_t) i, &four, 4);
			break;
		case 16:
			memcpy(dense + 2 * (size_t) i, &two, 2);
			break;
		default:
			dense[i] = (char) number;
	}
}

/* Bits to an ordered integer; its own inverse. */
INLINE int64
turned(int dtype, int64 bits)
{
	int64		magnitude = (int64) ((UINT64CONST(1) << (item_bits(dtype) - 1)) - 1);

	return is_float(dtype) ? bits ^ ((bits >> 63) & magnitude) : bits;
}

/* Within the dtype's width, its sign extended. */
INLINE int64
wrapped(int dtype, uint64 number)
{
	switch (item_bits(dtype))
	{
		case 64:
			return (int64) number;
		case 32:
			return (int32) number;
		case 16:
			return (int16) number;
		default:
			return (int8) number;
	}
}

/* The exponent as an integer; that of zero is the denormals'. 0 for integers. */
INLINE int
exponent(int dtype, int64 bits)
{
	int			mantissa = mantissa_bits(dtype);
	int			found;

	if (!is_float(dtype))
		return 0;
	found = (int) (bits >> mantissa) & ((1 << (item_bits(dtype) - 1 - mantissa)) - 1);
	return found == 0 ? 1 : found;
}

/* In units of the last place, with sign. */
INLINE int64
last_places(int dtype, int64 bits)
{
	int			mantissa = mantissa_bits(dtype);
	int64		fraction;
	int64		negative = bits >> 63;

	if (!is_float(dtype))
		return bits;
	fraction = bits & (int64) ((UINT64CONST(1) << mantissa) - 1);
	/* not a denormal: the bit that is not stored */
	fraction |= (int64) (((bits >> mantissa) & ((1 << (item_bits(dtype) - 1 - mantissa)) - 1)) != 0) << mantissa;
	return (fraction ^ negative) - negative;
}

int
delc_mantissa_bits(int dtype)
{
	return mantissa_bits(dtype);
}

int
delc_table_bits(int dtype)
{
	return Min(mantissa_bits(dtype), DELTA_TABLE_BITS);
}

/* ---- predictors, as a step from the base in ordered integers ---- */

#define MOMENTUM_LIMIT (INT64CONST(1) << 40)
#define MOMENTUM_BITS 20
#define DECAY_BITS 40

/* base - grandbase in units of the base's last place; 0 where that is beyond reason. */
INLINE int64
movement(int dtype, int64 base, int64 grandbase)
{
	int			furthest = dtype == DELC_FLOAT64 ? 8 : 16;
	int			shift = exponent(dtype, grandbase) - exponent(dtype, base);
	int64		before = last_places(dtype, grandbase);
	int64		moved;

	before = shift >= 0 ? before * (INT64CONST(1) << Min(shift, furthest)) : before >> Min(-shift, 63);
	moved = (int64) ((uint64) last_places(dtype, base) - (uint64) before);
	return shift > furthest || moved > MOMENTUM_LIMIT || moved < -MOMENTUM_LIMIT ? 0 : moved;
}

INLINE int64
momentum_step(int dtype, int64 base, int64 grandbase, int64 momentum)
{
	return (momentum * movement(dtype, base, grandbase) + (1 << (MOMENTUM_BITS - 1))) >> MOMENTUM_BITS;
}

/* At most 24 bits of the significand are enough for a decay, and leave room for the factor. */
#define DROPPED_BITS(dtype) Max(mantissa_bits(dtype) - 23, 0)

INLINE int64
decay_unit(int dtype, int64 base)
{
	return last_places(dtype, base) >> DROPPED_BITS(dtype);
}

INLINE int64
decay_step(int dtype, int64 base, int64 decay)
{
	int			shift = DECAY_BITS - DROPPED_BITS(dtype);

	if (!is_float(dtype))
		return 0;
	return (decay * decay_unit(dtype, base) + (INT64CONST(1) << (shift - 1))) >> shift;
}

INLINE int64
table_step(int dtype, int64 base, const int32 *table)
{
	int			mantissa = mantissa_bits(dtype);
	int			bits = Min(mantissa, DELTA_TABLE_BITS);
	int64		step;

	if (!is_float(dtype))
		return 0;
	step = table[(base >> (mantissa - bits)) & ((1 << bits) - 1)];
	return base < 0 ? -step : step;
}

INLINE void
predict(int dtype, const DeltaModel *model, int predictor, const char *base,
		const char *grandbase, int n, int64 *predicted)
{
	int64		momentum = predictor == DELTA_SHARED ? model->momentum :
		(int64) (predictor - DELTA_ROW_MOMENTUM_ZERO) * DELTA_ROW_MOMENTUM_STEP;
	int64		decay = model->decay;

	if (predictor == DELTA_COPY)
	{
		for (int i = 0; i < n; i++)
			predicted[i] = turned(dtype, load(dtype, base, i));
	}
	else if (predictor == DELTA_BY_TABLE)
	{
		for (int i = 0; i < n; i++)
		{
			int64		number = load(dtype, base, i);

			predicted[i] = turned(dtype, number) + table_step(dtype, number, model->table);
		}
	}
	else if (grandbase == NULL)
	{
		for (int i = 0; i < n; i++)
		{
			int64		number = load(dtype, base, i);

			predicted[i] = turned(dtype, number) + decay_step(dtype, number, decay);
		}
	}
	else
	{
		for (int i = 0; i < n; i++)
		{
			int64		number = load(dtype, base, i);

			predicted[i] = turned(dtype, number) + decay_step(dtype, number, decay) +
				momentum_step(dtype, number, load(dtype, grandbase, i), momentum);
		}
	}
}

/* The exponent in steps of a scale, of the bits in mask alone. */
INLINE void
exponent_steps(int dtype, const char *dense, uint64 mask, int n, int32 *steps)
{
	for (int i = 0; i < n; i++)
		steps[i] = DELTA_STEPS * exponent(dtype, load(dtype, dense, i) & (int64) mask);
}

#define DEFINE_FUNCTIONS(dtype, name) \
DELTA_LOOP static void \
predict_##name(const DeltaModel *model, int predictor, const char *base, const char *grandbase, \
			   int n, int64 *predicted) \
{ \
	predict(dtype, model, predictor, base, grandbase, n, predicted); \
} \
DELTA_LOOP static void \
ordered_##name(const char *dense, int n, int64 *ordered) \
{ \
	for (int i = 0; i < n; i++) \
		ordered[i] = turned(dtype, load(dtype, dense, i)); \
} \
DELTA_LOOP static void \
differences_##name(const int64 *from, const char *target, int n, int64 *differences) \
{ \
	for (int i = 0; i < n; i++) \
		differences[i] = wrapped(dtype, (uint64) turned(dtype, load(dtype, target, i)) - (uint64) from[i]); \
} \
DELTA_LOOP static void \
add_##name(const int64 *from, const int64 *differences, int n, char *dense) \
{ \
	for (int i = 0; i < n; i++) \
		store(dtype, dense, i, \
			  turned(dtype, wrapped(dtype, (uint64) from[i] + (uint64) differences[i]))); \
} \
DELTA_LOOP static void \
steps_##name(const char *dense, uint64 mask, int n, int32 *steps) \
{ \
	exponent_steps(dtype, dense, mask, n, steps); \
}

#define DEFINE_FIT_FUNCTIONS(dtype, name) \
static void \
movements_##name(const char *base, const char *grandbase, int n, int64 *movements) \
{ \
	for (int i = 0; i < n; i++) \
		movements[i] = movement(dtype, load(dtype, base, i), load(dtype, grandbase, i)); \
} \
static void \
significands_##name(const char *base, int n, int64 *significands) \
{ \
	for (int i = 0; i < n; i++) \
		significands[i] = is_float(dtype) ? decay_unit(dtype, load(dtype, base, i)) : 0; \
}

EACH_DTYPE(DEFINE_FUNCTIONS)
EACH_DTYPE(DEFINE_FIT_FUNCTIONS)

#define CASE_PREDICT(dtype, name) \
	case dtype: predict_##name(model, predictor, base, grandbase, n, predicted); break;
#define CASE_ORDERED(dtype, name) case dtype: ordered_##name(dense, n, ordered); break;
#define CASE_DIFFERENCES(dtype, name) \
	case dtype: differences_##name(from, target, n, differences); break;
#define CASE_ADD(dtype, name) case dtype: add_##name(from, differences, n, dense); break;
#define CASE_MOVEMENTS(dtype, name) case dtype: movements_##name(base, grandbase, n, movements); break;
#define CASE_SIGNIFICANDS(dtype, name) case dtype: significands_##name(base, n, significands); break;
#define CASE_STEPS(dtype, name) case dtype: steps_##name(dense, mask, n, steps); break;

/* A bool is a byte like uint8. */
static int
run_dtype(int dtype)
{
	return dtype == DELC_BOOL ? DELC_UINT8 : dtype;
}

/* Part of one row, with a given predictor. */
void
delc_predict_row(const DeltaModel *model, int predictor, const char *base,
				 const char *grandbase, int n, int64 *predicted)
{
	switch (run_dtype(model->dtype))
	{
			EACH_DTYPE(CASE_PREDICT)
	}
}

/*
 * What numbers start, start + 1, ... are expected to be, as ordered integers
 * that need not be within the dtype's width.  base and grandbase begin with number start.
 */
void
delc_predict_numbers(const DeltaModel *model, const char *base, const char *grandbase,
			 int64 start, int n, int64 *predicted)
{
	int			item_size = delc_dtype_size(model->dtype);
	int			done = 0;

	if (model->predictor == NULL)
	{
		delc_predict_row(model, DELTA_COPY, base, NULL, n, predicted);
		return;
	}
	while (done < n)
	{
		int64		row = (start + done) / model->columns;
		int			run = (int) Min(n - done, (row + 1) * model->columns - start - done);

		delc_predict_row(model, model->predictor[row], base + (size_t) done * item_size,
						 grandbase == NULL ? NULL : grandbase + (size_t) done * item_size, run,
						 predicted + done);
		done += run;
	}
}

/* Numbers as ordered integers. */
void
delc_ordered(int dtype, const char *dense, int n, int64 *ordered)
{
	switch (run_dtype(dtype))
	{
			EACH_DTYPE(CASE_ORDERED)
	}
}

/* What leads from ordered integers to the target, within the dtype's width. */
void
delc_differences(int dtype, const int64 *from, const char *target, int n,
				 int64 *differences)
{
	switch (run_dtype(dtype))
	{
			EACH_DTYPE(CASE_DIFFERENCES)
	}
}

/* The inverse. */
void
delc_add_differences(int dtype, const int64 *from, const int64 *differences, int n,
					 char *dense)
{
	switch (run_dtype(dtype))
	{
			EACH_DTYPE(CASE_ADD)
	}
}

void
delc_steps(int dtype, const char *dense, uint64 mask, int n, int32 *steps)
{
	switch (run_dtype(dtype))
	{
			EACH_DTYPE(CASE_STEPS)
	}
}

/* base - grandbase in units of the base's last place, as predictors see it. */
void
delc_movements(int dtype, const char *base, const char *grandbase, int n, int64 *movements)
{
	switch (run_dtype(dtype))
	{
			EACH_DTYPE(CASE_MOVEMENTS)
	}
}

/* What the decay is a part of: 24 bits of the significand, with sign; 0 for integers. */
void
delc_significands(int dtype, const char *base, int n, int64 *significands)
{
	switch (run_dtype(dtype))
	{
			EACH_DTYPE(CASE_SIGNIFICANDS)
	}
}
