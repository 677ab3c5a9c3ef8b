/*
 * base64.c
 *	  Base64 for compact text of tensors.
 *
 * PostgreSQL's own pg_b64_encode changed its signature between the versions
 * this builds on, and its decoder skips white space, which a strict format
 * does not want.
 */
#include "base64.h"

static const char alphabet[] =
"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* Value of a character, or -1. */
static int
value_of(unsigned char character)
{
	if (character >= 'A' && character <= 'Z')
		return character - 'A';
	if (character >= 'a' && character <= 'z')
		return character - 'a' + 26;
	if (character >= '0' && character <= '9')
		return character - '0' + 52;
	if (character == '+')
		return 62;
	return character == '/' ? 63 : -1;
}

/* Write delc_base64_length(length) characters; returns the end. */
char *
delc_base64_encode(const char *bytes, int64 length, char *out)
{
	const unsigned char *from = (const unsigned char *) bytes;
	int64		i;
	uint32		group;

	for (i = 0; i + 2 < length; i += 3)
	{
		group = (uint32) from[i] << 16 | (uint32) from[i + 1] << 8 | from[i + 2];
		*out++ = alphabet[group >> 18];
		*out++ = alphabet[group >> 12 & 63];
		*out++ = alphabet[group >> 6 & 63];
		*out++ = alphabet[group & 63];
	}
	if (i < length)
	{
		group = (uint32) from[i] << 16;
		if (i + 1 < length)
			group |= (uint32) from[i + 1] << 8;
		*out++ = alphabet[group >> 18];
		*out++ = alphabet[group >> 12 & 63];
		*out++ = i + 1 < length ? alphabet[group >> 6 & 63] : '=';
		*out++ = '=';
	}
	return out;
}

/* Bytes that the text decodes to, or -1 when no text has this length. */
int64
delc_base64_decoded_length(const char *text, int64 length)
{
	if (length % 4 != 0)
		return -1;
	if (length == 0)
		return 0;
	return length / 4 * 3 - (text[length - 1] == '=') - (text[length - 2] == '=');
}

/* The last group, with its padding; false when it is not right. */
static bool
decode_last(const char *text, unsigned char *out)
{
	int			a = value_of(text[0]);
	int			b = value_of(text[1]);
	int			c = value_of(text[2]);
	int			d = value_of(text[3]);

	if (a < 0 || b < 0)
		return false;
	out[0] = a << 2 | b >> 4;
	if (text[2] == '=')
		return text[3] == '=' && (b & 15) == 0;
	if (c < 0)
		return false;
	out[1] = (b & 15) << 4 | c >> 2;
	if (text[3] == '=')
		return (c & 3) == 0;
	if (d < 0)
		return false;
	out[2] = (c & 3) << 6 | d;
	return true;
}

/*
 * Decode; out has room for delc_base64_decoded_length bytes.  Returns -1, or
 * the position of the group of four characters that is wrong.
 */
int64
delc_base64_decode(const char *text, int64 length, char *out)
{
	unsigned char *to = (unsigned char *) out;
	signed char values[256];

	if (length == 0)
		return -1;
	for (int character = 0; character < 256; character++)
		values[character] = value_of(character);
	for (int64 i = 0; i + 4 < length; i += 4)
	{
		int			a = values[(unsigned char) text[i]];
		int			b = values[(unsigned char) text[i + 1]];
		int			c = values[(unsigned char) text[i + 2]];
		int			d = values[(unsigned char) text[i + 3]];

		if ((a | b | c | d) < 0)
			return i;
		*to++ = a << 2 | b >> 4;
		*to++ = (b & 15) << 4 | c >> 2;
		*to++ = (c & 3) << 6 | d;
	}
	return decode_last(text + length - 4, to) ? -1 : length - 4;
}
