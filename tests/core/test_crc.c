/* SPDX-License-Identifier: Apache-2.0
 *
 * Every implementation of the checksums: CRC-32 against zlib's, CRC-32C against
 * its definition, a bit at a time.
 */
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "check.h"
#include "dlf_crc.h"

enum { SHORT = 2000, MARGIN = 64 };

static uint64_t rng = 0x9e3779b97f4a7c15;

static uint64_t next_random(void)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return rng;
}

static unsigned char *random_bytes(size_t n)
{
	unsigned char *bytes = malloc(n);

	for (size_t i = 0; i < n; i++)
		bytes[i] = (unsigned char)(next_random() >> 56);
	return bytes;
}

static uint32_t zlib_crc32(uint32_t crc, const void *data, size_t n)
{
	return (uint32_t)crc32_z(crc, data, n);
}

static uint32_t plain_crc32c(uint32_t crc, const void *data, size_t n)
{
	static uint32_t table[256];
	const unsigned char *p = data;

	for (uint32_t i = 0; !table[255]; i++) {
		table[i] = i;
		for (int bit = 0; bit < 8; bit++)
			table[i] = table[i] >> 1 ^
				   (table[i] & 1 ? 0x82f63b78 : 0);
	}
	for (crc = ~crc; n; n--)
		crc = crc >> 8 ^ table[(crc ^ *p++) & 255];
	return ~crc;
}

/* What the implementation at hand is compared with. */
static uint32_t (*plain)(uint32_t crc, const void *data, size_t n);

/* Copy and compare; neither a byte too few nor one too many. */
static int copies(const dlf_crc_impl *impl, unsigned char *dst,
		  const unsigned char *src, size_t n, uint32_t start)
{
	memset(dst - 1, 0xa5, n + 2);
	return impl->crc32_copy(start, dst, src, n) ==
		       plain(start, src, n) &&
	       !memcmp(dst, src, n) && dst[-1] == 0xa5 && dst[n] == 0xa5;
}

static void every_short_length_and_alignment(const dlf_crc_impl *impl)
{
	unsigned char *src = random_bytes(SHORT + MARGIN);
	unsigned char *dst = malloc(SHORT + 2 * MARGIN);
	int same = 1;

	for (size_t n = 0; n <= SHORT; n++) {
		size_t shift = n % MARGIN;

		same &= impl->crc32(0, src + shift, n) ==
			plain(0, src + shift, n);
		same &= copies(impl, dst + 1 + shift, src, n, (uint32_t)n);
	}
	for (size_t from = 0; from < MARGIN; from++) {
		for (size_t to = 1; to <= MARGIN; to++) {
			size_t n = 600 + (from * 7 + to) % 300;

			same &= copies(impl, dst + to, src + from, n, 0);
		}
	}
	CHECK(same);
	free(src);
	free(dst);
}

static void large_buffers_at_every_alignment(const dlf_crc_impl *impl)
{
	const size_t n = 100777; /* streamed, where the processor can */
	const size_t huge = (5u << 20) + 5;
	unsigned char *src = random_bytes(huge);
	unsigned char *dst = malloc(huge + 2 * MARGIN);
	int same = 1;

	for (size_t shift = 0; shift < MARGIN; shift++)
		same &= copies(impl, dst + 1 + shift, src + shift * 5 % MARGIN,
			       n - shift * 13, 12345);
	same &= copies(impl, dst + 33, src + 3, huge - 3, 0);
	CHECK(same);
	free(src);
	free(dst);
}

static void the_same_in_any_pieces(const dlf_crc_impl *impl)
{
	const size_t n = 1 << 20;
	unsigned char *src = random_bytes(n), *dst = malloc(n);
	uint32_t whole = plain(0, src, n);

	for (int round = 0; round < 20; round++) {
		uint32_t crc = 0, copied = 0;

		memset(dst, 0, n);
		for (size_t at = 0; at < n;) {
			size_t limit = (size_t)64 << next_random() % 14;
			size_t part = next_random() % limit;

			if (part > n - at)
				part = n - at;
			crc = impl->crc32(crc, src + at, part);
			copied = impl->crc32_copy(copied, dst + at, src + at,
						  part);
			at += part;
		}
		CHECK_EQ(crc, whole);
		CHECK_EQ(copied, whole);
		CHECK(!memcmp(dst, src, n));
	}
	free(src);
	free(dst);
}

static void known_values(const dlf_crc_impl *impl, uint32_t of_digits,
			 uint32_t of_zeros)
{
	static unsigned char zeros[512], ones[512];

	memset(ones, 0xff, sizeof(ones));
	CHECK_EQ(impl->crc32(0, NULL, 0), 0);
	CHECK_EQ(impl->crc32(77, NULL, 0), 77);
	CHECK_EQ(impl->crc32_copy(77, NULL, NULL, 0), 77);
	CHECK_EQ(impl->crc32(0, "123456789", 9), of_digits);
	CHECK_EQ(impl->crc32(0, zeros, 32), of_zeros);
	CHECK_EQ(impl->crc32(0, ones, 512), plain(0, ones, 512));
}

static void combine_joins_two_checksums(void)
{
	unsigned char *bytes = random_bytes(5000);
	uint32_t whole = (uint32_t)crc32_z(0, bytes, 5000);
	int same = 1;

	for (size_t cut = 0; cut <= 5000; cut += 7) {
		uint32_t a = dlf_crc32(0, bytes, cut);
		uint32_t b = dlf_crc32(0, bytes + cut, 5000 - cut);

		same &= dlf_crc32_combine(a, b, 5000 - cut) == whole;
	}
	CHECK(same);
	for (int bit = 0; bit < 62; bit++) {
		uint64_t len = (uint64_t)1 << bit | bit;

		CHECK_EQ(dlf_crc32_combine(0x12345678, 0x9abcdef0, len),
			 crc32_combine64(0x12345678, 0x9abcdef0, (long)len));
	}
	free(bytes);
}

static void copying_without_a_checksum(void)
{
	const size_t sizes[] = {0, 1, 63, 4096, 65535, 65536, 1 << 20, 3000001};
	unsigned char *src = random_bytes(3100000), *dst = malloc(3100000);
	int same = 1;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		for (size_t shift = 1; shift < 66; shift += 8) {
			size_t n = sizes[i];

			memset(dst, 0xa5, n + 100);
			dlf_copy_stream(dst + shift, src + 66 - shift, n);
			same &= !memcmp(dst + shift, src + 66 - shift, n);
			same &= dst[shift - 1] == 0xa5 &&
				dst[shift + n] == 0xa5;
		}
	}
	CHECK(same);
	free(src);
	free(dst);
}

static void all_of(const dlf_crc_impl *impls, int count, uint32_t of_digits,
		   uint32_t of_zeros)
{
	CHECK(count >= 1);
	CHECK(!strcmp(impls[count - 1].name, "portable"));
	for (int i = 0; i < count; i++) {
		known_values(&impls[i], of_digits, of_zeros);
		every_short_length_and_alignment(&impls[i]);
		large_buffers_at_every_alignment(&impls[i]);
		the_same_in_any_pieces(&impls[i]);
	}
}

void test_crc(void)
{
	const dlf_crc_impl *impls, *impls_c;
	int count = dlf_crc_impls(&impls);

	plain = zlib_crc32;
	all_of(impls, count, 0xcbf43926, 0x190a55ad);
	plain = plain_crc32c; /* the values of RFC 3720, B.4 */
	CHECK_EQ(dlf_crc32c_impls(&impls_c), count);
	all_of(impls_c, count, 0xe3069283, 0x8a9136aa);
	combine_joins_two_checksums();
	copying_without_a_checksum();
}
