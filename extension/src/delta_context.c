/*
 * delta_context.c
 *	  Contexts of the entropy coder: how large a difference is expected to be.
 *
 * The expected logarithm of a difference in units of the last place is the sum of the tensor's mean,
 * the row's scale and the column's, less the base's exponent: what training
 * adds to a number depends on where it stands, not on how large it is, and the same change
 * is more last places of a smaller number.
 */
#include "delta.h"

DELTA_LOOP static void
subtract_from(int32 *restrict steps, int32 row, int n)
{
	for (int i = 0; i < n; i++)
		steps[i] = row - steps[i];
}

DELTA_LOOP static void
subtract_from_columns(int32 *restrict steps, int32 row, const int8 *restrict columns, int n)
{
	for (int i = 0; i < n; i++)
		steps[i] = row + columns[i] - steps[i];
}

/*
 * Expected logarithms for numbers start, start + 1, ..., of which only the bits
 * in mask are known; in steps, which can be negative.  base begins with number start.
 */
void
delc_expected_steps(const DeltaModel *model, const char *base, uint64 mask,
					int64 start, int n, int32 *expected)
{
	int			done = 0;

	delc_steps(model->dtype, base, mask, n, expected);
	while (done < n)
	{
		int64		row = (start + done) / model->columns;
		int64		column = (start + done) % model->columns;
		int			run = (int) Min(n - done, model->columns - column);
		int32		scale = model->mean + (model->row_scale == NULL ? 0 : model->row_scale[row]);

		if (model->column_scale == NULL)
			subtract_from(expected + done, scale, run);
		else
			subtract_from_columns(expected + done, scale, model->column_scale + column, run);
		done += run;
	}
}

DELTA_LOOP static void
limit_to_contexts(const int32 *restrict expected, int shift, int contexts, int n,
				  uint8 *restrict found)
{
	for (int i = 0; i < n; i++)
	{
		int32		context = expected[i] >> shift;

		context = context < 0 ? 0 : context;
		found[i] = (uint8) (context >= contexts ? contexts - 1 : context);
	}
}

/* The contexts of method sub; the model's mean is such that the first one begins at 0. */
void
delc_sub_contexts(const DeltaModel *model, const char *base, int64 start, int n,
				  uint8 *contexts)
{
	int			item_size = delc_dtype_size(model->dtype);

	for (int done = 0; done < n; done += DELTA_RUN)
	{
		int32		expected[DELTA_RUN];
		int			run = Min(DELTA_RUN, n - done);

		delc_expected_steps(model, base + (size_t) done * item_size, PG_UINT64_MAX,
							start + done, run, expected);
		limit_to_contexts(expected, model->context_steps, model->contexts, run,
						  contexts + done);
	}
}

/*
 * ---- planes ----
 *
 * What the planes above have in common with the base decides what to expect of the next one.
 * Where they are the same, or one more or one less by a carry, the next byte
 * is near the base's, at a distance that the expected logarithm tells.
 */

#define STATE_SAME 0
#define STATE_MORE 1			/* by one, as integers */
#define STATE_LESS 2
#define STATE_OTHER 3

/* The bits from shift on, next to the base's; there are such bits. */
#define DEFINE_STATES(type, name) \
DELTA_LOOP static void \
states_##name(const char *restrict base, const char *restrict result, int shift, int n, \
			  uint8 *restrict states) \
{ \
	for (int i = 0; i < n; i++) \
	{ \
		type		from; \
		type		to; \
		type		difference; \
		memcpy(&from, base + (size_t) i * sizeof(type), sizeof(type)); \
		memcpy(&to, result + (size_t) i * sizeof(type), sizeof(type)); \
		difference = (type) ((type) (to >> shift) - (type) (from >> shift)); \
		states[i] = difference == 0 ? STATE_SAME : difference == 1 ? STATE_MORE : \
			difference == (type) -1 ? STATE_LESS : STATE_OTHER; \
	} \
}

DEFINE_STATES(uint16, two)
DEFINE_STATES(uint32, four)
DEFINE_STATES(uint64, eight)

/* What the planes above one have in common with the base's. */
static void
find_states(int method, const char *base, const char *result, int item_size, int plane, int n,
			uint8 *states)
{
	int			shift = 8 * (item_size - plane);

	if (plane == 0)
		memset(states, STATE_SAME, n);
	else if (item_size == 2)
		states_two(base, result, shift, n, states);
	else if (item_size == 4)
		states_four(base, result, shift, n, states);
	else
		states_eight(base, result, shift, n, states);
	for (int i = 0; method == DELTA_XOR && i < n; i++)
		states[i] = states[i] == STATE_SAME ? STATE_SAME : STATE_OTHER;
}

/* Expected logarithms that are below the plane, in it, or above: sixteen levels, an octave each. */
DELTA_LOOP static void
join_levels(const int32 *restrict expected, int lowest, int n, uint8 *restrict contexts)
{
	for (int i = 0; i < n; i++)
	{
		int32		level = (expected[i] - lowest) / DELTA_STEPS;

		level = level < 0 ? 0 : level;
		level = level >= DELTA_PLANE_LEVELS ? DELTA_PLANE_LEVELS - 1 : level;
		contexts[i] = (uint8) (contexts[i] * DELTA_PLANE_LEVELS + level);
	}
}

/*
 * The contexts of a plane, of whose base and result the planes above are read, and of the base
 * the plane itself.
 */
void
delc_plane_contexts(const DeltaModel *model, int method, const char *base,
					const char *result, int plane, int64 start, int n, uint8 *contexts)
{
	int			item_size = delc_dtype_size(model->dtype);
	int			below = 8 * (item_size - 1 - plane);
	uint64		mask = ~((UINT64CONST(1) << below) - 1);

	for (int done = 0; done < n; done += DELTA_RUN)
	{
		int32		expected[DELTA_RUN];
		int			run = Min(DELTA_RUN, n - done);
		const char *from = base + (size_t) done * item_size;

		find_states(method, from, result + (size_t) done * item_size, item_size, plane, run,
					contexts + done);
		delc_expected_steps(model, from, mask, start + done, run, expected);
		join_levels(expected, DELTA_STEPS * (below - DELTA_PLANE_LEVELS / 2), run,
					contexts + done);
	}
}
