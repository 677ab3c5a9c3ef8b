/*
 * small_float.h
 *	  float16 and bfloat16, by their bits.
 *
 * Not every compiler that builds PostgreSQL has _Float16, and none of this is
 * where the time goes.
 */
#ifndef DELC_SMALL_FLOAT_H
#define DELC_SMALL_FLOAT_H

#include "postgres.h"

static inline float
delc_float_of_bits(uint32 bits)
{
	float		number;

	memcpy(&number, &bits, sizeof(number));
	return number;
}

static inline float
delc_bfloat16_to_float(uint16 bits)
{
	return delc_float_of_bits((uint32) bits << 16);
}

/*
 * Denormals are made from their mantissa as an integer: right also in a
 * process that flushes float32 denormals to zero, as PyTorch can ask for.
 */
static inline float
delc_float16_to_float(uint16 bits)
{
	uint32		sign = (uint32) (bits & 0x8000) << 16;
	uint32		exponent = bits & 0x7C00;
	uint32		magnitude = (uint32) (bits & 0x7FFF) << 13;

	if (exponent == 0)
	{
		float		number = (float) (bits & 0x03FF) * 0x1p-24f;

		return sign ? -number : number;
	}
	if (exponent == 0x7C00)		/* infinity, NaN */
		return delc_float_of_bits(sign | 0x70000000 | magnitude);
	return delc_float_of_bits(sign | (magnitude + 0x38000000));
}

/*
 * Round a double to a float of 16 bits with so many bits of mantissa, to
 * nearest even.  Too large becomes infinity; a NaN keeps the upper bits of its payload.
 */
static inline uint16
delc_small_float_of_double(double number, int mantissa_bits)
{
	int			exponent_bits = 15 - mantissa_bits;
	int			bias = (1 << (exponent_bits - 1)) - 1;
	uint16		infinity = ((1 << exponent_bits) - 1) << mantissa_bits;
	uint64		bits;
	uint16		sign;
	uint64		mantissa;
	int			exponent;
	int			shift = 52 - mantissa_bits;
	uint64		kept;
	uint64		rest;
	uint64		half;

	memcpy(&bits, &number, sizeof(bits));
	sign = (uint16) ((bits >> 48) & 0x8000);
	mantissa = bits & UINT64CONST(0xFFFFFFFFFFFFF);
	exponent = (int) ((bits >> 52) & 0x7FF);
	if (exponent == 0x7FF)
	{
		uint16		payload = (uint16) (mantissa >> shift);

		if (mantissa != 0 && payload == 0)
			payload = 1 << (mantissa_bits - 1);
		return sign | infinity | payload;
	}
	exponent += bias - 1023;
	if (exponent >= (1 << exponent_bits) - 1)
		return sign | infinity;
	mantissa |= UINT64CONST(1) << 52;
	if (exponent <= 0)			/* denormal */
	{
		shift += 1 - exponent;
		exponent = 1;
		if (shift > 54)
			return sign;
	}
	kept = mantissa >> shift;
	rest = mantissa & ((UINT64CONST(1) << shift) - 1);
	half = UINT64CONST(1) << (shift - 1);
	if (rest > half || (rest == half && (kept & 1)))
		kept++;
	/* a carry out of the mantissa raises the exponent, up to infinity */
	return sign | (uint16) (((uint32) (exponent - 1) << mantissa_bits) + kept);
}

static inline uint16
delc_float16_of_double(double number)
{
	return delc_small_float_of_double(number, 10);
}

static inline uint16
delc_bfloat16_of_double(double number)
{
	return delc_small_float_of_double(number, 7);
}

#endif							/* DELC_SMALL_FLOAT_H */
