/* SPDX-License-Identifier: Apache-2.0
 *
 * The number is cut into a high and a low part of as equal widths as can be;
 * in turn each is xored with a keyed hash of the other, which is a bijection
 * whatever the hash.
 */
#include "dlf_permute.h"

/* Even the smallest domain has halves of 3 bits: narrower ones can reach only
 * few orders. */
enum { ROUNDS = 8, MIN_BITS = 6 };

typedef struct feistel {
	uint64_t n;
	int high_bits, low_bits;
	uint64_t multiplier[ROUNDS], addend[ROUNDS];
} feistel;

static uint64_t splitmix64(uint64_t *state)
{
	uint64_t x = *state += 0x9e3779b97f4a7c15;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}

static void feistel_init(feistel *f, uint64_t n, uint64_t seed, uint64_t epoch)
{
	uint64_t state = seed;
	int bits = MIN_BITS;

	while (bits < 62 && (uint64_t)1 << bits < n)
		bits++;
	f->n = n;
	f->high_bits = bits / 2;
	f->low_bits = bits - bits / 2;

	/* One hash for each argument, so that neither (seed, epoch) and
	 * (epoch, seed) nor neighbouring epochs share a key. */
	state = splitmix64(&state) ^ epoch;
	state = splitmix64(&state) ^ n;
	for (int i = 0; i < ROUNDS; i++) {
		f->multiplier[i] = splitmix64(&state) | 1;
		f->addend[i] = splitmix64(&state);
	}
}

/* bits of a hash of half; the top ones, which depend on all below. */
static inline uint64_t hash(const feistel *f, int round, uint64_t half,
			    int bits)
{
	uint64_t h = half * f->multiplier[round] + f->addend[round];

	h = (h ^ h >> 32) * 0xd6e8feb86659fd93;
	return h >> (64 - bits);
}

static inline uint64_t exchange(const feistel *f, uint64_t x)
{
	uint64_t high = x >> f->low_bits;
	uint64_t low = x & (((uint64_t)1 << f->low_bits) - 1);

	for (int i = 0; i < ROUNDS; i += 2) {
		high ^= hash(f, i, low, f->high_bits);
		low ^= hash(f, i + 1, high, f->low_bits);
	}
	return high << f->low_bits | low;
}

/* The orbit of a number below n comes back to it, so it meets another number
 * below n (itself at the latest): two steps on average where n is just above a
 * power of two, one where it is just below the next. */
static inline uint64_t permute(const feistel *f, uint64_t position)
{
	do
		position = exchange(f, position);
	while (position >= f->n);
	return position;
}

uint64_t dlf_permute(uint64_t n, uint64_t seed, uint64_t epoch,
		     uint64_t position)
{
	feistel f;

	feistel_init(&f, n, seed, epoch);
	return permute(&f, position);
}

void dlf_permute_range(uint64_t n, uint64_t seed, uint64_t epoch,
		       uint64_t start, uint64_t step, size_t count,
		       int64_t *out)
{
	feistel f;

	feistel_init(&f, n, seed, epoch);
	for (size_t k = 0; k < count; k++)
		out[k] = (int64_t)permute(&f, start + k * step);
}
