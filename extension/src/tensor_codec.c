/*
 * tensor_codec.c
 *	  One byte plane: worth compressing or not, and zstd.
 *
 * Sign and exponent of weights compress, mantissas are noise.  A sample of
 * the plane tells which it is before any byte is moved, so that mantissa planes cost
 * nothing.
 */
#include "tensor_format.h"

#include <math.h>
#include <zstd.h>

/*
 * Level 1 compresses sign-and-exponent planes better than level 3, whose
 * matches cost more than they save, and twice as fast.
 */
#define PLANE_ZSTD_LEVEL 1

/* The sample: so many runs of so many neighbours, evenly spread. */
#define SAMPLE_RUNS 16
#define SAMPLE_RUN_LENGTH 128

/*
 * Bits per byte, by the frequencies of the sample, below which compression is
 * tried.  A sample of 2048 random bytes measures about 7.91.
 */
#define SAMPLE_MAX_ENTROPY 7.5

/* A plane is kept compressed only if that saves at least one part in this. */
#define PLANE_MIN_SAVING 16

/* Contexts live as long as the backend: making one costs more than a plane. */
static ZSTD_CCtx *compressor = NULL;
static ZSTD_DCtx *decompressor = NULL;

static double
entropy(const int *counts, int total)
{
	double		sum = 0;

	for (int byte = 0; byte < 256; byte++)
	{
		if (counts[byte] > 0)
			sum += counts[byte] * log2f(counts[byte]);
	}
	return log2f(total) - sum / total;
}

/*
 * Is byte (0 = most significant) of the elements likely to compress?  Looks at
 * a sample only.
 */
bool
delc_plane_looks_compressible(const unsigned char *dense, int64 elements,
							  int item_size, int byte)
{
	int			counts[256] = {0};
	int			runs = elements < SAMPLE_RUNS * SAMPLE_RUN_LENGTH ?
		1 : SAMPLE_RUNS;
	int			run_length = runs == 1 ? (int) elements : SAMPLE_RUN_LENGTH;
	int64		stride = runs == 1 ? 0 : (elements - run_length) / (runs - 1);

	dense += item_size - 1 - byte;
	for (int run = 0; run < runs; run++)
	{
		const unsigned char *at = dense + run * stride * item_size;

		for (int i = 0; i < run_length; i++)
			counts[at[(int64) i * item_size]]++;
	}
	return entropy(counts, runs * run_length) < SAMPLE_MAX_ENTROPY;
}

static void pg_attribute_noreturn()
out_of_memory(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_OUT_OF_MEMORY),
			 errmsg("out of memory"),
			 errdetail("zstd could not allocate its working memory.")));
	pg_unreachable();
}

/*
 * Compress a plane to out.  Returns the compressed size, or 0 when it would not save
 * enough; out_size should be length.
 */
size_t
delc_plane_compress(const char *plane, size_t length, char *out, size_t out_size)
{
	size_t		size;

	if (compressor == NULL && (compressor = ZSTD_createCCtx()) == NULL)
		out_of_memory();
	size = ZSTD_compressCCtx(compressor, out,
							 Min(out_size, length - length / PLANE_MIN_SAVING),
							 plane, length, PLANE_ZSTD_LEVEL);
	return ZSTD_isError(size) ? 0 : size;
}

/*
 * The size that a zstd frame decompresses to, or SIZE_MAX where it does not
 * say or is no frame.
 */
size_t
delc_plane_content_size(const char *stored, size_t stored_length)
{
	unsigned long long size = ZSTD_getFrameContentSize(stored, stored_length);

	if (size == ZSTD_CONTENTSIZE_UNKNOWN || size == ZSTD_CONTENTSIZE_ERROR ||
		size > SIZE_MAX)
		return SIZE_MAX;
	return (size_t) size;
}

/* Decompress a plane of exactly length bytes; sqlstate is for a damaged one. */
void
delc_plane_decompress(const char *stored, size_t stored_length,
					  char *plane, size_t length, int sqlstate)
{
	size_t		size;

	if (decompressor == NULL && (decompressor = ZSTD_createDCtx()) == NULL)
		out_of_memory();
	size = ZSTD_decompressDCtx(decompressor, plane, length, stored,
							   stored_length);
	if (ZSTD_isError(size))
		ereport(ERROR,
				(errcode(sqlstate),
				 errmsg("a compressed plane of a tensor is damaged"),
				 errdetail("zstd: %s.", ZSTD_getErrorName(size))));
	if (size != length)
		ereport(ERROR,
				(errcode(sqlstate),
				 errmsg("a compressed plane of a tensor is damaged"),
				 errdetail("It holds %zu bytes instead of %zu.", size, length)));
}
