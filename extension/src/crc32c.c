/*
 * crc32c.c
 *	  CRC-32C as fast as memory gives the bytes.
 *
 * The processor's instruction for it has to wait for its own result: one chain of
 * them takes a third of what it could.  So long stretches are cut in three, which
 * are computed side by side and put together by a multiplication modulo the
 * polynomial (Gopal et al., "Fast CRC Computation for iSCSI Polynomial Using CRC32 Instruction",
 * Intel 2011).  Elsewhere PostgreSQL's own function does.
 */
#include "crc32c.h"

#include "port/pg_crc32c.h"

#if defined(__GNUC__) && defined(__x86_64__)
#define CRC32C_THREE_CHAINS
#include <immintrin.h>

#define THREE_CHAINS __attribute__((target("sse4.2,pclmul")))

/*
 * Behind a stretch of so many bytes come as many, or twice as many: x to the 8 * bytes - 33
 * modulo the polynomial, bits reversed.  33 is what multiplying and reducing
 * by instructions adds.
 */
typedef struct Stretch
{
	size_t		bytes;
	uint64		once;
	uint64		twice;
} Stretch;

static const Stretch stretches[] = {
	{2048, 0xa51b6135, 0x82f89c77},
	{256, 0xb9e02b86, 0xdd7e3b0c}
};

THREE_CHAINS static uint64
add_words(uint64 crc, const char *bytes, size_t length)
{
	for (size_t at = 0; at + 8 <= length; at += 8)
	{
		uint64		word;

		memcpy(&word, bytes + at, 8);
		crc = _mm_crc32_u64(crc, word);
	}
	return crc;
}

/* Three stretches. */
THREE_CHAINS static uint64
add_three(uint64 crc, const char *bytes, const Stretch *stretch)
{
	size_t		length = stretch->bytes;
	uint64		second = 0;
	uint64		third = 0;
	__m128i		moved;

	for (size_t at = 0; at < length; at += 8)
	{
		uint64		a;
		uint64		b;
		uint64		c;

		memcpy(&a, bytes + at, 8);
		memcpy(&b, bytes + length + at, 8);
		memcpy(&c, bytes + 2 * length + at, 8);
		crc = _mm_crc32_u64(crc, a);
		second = _mm_crc32_u64(second, b);
		third = _mm_crc32_u64(third, c);
	}
	moved = _mm_xor_si128(_mm_clmulepi64_si128(_mm_cvtsi64_si128(crc), _mm_cvtsi64_si128(stretch->twice), 0),
						  _mm_clmulepi64_si128(_mm_cvtsi64_si128(second), _mm_cvtsi64_si128(stretch->once), 0));
	return _mm_crc32_u64(0, _mm_cvtsi128_si64(moved)) ^ third;
}

THREE_CHAINS static uint32
add_fast(uint32 crc, const char *bytes, size_t length)
{
	uint64		sum = crc;

	for (int i = 0; i < lengthof(stretches); i++)
	{
		for (; length >= 3 * stretches[i].bytes; length -= 3 * stretches[i].bytes)
		{
			sum = add_three(sum, bytes, &stretches[i]);
			bytes += 3 * stretches[i].bytes;
		}
	}
	sum = add_words(sum, bytes, length);
	bytes += length & ~(size_t) 7;
	for (length &= 7; length > 0; length--)
		sum = _mm_crc32_u8((uint32) sum, *bytes++);
	return (uint32) sum;
}
#endif

uint32
delc_crc32c_add(uint32 crc, const void *bytes, size_t length)
{
	pg_crc32c	sum = crc;

#ifdef CRC32C_THREE_CHAINS
	if (__builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul"))
		return add_fast(crc, bytes, length);
#endif
	COMP_CRC32C(sum, bytes, length);
	return sum;
}
