/* SPDX-License-Identifier: Apache-2.0
 *
 * Private to the crc room: a checksum by table, 16 bytes a step.  Whoever
 * includes this defines CRC(part), the name of a function, and CRC_ROWS, the
 * sixteen rows of the table.
 */
#include <string.h>

#include "dlf_crc_impl.h"

/* slice[s][i]: the checksum register after byte i and s zero bytes.  It is
 * linear in the bits of i, so eight constants make each row, and the compiler
 * makes the tables: nothing to initialise, nothing to race for. */
#define BIT(i, n, v) ((i) >> (n) & 1 ? (v) : 0)
#define E1(i, a, b, c, d, e, f, g, h)                                          \
	(BIT(i, 0, a) ^ BIT(i, 1, b) ^ BIT(i, 2, c) ^ BIT(i, 3, d) ^           \
	 BIT(i, 4, e) ^ BIT(i, 5, f) ^ BIT(i, 6, g) ^ BIT(i, 7, h))
#define E4(i, ...)                                                             \
	E1((i), __VA_ARGS__), E1((i) + 1, __VA_ARGS__),                        \
	E1((i) + 2, __VA_ARGS__), E1((i) + 3, __VA_ARGS__)
#define E16(i, ...)                                                            \
	E4((i), __VA_ARGS__), E4((i) + 4, __VA_ARGS__),                        \
	E4((i) + 8, __VA_ARGS__), E4((i) + 12, __VA_ARGS__)
#define E64(i, ...)                                                            \
	E16((i), __VA_ARGS__), E16((i) + 16, __VA_ARGS__),                     \
	E16((i) + 32, __VA_ARGS__), E16((i) + 48, __VA_ARGS__)
#define ROW(...)                                                               \
	{E64(0, __VA_ARGS__), E64(64, __VA_ARGS__), E64(128, __VA_ARGS__),     \
	 E64(192, __VA_ARGS__)}

static const uint32_t slice[16][256] = {CRC_ROWS};

static inline uint32_t load32(const unsigned char *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
	       (uint32_t)p[3] << 24;
}

/* The register after the four bytes of word and s more zero bytes. */
static inline uint32_t slice_word(uint32_t word, int s)
{
	return slice[s + 3][word & 255] ^ slice[s + 2][word >> 8 & 255] ^
	       slice[s + 1][word >> 16 & 255] ^ slice[s][word >> 24];
}

uint32_t CRC(_portable)(uint32_t crc, const void *data, size_t n)
{
	const unsigned char *p = data;
	uint32_t reg = ~crc;

	for (; n >= 16; n -= 16, p += 16)
		reg = slice_word(reg ^ load32(p), 12) ^
		      slice_word(load32(p + 4), 8) ^
		      slice_word(load32(p + 8), 4) ^
		      slice_word(load32(p + 12), 0);
	for (; n; n--)
		reg = reg >> 8 ^ slice[0][(reg ^ *p++) & 255];
	return ~reg;
}

uint32_t CRC(_copy_portable)(uint32_t crc, void *dst, const void *src,
				 size_t n)
{
	const size_t block = 4096; /* still in the first cache for the copy */
	const unsigned char *from = src;
	unsigned char *to = dst;

	while (n) {
		size_t part = n < block ? n : block;

		crc = CRC(_portable)(crc, from, part);
		memcpy(to, from, part);
		from += part;
		to += part;
		n -= part;
	}
	return crc;
}
