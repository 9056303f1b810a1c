/* SPDX-License-Identifier: Apache-2.0
 *
 * A stateless shuffle: a bijection of [0, n) for each (seed, epoch), computed
 * per element in O(1) time and memory, so that an order over 10^11 samples
 * needs no table and can be entered at any position.
 *
 * A Feistel network over the smallest power of two >= n (and >= 64, lest few
 * samples know few orders), with cycle walking for the elements that fall
 * outside (Black & Rogaway, CT-RSA 2002).  It shuffles well; it keeps no
 * secrets.
 */
#ifndef DLF_PERMUTE_H
#define DLF_PERMUTE_H

#include <stddef.h>
#include <stdint.h>

/* A permutation with its keys worked out; to be used through the functions below. */
enum { DLF_PERMUTATION_ROUNDS = 8 };

typedef struct dlf_permutation {
	uint64_t n;
	int high_bits, low_bits;
	uint64_t multiplier[DLF_PERMUTATION_ROUNDS];
	uint64_t addend[DLF_PERMUTATION_ROUNDS];
} dlf_permutation;

/* 1 <= n <= 2^62. */
void dlf_permutation_init(dlf_permutation *p, uint64_t n, uint64_t seed,
			  uint64_t epoch);

/* Where position < n lands. */
uint64_t dlf_permutation_at(const dlf_permutation *p, uint64_t position);

#endif
