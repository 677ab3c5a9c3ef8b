/*
 * crc32c.h
 *	  The checksum of everything that is stored: CRC-32C.
 */
#ifndef DELC_CRC32C_H
#define DELC_CRC32C_H

#include "postgres.h"

#define CRC32C_START 0xFFFFFFFF

/* Of the bytes behind those that gave crc; it starts as CRC32C_START, and what it ends as is inverted. */
typedef uint32 (*DelcCrc32cAdd) (uint32 crc, const void *bytes, size_t length);
extern PGDLLEXPORT uint32 delc_crc32c_add(uint32 crc, const void *bytes, size_t length);

/* Of all bytes. */
static inline uint32
delc_crc32c(const void *bytes, size_t length)
{
	return delc_crc32c_add(CRC32C_START, bytes, length) ^ 0xFFFFFFFF;
}

#endif							/* DELC_CRC32C_H */
