/* SPDX-License-Identifier: Apache-2.0
 *
 * Deterministic fast random contents for generated data sets.
 *
 * The byte stream of (seed, stream) is a pure function of its arguments and can
 * be entered anywhere: each chunk of DLF_FILL_CHUNK bytes seeds eight
 * interleaved xoshiro256++ generators (Blackman & Vigna, 2019) by splitmix64
 * from (seed, stream, chunk index).  Every implementation gives the same bytes.
 */
#ifndef DLF_FILL_H
#define DLF_FILL_H

#include <stddef.h>
#include <stdint.h>

#define DLF_FILL_CHUNK ((size_t)1 << 20)

enum dlf_fill_kind {
	DLF_FILL_BYTES, /* raw random bytes: every integer type, full range */
	DLF_FILL_F64,   /* uniform in [0, 1), 53 random bits */
	DLF_FILL_F32,   /* uniform in [0, 1), 24 random bits */
	DLF_FILL_F16,   /* IEEE binary16, uniform in [0, 1), 11 random bits */
	DLF_FILL_BOOL,  /* bytes 0 or 1 */
};

/* Write bytes [offset, offset + n) of the stream to dst.  For the float kinds
 * offset must be a multiple of the element's size (n may be any). */
void dlf_fill(void *dst, size_t n, uint64_t seed, uint64_t stream,
	      uint64_t offset, enum dlf_fill_kind kind);

/* Every implementation this processor can run, fastest first, for tests. */
typedef struct dlf_fill_impl {
	const char *name; /* "avx512", "avx2", "portable" */
	void (*fill)(void *dst, size_t n, uint64_t seed, uint64_t stream,
		     uint64_t offset, enum dlf_fill_kind kind);
} dlf_fill_impl;

int dlf_fill_impls(const dlf_fill_impl **impls);

#endif
