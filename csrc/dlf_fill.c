/* SPDX-License-Identifier: Apache-2.0
 *
 * Seeding, the walk over chunks, the portable step and the choice of the
 * fastest one.
 */
#include <stdatomic.h>
#include <string.h>

#include "dlf_fill.h"
#include "dlf_fill_impl.h"

/* ---- seeding ---- */

#define GOLDEN 0x9e3779b97f4a7c15 /* splitmix64's increment */

/* The finaliser of splitmix64, a bijection. */
static inline uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}

/* Two keys a chunk, not one: with billions of chunks, 64 bits would let two of
 * them collide. */
static void seed_state(dlf_fill_state *state, uint64_t seed, uint64_t stream,
		       uint64_t chunk)
{
	uint64_t a = mix(mix(mix(seed + GOLDEN) + stream) + chunk);
	uint64_t b = mix(mix(mix(~seed - GOLDEN) ^ stream) ^ chunk);

	for (int lane = 0; lane < DLF_FILL_LANES; lane++) {
		state->s[0][lane] = mix(a += GOLDEN);
		state->s[1][lane] = mix(b += GOLDEN);
		state->s[2][lane] = mix(a += GOLDEN);
		state->s[3][lane] = mix(b += GOLDEN);
	}
}

/* ---- the portable step ---- */

static inline uint64_t rotl(uint64_t x, int k)
{
	return x << k | x >> (64 - k);
}

static inline uint64_t f64_bits(uint64_t u)
{
	double value = (double)(u >> 11) * 0x1p-53;
	uint64_t bits;

	memcpy(&bits, &value, sizeof(bits));
	return bits;
}

static inline uint32_t f32_bits(float value)
{
	uint32_t bits;

	memcpy(&bits, &value, sizeof(bits));
	return bits;
}

/* Binary16 is the upper end of a binary32 whose exponent is 112 less. */
static inline uint64_t f16_bits(uint64_t u)
{
	return f32_bits((float)(u >> 5 & 0x7ff) * 0x1p-123f) >> 13;
}

/* A word of raw bits to the elements of the kind that lie in it. */
static inline uint64_t shape(uint64_t u, enum dlf_fill_kind kind)
{
	switch (kind) {
	case DLF_FILL_F64:
		return f64_bits(u);
	case DLF_FILL_F32:
		return f32_bits((float)(u >> 8 & 0xffffff) * 0x1p-24f) |
		       (uint64_t)f32_bits((float)(u >> 40) * 0x1p-24f) << 32;
	case DLF_FILL_F16:
		return f16_bits(u) | f16_bits(u >> 16) << 16 |
		       f16_bits(u >> 32) << 32 | f16_bits(u >> 48) << 48;
	case DLF_FILL_BOOL:
		return u & 0x0101010101010101;
	case DLF_FILL_BYTES:
		break;
	}
	return u;
}

static inline void store_little_endian(unsigned char *dst, uint64_t word)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	word = __builtin_bswap64(word);
#endif
	memcpy(dst, &word, sizeof(word));
}

static inline __attribute__((always_inline)) void
run(dlf_fill_state *state, unsigned char *dst, size_t blocks,
    enum dlf_fill_kind kind)
{
	for (int lane = 0; lane < DLF_FILL_LANES; lane++) {
		uint64_t s0 = state->s[0][lane], s1 = state->s[1][lane];
		uint64_t s2 = state->s[2][lane], s3 = state->s[3][lane];

		for (size_t i = 0; i < blocks; i++) {
			uint64_t t = s1 << 17;

			if (dst)
				store_little_endian(
					dst + i * DLF_FILL_BLOCK + lane * 8,
					shape(rotl(s0 + s3, 23) + s0, kind));
			s2 ^= s0;
			s3 ^= s1;
			s1 ^= s2;
			s0 ^= s3;
			s2 ^= t;
			s3 = rotl(s3, 45);
		}
		state->s[0][lane] = s0;
		state->s[1][lane] = s1;
		state->s[2][lane] = s2;
		state->s[3][lane] = s3;
	}
}

static void blocks_portable(dlf_fill_state *state, unsigned char *dst,
			    size_t blocks, enum dlf_fill_kind kind)
{
	if (!dst)
		run(state, NULL, blocks, DLF_FILL_BYTES);
	else if (kind == DLF_FILL_F64)
		run(state, dst, blocks, DLF_FILL_F64);
	else if (kind == DLF_FILL_F32)
		run(state, dst, blocks, DLF_FILL_F32);
	else if (kind == DLF_FILL_F16)
		run(state, dst, blocks, DLF_FILL_F16);
	else if (kind == DLF_FILL_BOOL)
		run(state, dst, blocks, DLF_FILL_BOOL);
	else
		run(state, dst, blocks, DLF_FILL_BYTES);
}

/* ---- the walk ---- */

/* The part of one block from byte `from` on. */
static size_t partial_block(dlf_fill_blocks *step, dlf_fill_state *state,
			    unsigned char *dst, size_t from, size_t n,
			    enum dlf_fill_kind kind)
{
	unsigned char block[DLF_FILL_BLOCK];
	size_t part = DLF_FILL_BLOCK - from < n ? DLF_FILL_BLOCK - from : n;

	step(state, block, 1, kind);
	memcpy(dst, block + from, part);
	return part;
}

static void fill(dlf_fill_blocks *step, unsigned char *dst, size_t n,
		 uint64_t seed, uint64_t stream, uint64_t offset,
		 enum dlf_fill_kind kind)
{
	while (n) {
		size_t at = offset % DLF_FILL_CHUNK;
		size_t left = DLF_FILL_CHUNK - at < n ? DLF_FILL_CHUNK - at : n;
		size_t whole;
		dlf_fill_state state;

		seed_state(&state, seed, stream, offset / DLF_FILL_CHUNK);
		offset += left;
		n -= left;

		step(&state, NULL, at / DLF_FILL_BLOCK, kind);
		if (at % DLF_FILL_BLOCK) {
			size_t part = partial_block(step, &state, dst,
						    at % DLF_FILL_BLOCK, left,
						    kind);
			dst += part;
			left -= part;
		}
		whole = left / DLF_FILL_BLOCK;
		step(&state, dst, whole, kind);
		dst += whole * DLF_FILL_BLOCK;
		left -= whole * DLF_FILL_BLOCK;
		if (left)
			dst += partial_block(step, &state, dst, 0, left, kind);
	}
}

/* ---- the choice ---- */

#define DEFINE(name, step)                                                     \
	static void fill_##name(void *dst, size_t n, uint64_t seed,            \
				uint64_t stream, uint64_t offset,              \
				enum dlf_fill_kind kind)                       \
	{                                                                      \
		fill(step, dst, n, seed, stream, offset, kind);                \
	}

#ifdef DLF_FILL_X86
DEFINE(avx512, dlf_fill_blocks_avx512)
DEFINE(avx2, dlf_fill_blocks_avx2)
#endif
DEFINE(portable, blocks_portable)

/* Fastest first; what a processor can run is always a tail of this list. */
static const dlf_fill_impl impls[] = {
#ifdef DLF_FILL_X86
	{"avx512", fill_avx512},
	{"avx2", fill_avx2},
#endif
	{"portable", fill_portable},
};

enum { IMPLS = sizeof(impls) / sizeof(impls[0]) };

static int detect(void)
{
#ifdef DLF_FILL_X86
	__builtin_cpu_init();
	if (!__builtin_cpu_supports("avx2"))
		return 2;
	if (!__builtin_cpu_supports("avx512f") ||
	    !__builtin_cpu_supports("avx512dq") ||
	    !__builtin_cpu_supports("avx512bw"))
		return 1;
#endif
	return 0;
}

/* Threads that get here together find the same answer, so a plain flag does. */
static const dlf_fill_impl *best(void)
{
	static atomic_int found = -1;
	int first = atomic_load_explicit(&found, memory_order_relaxed);

	if (first < 0) {
		first = detect();
		atomic_store_explicit(&found, first, memory_order_relaxed);
	}
	return &impls[first];
}

int dlf_fill_impls(const dlf_fill_impl **list)
{
	*list = best();
	return (int)(impls + IMPLS - *list);
}

void dlf_fill(void *dst, size_t n, uint64_t seed, uint64_t stream,
	      uint64_t offset, enum dlf_fill_kind kind)
{
	best()->fill(dst, n, seed, stream, offset, kind);
}
