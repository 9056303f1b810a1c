/* SPDX-License-Identifier: Apache-2.0 */
#include "dlf_chunk.h"

#include <errno.h>
#include <string.h>
#include <zlib.h>
#ifdef DLF_HAVE_ISAL
#include <isa-l/igzip_lib.h>
#endif
#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* The most that a byte of a stream can stand for. */
#define DEFLATE_RATIO 1032
#define LZF_RATIO 88 /* three bytes repeat 264 at most */
#define ZLIB_HEADER 2
#define CHECKSUM 4

static int has(int filter, uint32_t mask)
{
	return filter >= 0 && !(mask >> filter & 1);
}

int dlf_chunk_is_packed(const dlf_packing *packing, uint32_t mask)
{
	return has(packing->deflate, mask) || has(packing->lzf, mask) ||
	       has(packing->fletcher32, mask) ||
	       (has(packing->shuffle, mask) && packing->itemsize > 1);
}

int dlf_chunk_fits(const dlf_packing *packing, uint64_t size, uint32_t mask)
{
	if (has(packing->fletcher32, mask)) {
		if (size < CHECKSUM)
			return 0;
		size -= CHECKSUM;
	}
	if (has(packing->deflate, mask))
		return size > ZLIB_HEADER &&
		       packing->nbytes / DEFLATE_RATIO <= size;
	if (has(packing->lzf, mask))
		return size && packing->nbytes / LZF_RATIO <= size;
	return size == packing->nbytes;
}

int dlf_chunk_needs_aside(const dlf_packing *packing, uint32_t mask)
{
	return has(packing->shuffle, mask) && packing->itemsize > 1 &&
	       (has(packing->deflate, mask) || has(packing->lzf, mask));
}

uint32_t dlf_fletcher32(const unsigned char *data, size_t n)
{
	uint32_t sum1 = 0, sum2 = 0;
	size_t words = n / 2;

	while (words) {
		/* so many that sum2 cannot overflow */
		size_t part = words > 360 ? 360 : words;

		words -= part;
		for (; part; part--, data += 2) {
			sum1 += (uint32_t)data[0] << 8 | data[1];
			sum2 += sum1;
		}
		sum1 = (sum1 & 0xffff) + (sum1 >> 16);
		sum2 = (sum2 & 0xffff) + (sum2 >> 16);
	}
	if (n % 2) {
		sum1 += (uint32_t)*data << 8;
		sum2 += sum1;
		sum1 = (sum1 & 0xffff) + (sum1 >> 16);
		sum2 = (sum2 & 0xffff) + (sum2 >> 16);
	}
	sum1 = (sum1 & 0xffff) + (sum1 >> 16);
	sum2 = (sum2 & 0xffff) + (sum2 >> 16);
	return sum2 << 16 | sum1;
}

/* Items [from, count) one by one. */
static void unshuffle_rest(unsigned char *dst, const unsigned char *src,
			   size_t count, size_t itemsize, size_t from)
{
	for (size_t b = 0; b < itemsize; b++)
		for (size_t i = from; i < count; i++)
			dst[i * itemsize + b] = src[b * count + i];
}

#ifdef __SSE2__
/* Sixteen items at a time: a row of each plane is read, and the rows are
 * interleaved pairwise, the far halves with the near ones, until items come out. */
static inline __attribute__((always_inline)) size_t
unshuffle_blocks(unsigned char *dst, const unsigned char *src, size_t count,
		 const size_t itemsize)
{
	__m128i a[16], b[16];
	size_t i = 0;

	for (; i + 16 <= count; i += 16) {
		for (size_t k = 0; k < itemsize; k++)
			a[k] = _mm_loadu_si128(
				(const __m128i *)(src + k * count + i));
		for (size_t step = 1; step < itemsize; step *= 2) {
			for (size_t k = 0; k < itemsize / 2; k++) {
				b[2 * k] = _mm_unpacklo_epi8(
					a[k], a[k + itemsize / 2]);
				b[2 * k + 1] = _mm_unpackhi_epi8(
					a[k], a[k + itemsize / 2]);
			}
			memcpy(a, b, sizeof(*a) * itemsize);
		}
		for (size_t k = 0; k < itemsize; k++)
			_mm_storeu_si128((__m128i *)(dst + i * itemsize) + k,
					 a[k]);
	}
	return i;
}
#endif

void dlf_unshuffle(unsigned char *dst, const unsigned char *src, size_t n,
		   size_t itemsize)
{
	size_t count = n / itemsize, done = 0;

#ifdef __SSE2__
	switch (itemsize) {
	case 2: done = unshuffle_blocks(dst, src, count, 2); break;
	case 4: done = unshuffle_blocks(dst, src, count, 4); break;
	case 8: done = unshuffle_blocks(dst, src, count, 8); break;
	case 16: done = unshuffle_blocks(dst, src, count, 16); break;
	default: break;
	}
#endif
	unshuffle_rest(dst, src, count, itemsize, done);
	memcpy(dst + count * itemsize, src + count * itemsize,
	       n - count * itemsize);
}

int dlf_unlzf(const unsigned char *src, size_t n, unsigned char *dst,
	      size_t size)
{
	const unsigned char *end = src + n;
	size_t done = 0;

	while (src < end) {
		size_t control = *src++, length = (control >> 5) + 2, back;

		if (control < 32) { /* a run of literals */
			length = control + 1;
			if (length > (size_t)(end - src) ||
			    length > size - done)
				return -1;
			memcpy(dst + done, src, length);
			src += length;
			done += length;
			continue;
		}
		if (length == 9) {
			if (src == end)
				return -1;
			length += *src++;
		}
		if (src == end)
			return -1;
		back = ((control & 31) << 8 | *src++) + 1;
		if (back > done || length > size - done)
			return -1;
		for (; length; length--, done++) /* may overlap: repeats */
			dst[done] = dst[done - back];
	}
	return done == size ? 0 : -1;
}

static uint32_t big_endian(const unsigned char *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
	       (uint32_t)p[2] << 8 | p[3];
}

static uint32_t adler(const unsigned char *data, size_t n)
{
#ifdef DLF_HAVE_ISAL
	return isal_adler32(1, data, n);
#else
	return (uint32_t)adler32_z(1, data, n);
#endif
}

/* zlib's own verdict, for the rare stream with something behind its checksum. */
static int inflate_with_zlib(const unsigned char *src, size_t n,
			     unsigned char *dst, size_t size, uint64_t address,
			     dlf_fault *fault)
{
	uLongf got = size;
	uLong used = n;

	if (uncompress2(dst, &got, src, &used) == Z_OK && got == size)
		return 0;
	return dlf_fail(fault, DLF_ECHECKSUM, address,
			"the chunk's Adler-32 does not match its bytes");
}

static int inflate_chunk(dlf_inflater **inflater, const unsigned char *src,
			 size_t n, unsigned char *dst, size_t size, int verify,
			 uint64_t address, dlf_fault *fault)
{
	int rc;

	/* RFC 1950: deflate, no preset dictionary, a header checksum */
	if (n < ZLIB_HEADER || (src[0] & 15) != 8 || src[0] >> 4 > 7 ||
	    src[1] & 32 || (src[0] << 8 | src[1]) % 31)
		return dlf_fail(fault, DLF_EFORMAT, address,
				"the chunk is no zlib stream");
	rc = *inflater ? 0 : dlf_inflater_new(NULL, inflater);
	if (!rc)
		rc = dlf_inflate_begin(*inflater, src + ZLIB_HEADER,
				       n - ZLIB_HEADER, size, fault);
	if (!rc)
		rc = dlf_inflate_read(*inflater, dst, size, fault);
	if (!rc)
		rc = dlf_inflate_end(*inflater, fault);
	if (rc == DLF_EFORMAT)
		return dlf_fail(fault, rc, address + ZLIB_HEADER + fault->offset,
				fault->what);
	if (rc)
		return dlf_fail(fault, rc, address, "cannot be inflated");
	if (!verify || (n >= ZLIB_HEADER + CHECKSUM &&
			big_endian(src + n - CHECKSUM) == adler(dst, size)))
		return 0;
	return inflate_with_zlib(src, n, dst, size, address, fault);
}

/* HDF5 before 1.6.3 stored the sum's bytes swapped in pairs, and all since accept
 * that. */
static int fletcher32_matches(const unsigned char *data, size_t n)
{
	const unsigned char *s = data + n;
	uint32_t stored = (uint32_t)s[3] << 24 | (uint32_t)s[2] << 16 |
			  (uint32_t)s[1] << 8 | s[0];
	uint32_t sum = dlf_fletcher32(data, n);
	uint32_t swapped = (sum & 0x00ff00ff) << 8 | (sum >> 8 & 0x00ff00ff);

	return stored == sum || stored == swapped;
}

int dlf_chunk_unpack(const dlf_packing *packing, dlf_inflater **inflater,
		     const unsigned char *stored, size_t size, uint32_t mask,
		     int verify, unsigned char *aside, unsigned char *raw,
		     uint64_t address, dlf_fault *fault)
{
	int shuffled = has(packing->shuffle, mask) && packing->itemsize > 1;
	unsigned char *to = shuffled ? aside : raw;
	const unsigned char *from = to;
	int rc = 0;

	if (has(packing->fletcher32, mask)) {
		size -= CHECKSUM;
		if (verify && !fletcher32_matches(stored, size))
			return dlf_fail(fault, DLF_ECHECKSUM, address,
					"the chunk's fletcher32 does not "
					"match its bytes");
	}
	if (has(packing->deflate, mask))
		rc = inflate_chunk(inflater, stored, size, to, packing->nbytes,
				   verify, address, fault);
	else if (!has(packing->lzf, mask))
		from = stored;
	else if (dlf_unlzf(stored, size, to, packing->nbytes))
		rc = dlf_fail(fault, DLF_EFORMAT, address,
			      "the chunk's LZF data are corrupt");
	if (rc)
		return rc;
	if (shuffled)
		dlf_unshuffle(raw, from, packing->nbytes, packing->itemsize);
	else if (from != raw)
		memcpy(raw, from, packing->nbytes);
	return 0;
}
