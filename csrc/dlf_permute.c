/* SPDX-License-Identifier: Apache-2.0
 *
 * The number is cut into a high and a low part of as equal widths as can be;
 * in turn each is xored with a keyed hash of the other, which is a bijection
 * whatever the hash.
 */
#include "dlf_permute.h"

/* Even the smallest domain has halves of 3 bits: narrower ones can reach only
 * few orders. */
enum { ROUNDS = DLF_PERMUTATION_ROUNDS, MIN_BITS = 6 };

static uint64_t splitmix64(uint64_t *state)
{
	uint64_t x = *state += 0x9e3779b97f4a7c15;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}

void dlf_permutation_init(dlf_permutation *p, uint64_t n, uint64_t seed,
			  uint64_t epoch)
{
	uint64_t state = seed;
	int bits = MIN_BITS;

	while (bits < 62 && (uint64_t)1 << bits < n)
		bits++;
	p->n = n;
	p->high_bits = bits / 2;
	p->low_bits = bits - bits / 2;

	/* One hash for each argument, so that neither (seed, epoch) and
	 * (epoch, seed) nor neighbouring epochs share a key. */
	state = splitmix64(&state) ^ epoch;
	state = splitmix64(&state) ^ n;
	for (int i = 0; i < ROUNDS; i++) {
		p->multiplier[i] = splitmix64(&state) | 1;
		p->addend[i] = splitmix64(&state);
	}
}

/* bits of a hash of half; the top ones, which depend on all below. */
static inline uint64_t hash(const dlf_permutation *p, int round, uint64_t half,
			    int bits)
{
	uint64_t h = half * p->multiplier[round] + p->addend[round];

	h = (h ^ h >> 32) * 0xd6e8feb86659fd93;
	return h >> (64 - bits);
}

static inline uint64_t exchange(const dlf_permutation *p, uint64_t x)
{
	uint64_t high = x >> p->low_bits;
	uint64_t low = x & (((uint64_t)1 << p->low_bits) - 1);

	for (int i = 0; i < ROUNDS; i += 2) {
		high ^= hash(p, i, low, p->high_bits);
		low ^= hash(p, i + 1, high, p->low_bits);
	}
	return high << p->low_bits | low;
}

/* The orbit of a number below n comes back to it, so it meets another number
 * below n (itself at the latest): two steps on average where n is just above a
 * power of two, one where it is just below the next. */
uint64_t dlf_permutation_at(const dlf_permutation *p, uint64_t position)
{
	do
		position = exchange(p, position);
	while (position >= p->n);
	return position;
}
