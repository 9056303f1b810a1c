/* SPDX-License-Identifier: Apache-2.0
 *
 * Inflating: every backend against what zlib deflated, in any pieces, and
 * against streams that lie.  Input and output end at an unreadable page, which
 * tells of what a sanitizer does not see in a library.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

#include "check.h"
#include "dlf_inflate.h"

#define MEMBER_MAX ((size_t)300000)
enum { SMALL = 900, SMALL_ROOM = 2000 };

static uint64_t next_random(void)
{
	static uint64_t rng = 0x9e3779b97f4a7c15;

	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return rng;
}

/* ---- memory that ends where a page begins that must not be touched ---- */

typedef struct fence {
	unsigned char *map;
	size_t size;
} fence;

static fence fence_new(size_t room)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	fence f;

	f.size = (room + page - 1) / page * page;
	f.map = mmap(NULL, f.size + page, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (f.map == MAP_FAILED || mprotect(f.map + f.size, page, PROT_NONE))
		abort();
	return f;
}

static unsigned char *fence_last(const fence *f, size_t n)
{
	return f->map + f->size - n;
}

static void fence_free(fence *f)
{
	munmap(f->map, f->size + (size_t)sysconf(_SC_PAGESIZE));
}

static fence src_room, dst_room;

/* ---- streams ---- */

enum contents { ZEROS, RANDOM, DIGITS, FAR_REPEATS, CONTENTS };

static void make_contents(unsigned char *p, size_t n, enum contents contents)
{
	for (size_t i = 0; i < n; i++) {
		if (contents == ZEROS)
			p[i] = 0;
		else if (contents == DIGITS)
			p[i] = (unsigned char)(next_random() >> 60);
		else if (contents == FAR_REPEATS && i >= 32768)
			p[i] = p[i - 32768]; /* the longest distance there is */
		else
			p[i] = (unsigned char)(next_random() >> 56);
	}
}

static size_t deflate_raw(unsigned char *dst, size_t room,
			  const unsigned char *src, size_t n, int level,
			  int strategy, int flush_halfway)
{
	z_stream z = {0};

	if (deflateInit2(&z, level, Z_DEFLATED, -15, 8, strategy) != Z_OK)
		abort();
	z.next_in = (Bytef *)(uintptr_t)src;
	z.next_out = dst;
	z.avail_out = (uInt)room;
	z.avail_in = (uInt)n;
	if (flush_halfway) {
		z.avail_in = (uInt)(n / 2);
		deflate(&z, Z_FULL_FLUSH);
		z.avail_in = (uInt)(n - n / 2);
		deflate(&z, Z_SYNC_FLUSH); /* an empty block at the end */
	}
	if (deflate(&z, Z_FINISH) != Z_STREAM_END)
		abort();
	deflateEnd(&z);
	return room - z.avail_out;
}

/* The whole member in reads of at most max_piece bytes (0: all at once). */
static int inflate_member(dlf_inflater *inf, const unsigned char *src,
			  size_t src_len, unsigned char *dst, size_t n,
			  size_t max_piece, dlf_fault *fault)
{
	int ret = dlf_inflate_begin(inf, src, src_len, n, fault);

	for (size_t at = 0; !ret && at < n;) {
		size_t len = max_piece ? next_random() % (max_piece + 1) : n;

		len = len < n - at ? len : n - at;
		ret = dlf_inflate_read(inf, dst + at, len, fault);
		at += len;
	}
	return ret ? ret : dlf_inflate_end(inf, fault);
}

/* ---- what must work ---- */

static void round_trip(dlf_inflater *inf, const unsigned char *plain, size_t n,
		       const unsigned char *packed, size_t packed_len)
{
	const size_t pieces[] = {0, 1000, 70000};
	unsigned char *src = fence_last(&src_room, packed_len);
	unsigned char *dst = fence_last(&dst_room, n);

	memcpy(src, packed, packed_len);
	for (size_t i = 0; i < 3; i++) {
		dlf_fault fault = {0};

		memset(dst, 0xa5, n);
		CHECK_EQ(inflate_member(inf, src, packed_len, dst, n, pieces[i],
					&fault), 0);
		CHECK_EQ(fault.code, 0);
		CHECK(!memcmp(dst, plain, n));
	}
}

static void whatever_zlib_deflates(dlf_inflater *inf)
{
	static const size_t sizes[] = {0, 1, 2, 100, 65535, 65536, MEMBER_MAX};
	static const struct {
		int level, strategy, flush_halfway;
	} ways[] = {
		{0, Z_DEFAULT_STRATEGY, 0}, {1, Z_DEFAULT_STRATEGY, 0},
		{6, Z_DEFAULT_STRATEGY, 0}, {9, Z_DEFAULT_STRATEGY, 0},
		{6, Z_FIXED, 0},            {6, Z_HUFFMAN_ONLY, 0},
		{6, Z_RLE, 0},              {6, Z_DEFAULT_STRATEGY, 1},
	};
	size_t room = 2 * MEMBER_MAX + 1000;
	unsigned char *plain = malloc(MEMBER_MAX), *packed = malloc(room);

	for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
		for (int c = 0; c < CONTENTS; c++) {
			make_contents(plain, sizes[s], c);
			for (size_t w = 0; w < sizeof(ways) / sizeof(ways[0]);
			     w++) {
				size_t len = deflate_raw(
					packed, room, plain, sizes[s],
					ways[w].level, ways[w].strategy,
					ways[w].flush_halfway);
				round_trip(inf, plain, sizes[s], packed, len);
			}
		}
	}
	free(plain);
	free(packed);
}

/* A small stream of all three kinds of block: dynamic, stored, fixed. */
static size_t small_stream(unsigned char *plain, size_t n,
			   unsigned char *packed, size_t room)
{
	z_stream z = {0};

	make_contents(plain, n, DIGITS);
	make_contents(plain + n / 3, n / 3, RANDOM);
	if (deflateInit2(&z, 9, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY) != Z_OK)
		abort();
	z.next_in = plain;
	z.next_out = packed;
	z.avail_out = (uInt)room;
	z.avail_in = (uInt)(n / 3);
	deflate(&z, Z_BLOCK);
	z.avail_in = (uInt)(n / 3);
	deflate(&z, Z_BLOCK);
	deflateParams(&z, 9, Z_FIXED);
	z.avail_in = (uInt)(n - n / 3 * 2);
	if (deflate(&z, Z_FINISH) != Z_STREAM_END)
		abort();
	deflateEnd(&z);
	return room - z.avail_out;
}

/* ---- what must fail, and only that ---- */

static void a_stream_cut_anywhere_is_refused(dlf_inflater *inf)
{
	unsigned char plain[SMALL], packed[SMALL_ROOM];
	size_t len = small_stream(plain, SMALL, packed, SMALL_ROOM);
	unsigned char *dst = fence_last(&dst_room, SMALL);
	int refused = 1;

	for (size_t cut = 0; cut < len; cut++) {
		unsigned char *src = fence_last(&src_room, cut);

		memcpy(src, packed, cut);
		for (size_t piece = 0; piece < 60; piece += 29) {
			dlf_fault fault = {0};

			refused &= inflate_member(inf, src, cut, dst, SMALL,
						  piece, &fault) == DLF_EFORMAT;
			refused &= fault.code == DLF_EFORMAT &&
				   fault.offset <= cut;
		}
	}
	CHECK(refused);
	round_trip(inf, plain, SMALL, packed, len); /* none the worse for it */
}

static void a_declared_size_off_by_one_is_refused(dlf_inflater *inf)
{
	static const size_t sizes[] = {1, 2, SMALL, MEMBER_MAX - 1};
	size_t room = 2 * MEMBER_MAX + 1000;
	unsigned char *plain = malloc(MEMBER_MAX), *packed = malloc(room);

	for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
		size_t n = sizes[s], len;
		unsigned char *src, *dst = fence_last(&dst_room, n + 1);
		dlf_fault fault;

		make_contents(plain, n, DIGITS);
		len = deflate_raw(packed, room, plain, n, 6,
				  Z_DEFAULT_STRATEGY, 0);
		src = fence_last(&src_room, len);
		memcpy(src, packed, len);
		for (size_t piece = 0; piece < 2000; piece += 999) {
			CHECK_EQ(inflate_member(inf, src, len, dst, n + 1,
						piece, &fault), DLF_EFORMAT);
			CHECK_EQ(inflate_member(inf, src, len, dst + 2, n - 1,
						piece, &fault), DLF_EFORMAT);
		}
	}
	free(plain);
	free(packed);
}

/* With one bit wrong a stream may still be one, of other contents (the caller's
 * checksum sees to that): then every backend must agree with zlib on them. */
static void a_wrong_bit_never_harms(dlf_inflater *inf, dlf_inflater *zlib)
{
	static unsigned char plain[SMALL], packed[SMALL_ROOM], other[SMALL];
	size_t len = small_stream(plain, SMALL, packed, SMALL_ROOM);
	unsigned char *src = fence_last(&src_room, len);
	unsigned char *dst = fence_last(&dst_room, SMALL);
	int agree = 1, accepted = 0;

	for (size_t bit = 0; bit < len * 8; bit++) {
		dlf_fault fault = {0};
		int ours;

		memcpy(src, packed, len);
		src[bit / 8] ^= 1 << bit % 8;
		ours = inflate_member(inf, src, len, dst, SMALL, bit % 3 * 200,
				      &fault);
		CHECK(ours == 0 || ours == DLF_EFORMAT);
		CHECK_EQ(fault.code, ours);
		agree &= ours == inflate_member(zlib, src, len, other, SMALL, 0,
						NULL);
		agree &= ours || !memcmp(dst, other, SMALL);
		accepted += !ours;
	}
	CHECK(agree && accepted > 0 && (size_t)accepted < len * 8);
}

static void garbage_never_harms(dlf_inflater *inf)
{
	size_t room = 2 * MEMBER_MAX, len;
	unsigned char *plain = malloc(MEMBER_MAX), *packed = malloc(room);
	int sane = 1;

	make_contents(plain, 60000, DIGITS);
	len = deflate_raw(packed, room, plain, 60000, 6, Z_DEFAULT_STRATEGY, 0);
	for (int round = 0; round < 400; round++) {
		size_t cut = round % 2 ? len : 20 + next_random() % (len - 20);
		unsigned char *src = fence_last(&src_room, cut);
		unsigned char *dst = fence_last(&dst_room, 10000);
		int ret;

		memcpy(src, packed, cut);
		for (int hit = 0; hit < 3; hit++)
			src[next_random() % cut] = (unsigned char)next_random();
		if (round % 10 == 0)
			make_contents(src, cut, RANDOM);
		ret = inflate_member(inf, src, cut, dst, 10000, 3000, NULL);
		sane &= ret == 0 || ret == DLF_EFORMAT;
	}
	CHECK(sane);
	free(plain);
	free(packed);
}

static void an_impossible_claim_is_refused_at_once(dlf_inflater *inf)
{
	static const unsigned char zeros[10];
	dlf_fault fault = {0};

	CHECK_EQ(dlf_inflate_begin(inf, zeros, 10, 10321, &fault), DLF_EFORMAT);
	CHECK_EQ(fault.code, DLF_EFORMAT);
	CHECK_EQ(dlf_inflate_begin(inf, zeros, 10, UINT64_MAX, NULL),
		 DLF_EFORMAT);
	CHECK_EQ(dlf_inflate_begin(inf, zeros, 0, 1, NULL), DLF_EFORMAT);
	CHECK_EQ(dlf_inflate_begin(inf, zeros, 10, 10320, NULL), 0);
	CHECK_EQ(dlf_inflate_begin(inf, NULL, 0, 0, NULL), 0);
	CHECK_EQ(dlf_inflate_end(inf, NULL), DLF_EFORMAT);
}

static void bytes_after_the_stream_are_let_pass(dlf_inflater *inf)
{
	unsigned char plain[SMALL], packed[SMALL_ROOM], dst[SMALL];
	size_t len = small_stream(plain, SMALL, packed, SMALL_ROOM);

	memset(packed + len, 0xff, SMALL_ROOM - len);
	CHECK_EQ(inflate_member(inf, packed, SMALL_ROOM, dst, SMALL, 0, NULL),
		 0);
	CHECK(!memcmp(dst, plain, SMALL));
}

static void misuse_is_told_from_bad_data(const char *backend)
{
	unsigned char plain[SMALL], packed[SMALL_ROOM], dst[SMALL + 1];
	size_t len = small_stream(plain, SMALL, packed, SMALL_ROOM);
	dlf_inflater *inf;

	CHECK_EQ(dlf_inflater_new(backend, &inf), 0);
	CHECK_EQ(dlf_inflate_read(inf, dst, 1, NULL), -EINVAL);
	CHECK_EQ(dlf_inflate_end(inf, NULL), -EINVAL);
	CHECK_EQ(dlf_inflate_begin(inf, packed, len, SMALL, NULL), 0);
	CHECK_EQ(dlf_inflate_read(inf, dst, SMALL + 1, NULL), -EINVAL);
	CHECK_EQ(dlf_inflate_end(inf, NULL), -EINVAL);
	CHECK_EQ(dlf_inflate_read(inf, NULL, 0, NULL), 0);
	CHECK_EQ(dlf_inflate_read(inf, dst, SMALL, NULL), 0);
	CHECK_EQ(dlf_inflate_read(inf, dst, 1, NULL), -EINVAL);
	CHECK_EQ(dlf_inflate_end(inf, NULL), 0);
	CHECK(!memcmp(dst, plain, SMALL));

	/* A member given up halfway does not spoil the next. */
	CHECK_EQ(dlf_inflate_begin(inf, packed, len, SMALL, NULL), 0);
	CHECK_EQ(dlf_inflate_read(inf, dst, 100, NULL), 0);
	CHECK_EQ(inflate_member(inf, packed, len, dst, SMALL, 50, NULL), 0);
	CHECK(!memcmp(dst, plain, SMALL));
	dlf_inflater_free(inf);
}

static void a_failure_lasts_until_the_next_member(dlf_inflater *inf)
{
	static const unsigned char reserved_block[4] = {7};
	dlf_fault first = {0}, again = {0};
	unsigned char dst[8];

	CHECK_EQ(dlf_inflate_begin(inf, reserved_block, 4, 8, NULL), 0);
	CHECK_EQ(dlf_inflate_read(inf, dst, 8, &first), DLF_EFORMAT);
	CHECK_EQ(dlf_inflate_read(inf, dst, 8, &again), DLF_EFORMAT);
	CHECK_EQ(dlf_inflate_end(inf, NULL), DLF_EFORMAT);
	CHECK(again.what == first.what && first.what);
}

void test_inflate(void)
{
	const char *const *names = dlf_inflate_backends();
	dlf_inflater *inf = NULL, *zlib;
	int count = 0;

	CHECK_EQ(dlf_inflater_new("none such", &inf), -EINVAL);
	CHECK(inf == NULL);
	dlf_inflater_free(NULL);
	CHECK_EQ(dlf_inflater_new("zlib", &zlib), 0);
	src_room = fence_new(2 * MEMBER_MAX + 1000);
	dst_room = fence_new(MEMBER_MAX + 1);
	for (; names[count]; count++) {
		CHECK_EQ(dlf_inflater_new(names[count], &inf), 0);
		whatever_zlib_deflates(inf);
		a_stream_cut_anywhere_is_refused(inf);
		a_declared_size_off_by_one_is_refused(inf);
		a_wrong_bit_never_harms(inf, zlib);
		garbage_never_harms(inf);
		an_impossible_claim_is_refused_at_once(inf);
		bytes_after_the_stream_are_let_pass(inf);
		misuse_is_told_from_bad_data(names[count]);
		a_failure_lasts_until_the_next_member(inf);
		dlf_inflater_free(inf);
	}
	CHECK(count >= 1 && !strcmp(names[count - 1], "zlib"));
	fence_free(&src_room);
	fence_free(&dst_room);
	dlf_inflater_free(zlib);
}
