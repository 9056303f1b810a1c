/* SPDX-License-Identifier: Apache-2.0 */
#include "dlf_literal.h"

#include <string.h>

int dlf_literal_fail(const dlf_literal *lit, int code, const char *what)
{
	uint64_t at = lit->file_offset + (uint64_t)(lit->p - lit->start);

	return dlf_fail(lit->fault, code, at, what);
}

static int malformed(const dlf_literal *lit, const char *what)
{
	return dlf_literal_fail(lit, DLF_EFORMAT, what);
}

/* To Python, a vertical tab is none. */
static int is_space(int ch)
{
	return ch == ' ' || ch == '\n' || ch == '\t' || ch == '\r' ||
	       ch == '\f';
}

int dlf_literal_peek(dlf_literal *lit)
{
	while (lit->p < lit->end && is_space(*lit->p))
		lit->p++;
	return lit->p < lit->end ? *lit->p : 0;
}

int dlf_literal_take(dlf_literal *lit, int ch)
{
	if (dlf_literal_peek(lit) != ch)
		return 0;
	lit->p++;
	return 1;
}

static int is_digit(int ch)
{
	return ch >= '0' && ch <= '9';
}

/* The value of a hexadecimal digit, or -1. */
static int hex_value(int ch)
{
	int letter = ch | 32;

	if (is_digit(ch))
		return ch - '0';
	return letter >= 'a' && letter <= 'f' ? letter - 'a' + 10 : -1;
}

/* Length of the UTF-8 sequence at p, or 0: no overlong forms, no surrogates,
 * nothing beyond U+10FFFF (Unicode, table 3-7). */
static size_t utf8_sequence(const unsigned char *p, size_t left)
{
	unsigned char low = 0x80, high = 0xbf;
	size_t len;

	if (p[0] < 0x80)
		return 1;
	if (p[0] >= 0xc2 && p[0] <= 0xdf)
		len = 2;
	else if ((p[0] & 0xf0) == 0xe0)
		len = 3;
	else if (p[0] >= 0xf0 && p[0] <= 0xf4)
		len = 4;
	else
		return 0;
	if (p[0] == 0xe0)
		low = 0xa0;
	else if (p[0] == 0xed)
		high = 0x9f;
	else if (p[0] == 0xf0)
		low = 0x90;
	else if (p[0] == 0xf4)
		high = 0x8f;
	if (left < len || p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < len; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	return len;
}

/* Past one escape; lit->p is behind the backslash. */
static int skip_escape(dlf_literal *lit)
{
	const char *broken = "broken escape in a string of the header";
	int kind = lit->p < lit->end ? *lit->p : 0;
	int digits = kind == 'x' ? 2 : kind == 'u' ? 4 : kind == 'U' ? 8 : 0;
	uint32_t value = 0;

	if (!kind || !strchr("\\'\"nrtxuU", kind))
		return malformed(lit, broken);
	lit->p++;
	for (int i = 0; i < digits; i++, lit->p++) {
		int digit = lit->p < lit->end ? hex_value(*lit->p) : -1;

		if (digit < 0)
			return malformed(lit, broken);
		value = value << 4 | (uint32_t)digit;
	}
	return value > 0x10ffff ? malformed(lit, broken) : 0;
}

int dlf_literal_string(dlf_literal *lit, const char **text, size_t *len)
{
	int quote = dlf_literal_peek(lit);

	if (quote != '\'' && quote != '"')
		return malformed(lit, "a quoted string is missing in the "
				      "header");
	*text = (const char *)++lit->p;
	while (lit->p < lit->end && *lit->p != quote) {
		size_t step = 1;

		if (*lit->p < ' ')
			return malformed(lit, "control character in a string "
					      "of the header");
		if (*lit->p == '\\') {
			lit->p++;
			if (skip_escape(lit))
				return DLF_EFORMAT;
			continue;
		}
		if (lit->utf8)
			step = utf8_sequence(lit->p,
					     (size_t)(lit->end - lit->p));
		if (!step)
			return malformed(lit, "the header is not UTF-8");
		lit->p += step;
	}
	if (lit->p == lit->end)
		return malformed(lit, "unterminated string in the header");
	*len = (size_t)((const char *)lit->p - *text);
	lit->p++;
	return 0;
}

int dlf_literal_decimal(const char **p, const char *end, uint64_t max,
			uint64_t *value)
{
	const char *start = *p;

	*value = 0;
	for (; *p < end && is_digit(**p); (*p)++) {
		uint64_t digit = (uint64_t)(**p - '0');

		if (*value > (max - digit) / 10)
			return 0;
		*value = *value * 10 + digit;
	}
	return *p > start && (*start != '0' || *p == start + 1);
}

/* One size of a tuple. */
static int parse_size(dlf_literal *lit, uint64_t *size)
{
	const char *p;

	dlf_literal_peek(lit);
	p = (const char *)lit->p;
	if (!dlf_literal_decimal(&p, (const char *)lit->end, INT64_MAX, size))
		return malformed(lit, "a size is not a number below 2^63");
	lit->p = (const unsigned char *)p;
	if (!lit->utf8 && lit->p < lit->end && *lit->p == 'L')
		lit->p++;
	return 0;
}

int dlf_literal_sizes(dlf_literal *lit, dlf_sizes *sizes)
{
	int comma = 1;

	sizes->count = 0;
	if (!dlf_literal_take(lit, '('))
		return malformed(lit, "a tuple of sizes is missing in the "
				      "header");
	while (!dlf_literal_take(lit, ')')) {
		if (!comma)
			return malformed(lit, "comma or bracket missing in a "
					      "tuple of sizes");
		if (sizes->count == DLF_LITERAL_MAX_SIZES)
			return malformed(lit, "more than 64 dimensions");
		if (parse_size(lit, &sizes->size[sizes->count++]))
			return DLF_EFORMAT;
		comma = dlf_literal_take(lit, ',');
	}
	if (sizes->count == 1 && !comma)
		return malformed(lit, "a size stands in brackets but is no "
				      "tuple");
	return 0;
}

int dlf_literal_bool(dlf_literal *lit, int *value)
{
	static const char *const words[] = {"False", "True"};

	dlf_literal_peek(lit);
	for (int i = 0; i < 2; i++) {
		size_t len = strlen(words[i]);

		if ((size_t)(lit->end - lit->p) < len ||
		    memcmp(lit->p, words[i], len))
			continue;
		lit->p += len;
		*value = i;
		return 0;
	}
	return malformed(lit, "neither True nor False in the header");
}
