/*
 * delta_sparse.c
 *	  Planes of a delta of which few numbers differ: where they are, and by how much.
 *
 * The leading planes of what training has changed a little are mostly the base's.  Symbols would cost
 * as much time for each number that stays as for one that changes; here, only those that change take any.
 *
 *	bytes 0-3	how many gaps
 *	then		the gaps, each one byte: so many numbers stay, and then one differs; or SPARSE_GAP
 *				stay, and more may
 *	then		the differences
 *
 * Gaps and differences are pieces of bytes (delta_side.c).
 */
#include "delta.h"

#define SPARSE_GAP 255

/* From one number in so many on, symbols are as quick. */
#define SPARSE_SHARE 8

/* ---- write ---- */

static int
count_differences(const uint8 *differences, int n)
{
	int			count = 0;

	for (int i = 0; i < n; i++)
		count += differences[i] != 0;
	return count;
}

/* Gaps and values of the differences; returns how many gaps. */
static int
split(const uint8 *differences, int n, uint8 *gaps, uint8 *values)
{
	int			count = 0;
	int			gap = 0;

	for (int i = 0; i < n; i++)
	{
		if (differences[i] == 0 && gap + 1 == SPARSE_GAP)
		{
			gaps[count++] = SPARSE_GAP;
			gap = 0;
		}
		else if (differences[i] == 0)
			gap++;
		else
		{
			gaps[count++] = (uint8) gap;
			*values++ = differences[i];
			gap = 0;
		}
	}
	return count;
}

/* Append the differences, if there are few enough; false if not. */
bool
delc_sparse_write(StringInfo out, const uint8 *differences, int n)
{
	int			changed = count_differences(differences, n);
	uint32		count;
	uint8	   *gaps;
	uint8	   *values;

	if (changed == 0 || changed > n / SPARSE_SHARE)
		return false;
	gaps = palloc(changed + n / SPARSE_GAP + 1);
	values = palloc(changed);
	count = split(differences, n, gaps, values);
	appendBinaryStringInfo(out, (char *) &count, 4);
	delc_bytes_write(out, gaps, count);
	delc_bytes_write(out, values, changed);
	pfree(gaps);
	pfree(values);
	return true;
}

/* ---- read ---- */

/* Goes to the next number that differs. */
static void
advance(SparsePlane *plane)
{
	while (plane->gap < plane->gaps && plane->gap_of[plane->gap] == SPARSE_GAP)
	{
		plane->next += SPARSE_GAP;
		plane->gap++;
	}
	if (plane->gap == plane->gaps)
		plane->next = plane->n;
	else
		plane->next += plane->gap_of[plane->gap++];
	if (plane->next > plane->n || (plane->next == plane->n && plane->gap < plane->gaps))
		delc_delta_damaged("A plane is longer than its numbers.");
}

void
delc_sparse_open(SparsePlane *plane, const char *bytes, size_t length, int n)
{
	const char *end = bytes + length;
	uint32		gaps;
	int			values = 0;

	if (length < 4)
		delc_delta_damaged("A plane is cut off.");
	memcpy(&gaps, bytes, 4);
	if (gaps > (uint32) n)
		delc_delta_damaged("A plane has more gaps than numbers.");
	memset(plane, 0, sizeof(SparsePlane));
	plane->n = n;
	plane->gaps = (int) gaps;
	bytes += 4;
	plane->gap_of = delc_bytes_read(&bytes, end, gaps);
	for (uint32 i = 0; i < gaps; i++)
		values += plane->gap_of[i] != SPARSE_GAP;
	plane->value_of = delc_bytes_read(&bytes, end, values);
	if (bytes != end)
		delc_delta_damaged("A plane goes on behind its end.");
	advance(plane);
}

/*
 * The differences of numbers up to end, which lie in from and to from number start on: of the byte so
 * far above the number's first.
 */
void
delc_sparse_add(SparsePlane *plane, bool exclusive, const char *from, int start, int end,
				int item_size, int byte, char *to)
{
	while (plane->next < end)
	{
		size_t		at = (size_t) (plane->next - start) * item_size + byte;
		uint8		difference = plane->value_of[plane->value++];

		to[at] = (char) (exclusive ? (uint8) from[at] ^ difference : (uint8) from[at] + difference);
		plane->next++;
		advance(plane);
	}
}

void
delc_sparse_close(SparsePlane *plane)
{
	pfree(plane->gap_of);
	pfree(plane->value_of);
}
