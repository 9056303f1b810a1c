/* SPDX-License-Identifier: Apache-2.0
 *
 * The fill: one stream of bytes, whatever the implementation, the pieces it is
 * asked in and their alignment.
 */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "dlf_fill.h"

#define STREAM_LEN (3 * DLF_FILL_CHUNK + 1000)

static const struct {
	enum dlf_fill_kind kind;
	size_t size;
} kinds[] = {
	{DLF_FILL_BYTES, 1}, {DLF_FILL_F64, 8},  {DLF_FILL_F32, 4},
	{DLF_FILL_F16, 2},   {DLF_FILL_BOOL, 1},
};

enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

static uint64_t next_random(void)
{
	static uint64_t rng = 0x9e3779b97f4a7c15;

	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return rng;
}

/* The generator as its authors and the header describe it, one lane at a time:
 * no code in common with what it checks. */
static uint64_t splitmix(uint64_t x)
{
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9;
	x ^= x >> 27;
	x *= 0x94d049bb133111eb;
	x ^= x >> 31;
	return x;
}

static uint64_t rotate(uint64_t x, int k)
{
	return (x << k) | (x >> (64 - k));
}

static void reference_chunk(unsigned char *dst, uint64_t seed, uint64_t stream,
			    uint64_t chunk)
{
	const uint64_t gamma = 0x9e3779b97f4a7c15;
	uint64_t a = splitmix(splitmix(seed + gamma) + stream);
	uint64_t b = splitmix(splitmix(~seed - gamma) ^ stream);

	a = splitmix(a + chunk);
	b = splitmix(b ^ chunk);
	for (int lane = 0; lane < 8; lane++) {
		uint64_t s[4];

		s[0] = splitmix(a + gamma);
		s[2] = splitmix(a + 2 * gamma);
		s[1] = splitmix(b + gamma);
		s[3] = splitmix(b + 2 * gamma);
		a += 2 * gamma;
		b += 2 * gamma;
		for (size_t i = 0; i < DLF_FILL_CHUNK / 64; i++) {
			uint64_t result = rotate(s[0] + s[3], 23) + s[0];
			uint64_t t = s[1] << 17;

			for (int byte = 0; byte < 8; byte++)
				dst[i * 64 + lane * 8 + byte] =
					(unsigned char)(result >> 8 * byte);
			s[2] ^= s[0];
			s[3] ^= s[1];
			s[1] ^= s[2];
			s[0] ^= s[3];
			s[2] ^= t;
			s[3] = rotate(s[3], 45);
		}
	}
}

static void raw_bytes_are_the_generators_words(const dlf_fill_impl *impl)
{
	unsigned char *expected = malloc(2 * DLF_FILL_CHUNK);
	unsigned char *got = malloc(2 * DLF_FILL_CHUNK);
	const uint64_t far = (uint64_t)1 << 40;

	reference_chunk(expected, 42, 7, 0);
	reference_chunk(expected + DLF_FILL_CHUNK, 42, 7, 1);
	impl->fill(got, 2 * DLF_FILL_CHUNK, 42, 7, 0, DLF_FILL_BYTES);
	CHECK(!memcmp(got, expected, 2 * DLF_FILL_CHUNK));

	reference_chunk(expected, UINT64_MAX, far, far);
	impl->fill(got, DLF_FILL_CHUNK, UINT64_MAX, far, far * DLF_FILL_CHUNK,
		   DLF_FILL_BYTES);
	CHECK(!memcmp(got, expected, DLF_FILL_CHUNK));
	free(expected);
	free(got);
}

/* What a data set was generated with must not change with the version. */
static void the_stream_is_pinned(const dlf_fill_impl *impl)
{
	static const unsigned char pinned[16] = {
		0x2f, 0xed, 0xca, 0x66, 0x1b, 0xe7, 0x56, 0xe7,
		0xe6, 0x5f, 0xa3, 0xb9, 0x6b, 0xf9, 0xe7, 0xc4,
	};
	unsigned char got[16];

	impl->fill(got, 16, 1, 2, 3 * DLF_FILL_CHUNK + 100, DLF_FILL_BYTES);
	CHECK(!memcmp(got, pinned, 16));
}

static double half_to_double(const unsigned char *p)
{
	unsigned bits = p[0] | (unsigned)p[1] << 8;
	int exponent = bits >> 10 & 31; /* of all in [0, 1): at most 14 */

	if (bits >> 15 || exponent > 14)
		return -1;
	if (!exponent)
		return (bits & 1023) * 0x1p-24;
	return (double)(1024 + (bits & 1023)) / (1 << (25 - exponent));
}

static double element(const unsigned char *p, enum dlf_fill_kind kind)
{
	double f64;
	float f32;

	switch (kind) {
	case DLF_FILL_F64:
		memcpy(&f64, p, 8);
		return f64;
	case DLF_FILL_F32:
		memcpy(&f32, p, 4);
		return f32;
	case DLF_FILL_F16:
		return half_to_double(p);
	default:
		return *p;
	}
}

/* The header's definition of each kind, from the raw bytes in its place. */
static double expected_element(const unsigned char *raw, size_t size,
			       enum dlf_fill_kind kind)
{
	uint64_t u = 0;

	for (size_t i = 0; i < size; i++)
		u |= (uint64_t)raw[i] << 8 * i;
	switch (kind) {
	case DLF_FILL_F64:
		return (double)(u >> 11) * 0x1p-53;
	case DLF_FILL_F32:
		return (double)(u >> 8) * 0x1p-24;
	case DLF_FILL_F16:
		return (double)(u >> 5) * 0x1p-11;
	case DLF_FILL_BOOL:
		return (double)(u & 1);
	default:
		return (double)u;
	}
}

static void elements_are_made_of_the_raw_bits(const dlf_fill_impl *impl)
{
	unsigned char *raw = malloc(STREAM_LEN), *got = malloc(STREAM_LEN);

	impl->fill(raw, STREAM_LEN, 5, 6, 0, DLF_FILL_BYTES);
	for (int k = 0; k < KINDS; k++) {
		size_t size = kinds[k].size, items = STREAM_LEN / size;
		double sum = 0, low = 1, high = 0;
		int same = 1;

		impl->fill(got, STREAM_LEN, 5, 6, 0, kinds[k].kind);
		for (size_t at = 0; at + size <= STREAM_LEN; at += size) {
			double value = element(got + at, kinds[k].kind);

			same &= value == expected_element(raw + at, size,
							  kinds[k].kind);
			sum += value;
			low = value < low ? value : low;
			high = value > high ? value : high;
		}
		CHECK(same);
		if (kinds[k].kind == DLF_FILL_BYTES) {
			CHECK(sum / items > 126 && sum / items < 129);
			continue;
		}
		/* A mean of n uniform values errs by 0.3 / sqrt(n). */
		CHECK(sum / items > 0.48 && sum / items < 0.52);
		CHECK(low >= 0 && low < 0.001);
		CHECK(high > 0.999);
		if (kinds[k].kind != DLF_FILL_BOOL)
			CHECK(high < 1);
	}
	free(raw);
	free(got);
}

/* Half precision has few values: see every one of them, zero included. */
static void half_precision_reaches_every_value(const dlf_fill_impl *impl)
{
	unsigned char seen[2048] = {0}, *got = malloc(STREAM_LEN);
	int count = 0;

	impl->fill(got, STREAM_LEN, 8, 8, 0, DLF_FILL_F16);
	for (size_t at = 0; at + 2 <= STREAM_LEN; at += 2)
		seen[(int)(half_to_double(got + at) * 2048) & 2047] = 1;
	for (int i = 0; i < 2048; i++)
		count += seen[i];
	CHECK_EQ(count, 2048);
	free(got);
}

static void any_piece_is_that_part_of_the_stream(const dlf_fill_impl *impl,
						 const dlf_fill_impl *portable)
{
	unsigned char *whole = malloc(STREAM_LEN);
	unsigned char *piece = malloc(STREAM_LEN + 130);

	for (int k = 0; k < KINDS; k++) {
		int same = 1;

		portable->fill(whole, STREAM_LEN, 11, 12, 0, kinds[k].kind);
		for (int round = 0; round < 300; round++) {
			size_t from = next_random() % STREAM_LEN;
			size_t n = next_random() %
				   ((size_t)16 << next_random() % 13);
			unsigned char *dst = piece + 1 + next_random() % 128;

			from -= from % kinds[k].size;
			if (n > STREAM_LEN - from)
				n = STREAM_LEN - from;
			dst[-1] = dst[n] = 0xa5;
			impl->fill(dst, n, 11, 12, from, kinds[k].kind);
			same &= !memcmp(dst, whole + from, n);
			same &= dst[-1] == 0xa5 && dst[n] == 0xa5;
		}
		CHECK(same);
	}
	free(whole);
	free(piece);
}

static void different_names_give_different_streams(const dlf_fill_impl *impl)
{
	unsigned char a[64], b[64];

	impl->fill(a, 64, 1, 1, 0, DLF_FILL_BYTES);
	impl->fill(b, 64, 2, 1, 0, DLF_FILL_BYTES);
	CHECK(memcmp(a, b, 64));
	impl->fill(b, 64, 1, 2, 0, DLF_FILL_BYTES);
	CHECK(memcmp(a, b, 64));
	impl->fill(b, 64, 1, 1, DLF_FILL_CHUNK, DLF_FILL_BYTES);
	CHECK(memcmp(a, b, 64));
}

void test_fill(void)
{
	const dlf_fill_impl *impls;
	int count = dlf_fill_impls(&impls);

	CHECK(count >= 1);
	CHECK(!strcmp(impls[count - 1].name, "portable"));
	for (int i = 0; i < count; i++) {
		raw_bytes_are_the_generators_words(&impls[i]);
		the_stream_is_pinned(&impls[i]);
		elements_are_made_of_the_raw_bits(&impls[i]);
		half_precision_reaches_every_value(&impls[i]);
		any_piece_is_that_part_of_the_stream(&impls[i],
						     &impls[count - 1]);
		different_names_give_different_streams(&impls[i]);
	}
}
