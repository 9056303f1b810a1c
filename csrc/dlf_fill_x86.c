/* SPDX-License-Identifier: Apache-2.0
 *
 * The fill's step with the eight generators in registers of 32 or 64 bytes.
 * The float conversions are exact, so that rounding has no say in the bytes.
 */
#include "dlf_fill_impl.h"

#ifdef DLF_FILL_X86

#include <immintrin.h>

#define INLINE_FOR(isa)                                                        \
	static inline __attribute__((always_inline, target(isa)))
#define AVX2 "avx2"
#define AVX512 "avx2,avx512f,avx512dq,avx512bw"
#define XOR3 0x96 /* truth table of a ^ b ^ c */

/* ---- 32 bytes a register: lanes 0-3 and 4-7 ---- */

INLINE_FOR(AVX2) __m256i rotl256(__m256i x, int k)
{
	return _mm256_or_si256(_mm256_slli_epi64(x, k),
			       _mm256_srli_epi64(x, 64 - k));
}

/* No instruction converts 64-bit integers: the halves go into the mantissas of
 * 2^84 + high x 2^32 and 2^52 + low, whose sum less the constants is exact. */
INLINE_FOR(AVX2) __m256d u53_to_double(__m256i u)
{
	const __m256i high_one = _mm256_set1_epi64x(0x4530000000000000);
	const __m256i low_one = _mm256_set1_epi64x(0x4330000000000000);
	__m256i high = _mm256_or_si256(_mm256_srli_epi64(u, 32), high_one);
	__m256i low = _mm256_blend_epi32(u, low_one, 0xaa);
	__m256d t = _mm256_sub_pd(_mm256_castsi256_pd(high),
				  _mm256_set1_pd(0x1p84 + 0x1p52));

	return _mm256_add_pd(t, _mm256_castsi256_pd(low));
}

INLINE_FOR(AVX2) __m256i half_bits256(__m256i u11)
{
	__m256 value = _mm256_mul_ps(_mm256_cvtepi32_ps(u11),
				     _mm256_set1_ps(0x1p-123f));

	return _mm256_srli_epi32(_mm256_castps_si256(value), 13);
}

INLINE_FOR(AVX2) __m256i shape256(__m256i u, enum dlf_fill_kind kind)
{
	const __m256i zero = _mm256_setzero_si256();
	__m256i t;

	switch (kind) {
	case DLF_FILL_F64:
		return _mm256_castpd_si256(_mm256_mul_pd(
			u53_to_double(_mm256_srli_epi64(u, 11)),
			_mm256_set1_pd(0x1p-53)));
	case DLF_FILL_F32:
		return _mm256_castps_si256(_mm256_mul_ps(
			_mm256_cvtepi32_ps(_mm256_srli_epi32(u, 8)),
			_mm256_set1_ps(0x1p-24f)));
	case DLF_FILL_F16:
		t = _mm256_srli_epi16(u, 5);
		return _mm256_packus_epi32(
			half_bits256(_mm256_unpacklo_epi16(t, zero)),
			half_bits256(_mm256_unpackhi_epi16(t, zero)));
	case DLF_FILL_BOOL:
		return _mm256_and_si256(u, _mm256_set1_epi8(1));
	case DLF_FILL_BYTES:
		break;
	}
	return u;
}

/* One step of four generators; returns their output. */
INLINE_FOR(AVX2) __m256i step256(__m256i s[4])
{
	__m256i result = _mm256_add_epi64(
		rotl256(_mm256_add_epi64(s[0], s[3]), 23), s[0]);
	__m256i t = _mm256_slli_epi64(s[1], 17);

	s[2] = _mm256_xor_si256(s[2], s[0]);
	s[3] = _mm256_xor_si256(s[3], s[1]);
	s[1] = _mm256_xor_si256(s[1], s[2]);
	s[0] = _mm256_xor_si256(s[0], s[3]);
	s[2] = _mm256_xor_si256(s[2], t);
	s[3] = rotl256(s[3], 45);
	return result;
}

INLINE_FOR(AVX2) void run_avx2(dlf_fill_state *state, unsigned char *dst,
			       size_t blocks, enum dlf_fill_kind kind)
{
	__m256i a[4], b[4];

	for (int i = 0; i < 4; i++) {
		a[i] = _mm256_load_si256((__m256i *)&state->s[i][0]);
		b[i] = _mm256_load_si256((__m256i *)&state->s[i][4]);
	}
	for (; blocks; blocks--) {
		__m256i x = step256(a), y = step256(b);

		if (dst) {
			_mm256_storeu_si256((__m256i *)dst, shape256(x, kind));
			_mm256_storeu_si256((__m256i *)(dst + 32),
					    shape256(y, kind));
			dst += DLF_FILL_BLOCK;
		}
	}
	for (int i = 0; i < 4; i++) {
		_mm256_store_si256((__m256i *)&state->s[i][0], a[i]);
		_mm256_store_si256((__m256i *)&state->s[i][4], b[i]);
	}
}

/* ---- 64 bytes a register: all eight lanes ---- */

INLINE_FOR(AVX512) __m512i half_bits512(__m512i u11)
{
	__m512 value = _mm512_mul_ps(_mm512_cvtepi32_ps(u11),
				     _mm512_set1_ps(0x1p-123f));

	return _mm512_srli_epi32(_mm512_castps_si512(value), 13);
}

INLINE_FOR(AVX512) __m512i shape512(__m512i u, enum dlf_fill_kind kind)
{
	const __m512i zero = _mm512_setzero_si512();
	__m512i t;

	switch (kind) {
	case DLF_FILL_F64:
		return _mm512_castpd_si512(_mm512_mul_pd(
			_mm512_cvtepi64_pd(_mm512_srli_epi64(u, 11)),
			_mm512_set1_pd(0x1p-53)));
	case DLF_FILL_F32:
		return _mm512_castps_si512(_mm512_mul_ps(
			_mm512_cvtepi32_ps(_mm512_srli_epi32(u, 8)),
			_mm512_set1_ps(0x1p-24f)));
	case DLF_FILL_F16:
		t = _mm512_srli_epi16(u, 5);
		return _mm512_packus_epi32(
			half_bits512(_mm512_unpacklo_epi16(t, zero)),
			half_bits512(_mm512_unpackhi_epi16(t, zero)));
	case DLF_FILL_BOOL:
		return _mm512_and_si512(u, _mm512_set1_epi8(1));
	case DLF_FILL_BYTES:
		break;
	}
	return u;
}

INLINE_FOR(AVX512) __m512i step512(__m512i s[4])
{
	__m512i result = _mm512_add_epi64(
		_mm512_rol_epi64(_mm512_add_epi64(s[0], s[3]), 23), s[0]);
	__m512i t = _mm512_slli_epi64(s[1], 17);
	__m512i s2 = _mm512_ternarylogic_epi64(s[2], s[0], t, XOR3);

	s[3] = _mm512_xor_si512(s[3], s[1]);
	s[1] = _mm512_ternarylogic_epi64(s[1], s[2], s[0], XOR3);
	s[0] = _mm512_xor_si512(s[0], s[3]);
	s[2] = s2;
	s[3] = _mm512_rol_epi64(s[3], 45);
	return result;
}

INLINE_FOR(AVX512) void run_avx512(dlf_fill_state *state, unsigned char *dst,
				   size_t blocks, enum dlf_fill_kind kind)
{
	__m512i s[4];

	for (int i = 0; i < 4; i++)
		s[i] = _mm512_load_si512(state->s[i]);
	for (; blocks; blocks--) {
		__m512i x = step512(s);

		if (dst) {
			_mm512_storeu_si512(dst, shape512(x, kind));
			dst += DLF_FILL_BLOCK;
		}
	}
	for (int i = 0; i < 4; i++)
		_mm512_store_si512(state->s[i], s[i]);
}

/* ---- the entries: one loop a kind, so that the choice is made once ---- */

#define DEFINE(name, isa)                                                      \
	__attribute__((target(isa))) void dlf_fill_blocks_##name(              \
		dlf_fill_state *state, unsigned char *dst, size_t blocks,      \
		enum dlf_fill_kind kind)                                       \
	{                                                                      \
		if (!dst)                                                      \
			run_##name(state, NULL, blocks, DLF_FILL_BYTES);       \
		else if (kind == DLF_FILL_F64)                                 \
			run_##name(state, dst, blocks, DLF_FILL_F64);          \
		else if (kind == DLF_FILL_F32)                                 \
			run_##name(state, dst, blocks, DLF_FILL_F32);          \
		else if (kind == DLF_FILL_F16)                                 \
			run_##name(state, dst, blocks, DLF_FILL_F16);          \
		else if (kind == DLF_FILL_BOOL)                                \
			run_##name(state, dst, blocks, DLF_FILL_BOOL);         \
		else                                                           \
			run_##name(state, dst, blocks, DLF_FILL_BYTES);        \
	}

DEFINE(avx2, AVX2)
DEFINE(avx512, AVX512)

#endif
