/* SPDX-License-Identifier: Apache-2.0
 *
 * Deterministic fast random contents for generated data sets.
 *
 * The byte stream of (seed, stream) is a pure function of its arguments and can
 * be entered anywhere.  Each chunk of DLF_FILL_CHUNK bytes has eight generators
 * xoshiro256++ (Blackman & Vigna, 2019) of its own, seeded by splitmix64 from
 * (seed, stream, chunk index); they take turns, lane j giving the little-endian
 * 64-bit word at bytes 64 i + 8 j of the chunk.  Every implementation gives the
 * same bytes, on every processor.
 */
#ifndef DLF_FILL_H
#define DLF_FILL_H

#include <stddef.h>
#include <stdint.h>

/* Seeding costs about 1 % of a chunk; entering one in the middle costs up to
 * the time of generating the part before. */
#define DLF_FILL_CHUNK ((size_t)32 << 10)

/* Each element is made of the random bits that raw bytes would have in its
 * place, read as a little-endian unsigned integer u, and is stored
 * little-endian too. */
enum dlf_fill_kind {
	DLF_FILL_BYTES, /* u itself: every integer type, full range */
	DLF_FILL_F64,   /* (u >> 11) x 2^-53: uniform in [0, 1), 53 random bits */
	DLF_FILL_F32,   /* (u >> 8) x 2^-24: the same with 24 */
	DLF_FILL_F16,   /* (u >> 5) x 2^-11: IEEE binary16, with 11 */
	DLF_FILL_BOOL,  /* u & 1, a byte an element */
};

/* Write bytes [offset, offset + n) of the stream to dst, at any alignment.  The
 * whole elements of the stream lie at multiples of their size, so for the float
 * kinds offset is meant to be one (n may be any). */
void dlf_fill(void *dst, size_t n, uint64_t seed, uint64_t stream,
	      uint64_t offset, enum dlf_fill_kind kind);

/* Every implementation this build and processor can run, fastest first; the
 * first is the one that dlf_fill uses.  For tests and benchmarks. */
typedef struct dlf_fill_impl {
	const char *name; /* "avx512", "avx2", "portable" */
	void (*fill)(void *dst, size_t n, uint64_t seed, uint64_t stream,
		     uint64_t offset, enum dlf_fill_kind kind);
} dlf_fill_impl;

/* Returns how many there are; *impls points to a static array. */
int dlf_fill_impls(const dlf_fill_impl **impls);

#endif
