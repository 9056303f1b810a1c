/* SPDX-License-Identifier: Apache-2.0
 *
 * Private to the crc room.
 *
 * The checksum by carry-less multiplication: four registers of 16, 32 or 64
 * bytes run down the data side by side, each multiplied at every step by the
 * power of x (modulo the polynomial) that carries it to its next place; at the
 * end they are folded into one of 16 bytes, and that into 32 bits.
 *
 * In the bit-reflected domain the factors that carry a 128-bit register over D
 * bits are x^(D+32) for its low and x^(D-32) for its high half.
 *
 * Whoever includes this defines CRC(part), the name of a function; FOLD_D, these
 * factors for D = 128 ... 2048; FOLD_64, which is x^64; and CRC_POLY_MU, the
 * polynomial and the quotient of x^64 by it, for Barrett's division.
 */
#include <immintrin.h>

#define INLINE_FOR(isa)                                                        \
	static inline __attribute__((always_inline, target(isa)))
#define SSE "sse4.1,pclmul"
#define AVX2 SSE ",avx2,vpclmulqdq"
#define AVX512 AVX2 ",avx512f,avx512vl"

/* What becomes of the bytes besides the checksum.  STREAM wants dst on a
 * register's boundary. */
enum mode { ONLY_CRC, STORE, STREAM };

/* ---- 16 bytes a register ---- */

INLINE_FOR(SSE) __m128i pair128(long long low, long long high)
{
	return _mm_set_epi64x(high, low);
}

INLINE_FOR(SSE) __m128i fold128(__m128i x, __m128i k, __m128i next)
{
	__m128i low = _mm_clmulepi64_si128(x, k, 0x00);
	__m128i high = _mm_clmulepi64_si128(x, k, 0x11);

	return _mm_xor_si128(_mm_xor_si128(low, high), next);
}

INLINE_FOR(SSE) __m128i take128(unsigned char *dst, const unsigned char *src,
				size_t at, enum mode mode)
{
	__m128i v = _mm_loadu_si128((const __m128i *)(src + at));

	if (mode == STORE)
		_mm_storeu_si128((__m128i *)(dst + at), v);
	else if (mode == STREAM)
		_mm_stream_si128((__m128i *)(dst + at), v);
	return v;
}

/* 128 bits to the 32 of the checksum register: x^32 (so that the register's
 * own 32 bits count), then Barrett's division by the polynomial. */
INLINE_FOR(SSE) uint32_t reduce128(__m128i x)
{
	const __m128i low32 = _mm_set_epi32(0, 0, 0, -1);
	const __m128i fold64 = pair128(FOLD_64, 0);
	const __m128i poly_mu = pair128(CRC_POLY_MU);
	__m128i t;

	t = _mm_clmulepi64_si128(x, pair128(FOLD_128), 0x10);
	x = _mm_xor_si128(_mm_srli_si128(x, 8), t);
	t = _mm_clmulepi64_si128(_mm_and_si128(x, low32), fold64, 0x00);
	x = _mm_xor_si128(_mm_srli_si128(x, 4), t);
	t = _mm_clmulepi64_si128(_mm_and_si128(x, low32), poly_mu, 0x10);
	t = _mm_clmulepi64_si128(_mm_and_si128(t, low32), poly_mu, 0x00);
	return (uint32_t)_mm_extract_epi32(_mm_xor_si128(x, t), 1);
}

/* The bytes from at on, where x stands for all before. */
INLINE_FOR(SSE) uint32_t finish(__m128i x, unsigned char *dst,
				const unsigned char *src, size_t at, size_t n,
				enum mode mode)
{
	const __m128i k = pair128(FOLD_128);
	uint32_t crc;

	for (; n - at >= 16; at += 16)
		x = fold128(x, k, take128(dst, src, at, mode));
	crc = ~reduce128(x);
	if (mode == ONLY_CRC)
		return CRC(_portable)(crc, src + at, n - at);
	return CRC(_copy_portable)(crc, dst + at, src + at, n - at);
}

/* n >= 64 */
INLINE_FOR(SSE) uint32_t run_sse(uint32_t crc, unsigned char *dst,
				 const unsigned char *src, size_t n,
				 enum mode mode)
{
	const __m128i k = pair128(FOLD_512), next = pair128(FOLD_128);
	__m128i a = take128(dst, src, 0, mode);
	__m128i b = take128(dst, src, 16, mode);
	__m128i c = take128(dst, src, 32, mode);
	__m128i d = take128(dst, src, 48, mode);
	size_t at;

	a = _mm_xor_si128(a, _mm_cvtsi32_si128((int)~crc));
	for (at = 64; n - at >= 64; at += 64) {
		a = fold128(a, k, take128(dst, src, at, mode));
		b = fold128(b, k, take128(dst, src, at + 16, mode));
		c = fold128(c, k, take128(dst, src, at + 32, mode));
		d = fold128(d, k, take128(dst, src, at + 48, mode));
	}
	d = fold128(fold128(fold128(a, next, b), next, c), next, d);
	return finish(d, dst, src, at, n, mode);
}

/* ---- 32 bytes a register ---- */

INLINE_FOR(AVX2) __m256i pair256(long long low, long long high)
{
	return _mm256_set_epi64x(high, low, high, low);
}

INLINE_FOR(AVX2) __m256i fold256(__m256i x, __m256i k, __m256i next)
{
	__m256i low = _mm256_clmulepi64_epi128(x, k, 0x00);
	__m256i high = _mm256_clmulepi64_epi128(x, k, 0x11);

	return _mm256_xor_si256(_mm256_xor_si256(low, high), next);
}

INLINE_FOR(AVX2) __m256i take256(unsigned char *dst, const unsigned char *src,
				 size_t at, enum mode mode)
{
	__m256i v = _mm256_loadu_si256((const __m256i *)(src + at));

	if (mode == STORE)
		_mm256_storeu_si256((__m256i *)(dst + at), v);
	else if (mode == STREAM)
		_mm256_stream_si256((__m256i *)(dst + at), v);
	return v;
}

/* n >= 128 */
INLINE_FOR(AVX2) uint32_t run_avx2(uint32_t crc, unsigned char *dst,
				   const unsigned char *src, size_t n,
				   enum mode mode)
{
	const __m256i k = pair256(FOLD_1024), next = pair256(FOLD_256);
	__m256i a = take256(dst, src, 0, mode);
	__m256i b = take256(dst, src, 32, mode);
	__m256i c = take256(dst, src, 64, mode);
	__m256i d = take256(dst, src, 96, mode);
	__m128i x;
	size_t at;

	a = _mm256_xor_si256(a, _mm256_set_epi32(0, 0, 0, 0, 0, 0, 0,
						 (int)~crc));
	for (at = 128; n - at >= 128; at += 128) {
		a = fold256(a, k, take256(dst, src, at, mode));
		b = fold256(b, k, take256(dst, src, at + 32, mode));
		c = fold256(c, k, take256(dst, src, at + 64, mode));
		d = fold256(d, k, take256(dst, src, at + 96, mode));
	}
	d = fold256(fold256(fold256(a, next, b), next, c), next, d);
	x = fold128(_mm256_castsi256_si128(d), pair128(FOLD_128),
		    _mm256_extracti128_si256(d, 1));
	return finish(x, dst, src, at, n, mode);
}

/* ---- 64 bytes a register ---- */

INLINE_FOR(AVX512) __m512i pair512(long long low, long long high)
{
	return _mm512_set_epi64(high, low, high, low, high, low, high, low);
}

INLINE_FOR(AVX512) __m512i fold512(__m512i x, __m512i k, __m512i next)
{
	__m512i low = _mm512_clmulepi64_epi128(x, k, 0x00);
	__m512i high = _mm512_clmulepi64_epi128(x, k, 0x11);

	return _mm512_ternarylogic_epi64(low, high, next, 0x96); /* xor */
}

INLINE_FOR(AVX512) __m512i take512(unsigned char *dst, const unsigned char *src,
				   size_t at, enum mode mode)
{
	__m512i v = _mm512_loadu_si512(src + at);

	if (mode == STORE)
		_mm512_storeu_si512(dst + at, v);
	else if (mode == STREAM)
		_mm512_stream_si512((__m512i *)(dst + at), v);
	return v;
}

/* n >= 256 */
INLINE_FOR(AVX512) uint32_t run_avx512(uint32_t crc, unsigned char *dst,
				       const unsigned char *src, size_t n,
				       enum mode mode)
{
	const __m512i k = pair512(FOLD_2048), next = pair512(FOLD_512);
	__m512i a = take512(dst, src, 0, mode);
	__m512i b = take512(dst, src, 64, mode);
	__m512i c = take512(dst, src, 128, mode);
	__m512i d = take512(dst, src, 192, mode);
	const __m128i step = pair128(FOLD_128);
	__m128i x;
	size_t at;

	a = _mm512_xor_si512(a, _mm512_zextsi128_si512(
					_mm_cvtsi32_si128((int)~crc)));
	for (at = 256; n - at >= 256; at += 256) {
		a = fold512(a, k, take512(dst, src, at, mode));
		b = fold512(b, k, take512(dst, src, at + 64, mode));
		c = fold512(c, k, take512(dst, src, at + 128, mode));
		d = fold512(d, k, take512(dst, src, at + 192, mode));
	}
	d = fold512(fold512(fold512(a, next, b), next, c), next, d);
	x = _mm512_castsi512_si128(d);
	x = fold128(x, step, _mm512_extracti32x4_epi32(d, 1));
	x = fold128(x, step, _mm512_extracti32x4_epi32(d, 2));
	x = fold128(x, step, _mm512_extracti32x4_epi32(d, 3));
	return finish(x, dst, src, at, n, mode);
}

/* ---- the six entries ---- */

/* Bytes to the next cache line: what goes before the streaming stores. */
static size_t misaligned(const void *dst)
{
	return -(uintptr_t)dst & 63;
}

/* What is too short for one goes to the next smaller. */
#define DEFINE(name, isa, min, smaller)                                        \
	__attribute__((target(isa))) uint32_t CRC(_##name)(                    \
		uint32_t crc, const void *data, size_t n)                      \
	{                                                                      \
		if (n < (min))                                                 \
			return CRC(_##smaller)(crc, data, n);                  \
		return run_##name(crc, NULL, data, n, ONLY_CRC);               \
	}                                                                      \
                                                                               \
	__attribute__((target(isa))) uint32_t CRC(_copy_##name)(               \
		uint32_t crc, void *dst, const void *src, size_t n)            \
	{                                                                      \
		unsigned char *to = dst;                                       \
		const unsigned char *from = src;                               \
		size_t head;                                                   \
                                                                               \
		if (n < (min))                                                 \
			return CRC(_copy_##smaller)(crc, to, from, n);         \
		if (n < DLF_STREAM_MIN)                                        \
			return run_##name(crc, to, from, n, STORE);            \
		head = misaligned(to);                                         \
		crc = CRC(_copy_portable)(crc, to, from, head);                \
		crc = run_##name(crc, to + head, from + head, n - head,        \
				 STREAM);                                      \
		_mm_sfence();                                                  \
		return crc;                                                    \
	}

DEFINE(sse, SSE, 64, portable)
DEFINE(avx2, AVX2, 128, sse)
DEFINE(avx512, AVX512, 256, avx2)
