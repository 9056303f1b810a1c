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

/* Where position lands under the permutation of (n, seed, epoch).
 * position < n, 1 <= n <= 2^62. */
uint64_t dlf_permute(uint64_t n, uint64_t seed, uint64_t epoch,
		     uint64_t position);

/* out[k] = dlf_permute(n, seed, epoch, start + k * step), for k < count.
 * start + (count - 1) * step < n. */
void dlf_permute_range(uint64_t n, uint64_t seed, uint64_t epoch,
		       uint64_t start, uint64_t step, size_t count,
		       int64_t *out);

#endif
