/*
 * base64.h
 *	  Base64 (RFC 4648), strict.
 */
#ifndef DELC_BASE64_H
#define DELC_BASE64_H

#include "postgres.h"

/* Characters that so many bytes become. */
static inline int64
delc_base64_length(int64 bytes)
{
	return (bytes + 2) / 3 * 4;
}

extern char *delc_base64_encode(const char *bytes, int64 length, char *out);
extern int64 delc_base64_decoded_length(const char *text, int64 length);
extern int64 delc_base64_decode(const char *text, int64 length, char *out);

#endif							/* DELC_BASE64_H */
