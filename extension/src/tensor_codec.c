/*
 * tensor_codec.c
 *	  One byte plane: worth compressing or not, and zstd.
 *
 * Sign and exponent of weights compress, mantissas are noise.  A sample of
 * the plane tells which it is before any byte is moved, so that mantissa planes
 * cost nothing.
 */
#include "tensor_format.h"

#include <math.h>
#include <zstd.h>

/*
 * Two ways to use zstd.  Sign-and-exponent planes have a skewed distribution
 * and no repetitions worth a match: entropy coding alone makes them smaller than
 * any level that searches for matches, three times as fast (2.71 against 2.95
 * bits a byte on normally distributed float32).  Planes with repetitions want
 * matches; level 1 serves them as well as higher ones.
 */
typedef enum PlaneMethod
{
	ENTROPY_ONLY,
	WITH_MATCHES
} PlaneMethod;

#define PLANE_ZSTD_LEVEL 1

/*
 * ZSTD_c_literalCompressionMode and its value ZSTD_ps_enable, which zstd.h
 * declares only for static linking.  Compressing literals at the fastest level
 * is what "entropy coding alone" is.  A library that does not know the parameter
 * refuses it, and matches are used.
 */
#define ZSTD_LITERAL_COMPRESSION_MODE ((ZSTD_cParameter) 1002)
#define ZSTD_LITERAL_COMPRESSION_ENABLED 1

/* A plane is compressed the way that is better for this much from its middle. */
#define TRIAL_BYTES 16384

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

/* Compressed size, or 0 when it does not fit out. */
static size_t
compress_by(PlaneMethod method, const char *plane, size_t length, char *out,
			size_t out_size)
{
	size_t		size;

	ZSTD_CCtx_reset(compressor, ZSTD_reset_session_and_parameters);
	if (method == WITH_MATCHES)
		ZSTD_CCtx_setParameter(compressor, ZSTD_c_compressionLevel, PLANE_ZSTD_LEVEL);
	else
	{
		ZSTD_CCtx_setParameter(compressor, ZSTD_c_compressionLevel, ZSTD_minCLevel());
		if (ZSTD_isError(ZSTD_CCtx_setParameter(compressor,
												ZSTD_LITERAL_COMPRESSION_MODE,
												ZSTD_LITERAL_COMPRESSION_ENABLED)))
			return 0;
	}
	size = ZSTD_compress2(compressor, out, out_size, plane, length);
	return ZSTD_isError(size) ? 0 : size;
}

/* Try both methods on the middle of the plane. */
static PlaneMethod
better_method(const char *plane, size_t length)
{
	char		out[TRIAL_BYTES];
	size_t		trial = Min(length, TRIAL_BYTES);
	const char *middle = plane + (length - trial) / 2;
	size_t		entropy_only = compress_by(ENTROPY_ONLY, middle, trial, out, trial);
	size_t		with_matches = compress_by(WITH_MATCHES, middle, trial, out, trial);

	if (entropy_only == 0)
		return WITH_MATCHES;
	return with_matches == 0 || entropy_only <= with_matches ?
		ENTROPY_ONLY : WITH_MATCHES;
}

/*
 * Compress a plane to out.  Returns the compressed size, or 0 when it would not
 * save enough; out_size should be delc_plane_worthwhile(length).
 */
size_t
delc_plane_compress(const char *plane, size_t length, char *out, size_t out_size)
{
	if (compressor == NULL && (compressor = ZSTD_createCCtx()) == NULL)
		out_of_memory();
	return compress_by(better_method(plane, length), plane, length, out, out_size);
}

/* The largest compressed size at which a plane is kept compressed. */
size_t
delc_plane_worthwhile(size_t length)
{
	return length - length / PLANE_MIN_SAVING;
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
