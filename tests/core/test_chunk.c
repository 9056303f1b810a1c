/* SPDX-License-Identifier: Apache-2.0
 *
 * Chunks: each filter is undone as by its definition, and no packed bytes, however
 * bad, are read or written past their ends.
 */
#include "dlf_chunk.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "check.h"

enum { N = 4099 };

static uint64_t state = 1;

static unsigned draw(unsigned below)
{
	state = state * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(state >> 33) % below;
}

static void fill(unsigned char *bytes, size_t n, unsigned below)
{
	for (size_t i = 0; i < n; i++)
		bytes[i] = (unsigned char)draw(below);
}

static void shuffle(unsigned char *dst, const unsigned char *src, size_t n,
		    size_t itemsize)
{
	size_t count = n / itemsize;

	for (size_t i = 0; i < count; i++)
		for (size_t b = 0; b < itemsize; b++)
			dst[b * count + i] = src[i * itemsize + b];
	memcpy(dst + count * itemsize, src + count * itemsize, n % itemsize);
}

static void test_shuffle(void)
{
	static unsigned char raw[N], shuffled[N], back[N];

	fill(raw, N, 256);
	for (size_t itemsize = 1; itemsize <= 20; itemsize++)
		for (size_t n = 0; n < N; n += 1 + n / 3) {
			shuffle(shuffled, raw, n, itemsize);
			memset(back, 0, N);
			dlf_unshuffle(back, shuffled, n, itemsize);
			CHECK(!memcmp(back, raw, n));
			CHECK(back[n] == 0);
		}
}

/* The definition: sums modulo 65535 of 16-bit words. */
static void test_fletcher32(void)
{
	static unsigned char data[N];

	fill(data, N, 256);
	for (size_t n = 0; n < N; n += 1 + n / 5) {
		uint64_t one = 0, two = 0;
		for (size_t i = 0; i < n; i += 2) {
			one += (uint64_t)data[i] << 8 |
			       (i + 1 < n ? data[i + 1] : 0);
			two += one;
		}
		uint32_t sum = dlf_fletcher32(data, n);
		CHECK_EQ(sum % 65536 % 65535, one % 65535);
		CHECK_EQ((sum >> 16) % 65535, two % 65535);
	}
}

/* Literals and repeats as drawn, and what they stand for. */
static void test_lzf(void)
{
	static unsigned char packed[2 * N], raw[2 * N], back[2 * N];

	for (int round = 0; round < 300; round++) {
		size_t n = 0, size = 0, most = 1 + draw(N - 300);
		while (size < most) {
			size_t length = 1 + draw(32);
			if (!size || draw(2)) {
				packed[n++] = (unsigned char)(length - 1);
				for (; length; length--)
					packed[n++] = raw[size++] =
						(unsigned char)draw(256);
				continue;
			}
			size_t back_by = 1 + draw(size < 8192 ? (unsigned)size
							      : 8192);
			length = draw(2) ? 3 + draw(6) : 9 + draw(256);
			packed[n++] = (unsigned char)(
				(length < 9 ? length - 2 : 7) << 5 |
				(back_by - 1) >> 8);
			if (length >= 9)
				packed[n++] = (unsigned char)(length - 9);
			packed[n++] = (unsigned char)(back_by - 1);
			for (; length; length--, size++)
				raw[size] = raw[size - back_by];
		}
		CHECK_EQ(dlf_unlzf(packed, n, back, size), 0);
		CHECK(!memcmp(back, raw, size));
		CHECK_EQ(dlf_unlzf(packed, n, back, size - 1), -1);
		CHECK_EQ(dlf_unlzf(packed, n, back, size + 1), -1);
		CHECK_EQ(dlf_unlzf(packed, n - 1, back, size), -1);
	}
}

/* Exactly as long as they claim, so that the sanitizers see every step beyond. */
static void test_bad_lzf(void)
{
	for (int round = 0; round < 3000; round++) {
		size_t n = draw(40), size = draw(400);
		unsigned char *packed = malloc(n + 1), *raw = malloc(size + 1);

		fill(packed + 1, n, draw(2) ? 64 : 256);
		int rc = dlf_unlzf(packed + 1, n, raw + 1, size);
		CHECK(rc == 0 || rc == -1);
		free(packed);
		free(raw);
	}
}

static const dlf_packing everything = {
	.shuffle = 0, .deflate = 1, .lzf = -1, .fletcher32 = 2, .itemsize = 4,
	.nbytes = 4000,
};

static size_t pack(const unsigned char *raw, unsigned char *stored,
		   uint32_t mask)
{
	unsigned char shuffled[4000];
	uLongf n = 5000;

	if (mask & 1)
		memcpy(shuffled, raw, 4000);
	else
		shuffle(shuffled, raw, 4000, 4);
	if (mask & 2)
		memcpy(stored, shuffled, n = 4000);
	else
		CHECK_EQ(compress2(stored, &n, shuffled, 4000, 4), Z_OK);
	if (mask & 4)
		return n;
	uint32_t sum = dlf_fletcher32(stored, n);
	for (int i = 0; i < 4; i++)
		stored[n + i] = (unsigned char)(sum >> 8 * i);
	return n + 4;
}

static void test_pipeline(void)
{
	static unsigned char raw[4000], stored[6000], aside[4000], back[4000];
	dlf_inflater *inflater = NULL;
	dlf_fault fault;

	for (int round = 0; round < 200; round++) {
		uint32_t mask = (uint32_t)round % 8;
		fill(raw, sizeof(raw), 20);
		size_t n = pack(raw, stored, mask);
		int flipped = draw(2);
		if (flipped)
			stored[draw((unsigned)n)] ^= (unsigned char)(1 << draw(8));
		int fits = dlf_chunk_fits(&everything, n, mask);
		CHECK(fits);
		CHECK(!dlf_chunk_fits(&everything, 1, mask));
		memset(back, 0, sizeof(back));
		int rc = dlf_chunk_unpack(&everything, &inflater, stored, n,
					  mask, 1, aside, back, 100, &fault);
		int same = !memcmp(back, raw, sizeof(raw));
		if (!flipped)
			CHECK(rc == 0 && same);
		else if (!(mask & 4))
			CHECK_EQ(rc, DLF_ECHECKSUM);
		else if (!(mask & 2)) /* bits of the header do no harm */
			CHECK(same || rc == DLF_EFORMAT ||
			      rc == DLF_ECHECKSUM);
		else
			CHECK(rc == 0 && !same);
		if (rc)
			CHECK(fault.offset >= 100 && fault.offset <= 100 + n);
	}
	dlf_inflater_free(inflater);
}

/* A size that the stored bytes cannot stand for is refused beforehand. */
static void test_claims(void)
{
	const dlf_packing deflated = {-1, 0, -1, -1, 1, UINT32_MAX};
	const dlf_packing lzf = {-1, -1, 0, -1, 1, UINT32_MAX};

	CHECK(!dlf_chunk_fits(&deflated, UINT32_MAX / 1033, 0));
	CHECK(dlf_chunk_fits(&deflated, UINT32_MAX / 1032 + 1, 0));
	CHECK(!dlf_chunk_fits(&lzf, UINT32_MAX / 89, 0));
	CHECK(dlf_chunk_fits(&lzf, UINT32_MAX / 88 + 1, 0));
	CHECK(!dlf_chunk_fits(&deflated, 1000, 1));
	CHECK(dlf_chunk_fits(&deflated, UINT32_MAX, 1));
}

void test_chunk(void)
{
	test_shuffle();
	test_fletcher32();
	test_lzf();
	test_bad_lzf();
	test_pipeline();
	test_claims();
}
