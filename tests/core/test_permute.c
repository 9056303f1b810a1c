/* SPDX-License-Identifier: Apache-2.0
 *
 * The stateless shuffle: a bijection for every n, and a fair one.
 */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "dlf_permute.h"

/* Where positions start, start + 1, ... land. */
static void lands(uint64_t n, uint64_t seed, uint64_t epoch, uint64_t start,
		  size_t count, int64_t *out)
{
	dlf_permutation p;

	dlf_permutation_init(&p, n, seed, epoch);
	for (size_t k = 0; k < count; k++)
		out[k] = (int64_t)dlf_permutation_at(&p, start + k);
}

/* Is out[0..n) each of 0..n-1 once? */
static int is_permutation(const int64_t *out, uint64_t n)
{
	unsigned char *seen = calloc(n, 1);
	int ok = 1;

	for (uint64_t i = 0; i < n && ok; i++) {
		ok = out[i] >= 0 && (uint64_t)out[i] < n && !seen[out[i]];
		if (ok)
			seen[out[i]] = 1;
	}
	free(seen);
	return ok;
}

static void every_small_n_is_a_bijection(void)
{
	const uint64_t seeds[] = {0, 1, 42, UINT64_MAX};
	int64_t out[300];
	int ok = 1;

	for (uint64_t n = 1; n <= 300; n++) {
		for (size_t s = 0; s < 4; s++) {
			lands(n, seeds[s], n % 5, 0, n, out);
			ok &= is_permutation(out, n);
		}
	}
	CHECK(ok);
}

static void large_n_is_a_bijection(void)
{
	const uint64_t sizes[] = {65535, 65536, 65537, 1000003};
	int64_t *out = malloc(1000003 * sizeof(*out));

	for (size_t i = 0; i < 4; i++) {
		lands(sizes[i], 7, 1, 0, sizes[i], out);
		CHECK(is_permutation(out, sizes[i]));
	}
	free(out);
}

static int by_value(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

static void the_largest_n_works_at_both_ends(void)
{
	const uint64_t sizes[] = {(uint64_t)1 << 62, ((uint64_t)1 << 61) + 1,
				  100000000000};
	int64_t out[2000];

	for (size_t i = 0; i < 3; i++) {
		uint64_t n = sizes[i];
		int ok = 1;

		lands(n, 5, 6, 0, 1000, out);
		lands(n, 5, 6, n - 1000, 1000, out + 1000);
		qsort(out, 2000, sizeof(*out), by_value);
		for (int k = 0; k < 2000; k++) {
			ok &= out[k] >= 0 && (uint64_t)out[k] < n;
			ok &= !k || out[k] != out[k - 1];
		}
		CHECK(ok);
	}
}

/* How many of 1000 positions agree under two (seed, epoch): by chance, one. */
static int agreements(uint64_t seed_a, uint64_t epoch_a, uint64_t seed_b,
		      uint64_t epoch_b)
{
	int64_t a[1000], b[1000];
	int count = 0;

	lands(1000, seed_a, epoch_a, 0, 1000, a);
	lands(1000, seed_b, epoch_b, 0, 1000, b);
	for (int i = 0; i < 1000; i++)
		count += a[i] == b[i];
	return count;
}

static void seeds_and_epochs_give_other_orders(void)
{
	CHECK_EQ(agreements(1, 2, 1, 2), 1000);
	for (uint64_t i = 0; i < 20; i++) {
		CHECK(agreements(i, 0, i + 1, 0) < 12);
		CHECK(agreements(0, i, 0, i + 1) < 12);
		CHECK(agreements(i, i + 1, i + 1, i) < 12);
	}
}

/* A resumed run must meet the order it left, whatever the version. */
static void the_order_is_pinned(void)
{
	static const int64_t pinned[10] = {1, 6, 5, 9, 2, 7, 0, 3, 4, 8};
	int64_t out[10];

	lands(10, 1, 2, 0, 10, out);
	CHECK(!memcmp(out, pinned, sizeof(out)));
	lands(100000000000, 3, 4, 99999999999, 1, out);
	CHECK_EQ(out[0], 54303279899);
}

/* Pearson's statistic of counts that should all be equal, less its degrees of
 * freedom, squared, over twice them: the square of about a standard normal. */
static double badness(const int *counts, int cells, double freedom)
{
	double mean = 0, chi = 0;

	for (int i = 0; i < cells; i++)
		mean += (double)counts[i] / cells;
	for (int i = 0; i < cells; i++)
		chi += (counts[i] - mean) * (counts[i] - mean) / mean;
	return (chi - freedom) * (chi - freedom) / (2 * freedom);
}

/* Every number is equally likely at every position, and every distance between
 * neighbours, over many seeds (vary = 0) or epochs (1).  The seeds are fixed,
 * so the outcome is too; four standard deviations is the bound. */
static void fair(int n, int rounds, int vary)
{
	int *place = calloc((size_t)n * n, sizeof(*place));
	int *step = calloc(n, sizeof(*step));
	int64_t *out = malloc(n * sizeof(*out));

	for (int r = 0; r < rounds; r++) {
		lands(n, vary ? 77 : r, vary ? r : 0, 0, n, out);
		for (int i = 0; i < n; i++) {
			place[i * n + out[i]]++;
			if (i)
				step[(out[i] - out[i - 1] + n) % n]++;
		}
	}
	CHECK(badness(place, n * n, (n - 1.0) * (n - 1.0)) < 16);
	CHECK(badness(step + 1, n - 1, n - 2.0) < 16);
	free(place);
	free(step);
	free(out);
}

static void all_orders_of_five_are_equally_likely(void)
{
	int counts[120] = {0};

	for (uint64_t seed = 0; seed < 60000; seed++) {
		int64_t out[5];
		int rank = 0;

		lands(5, seed, 0, 0, 5, out);
		for (int i = 0; i < 5; i++) {
			int smaller = 0;

			for (int k = i + 1; k < 5; k++)
				smaller += out[k] < out[i];
			rank = rank * (5 - i) + smaller;
		}
		counts[rank]++;
	}
	CHECK(badness(counts, 120, 119) < 16);
}

void test_permute(void)
{
	every_small_n_is_a_bijection();
	large_n_is_a_bijection();
	the_largest_n_works_at_both_ends();
	seeds_and_epochs_give_other_orders();
	the_order_is_pinned();
	for (int vary = 0; vary < 2; vary++) {
		fair(5, 50000, vary);
		fair(10, 50000, vary);
		fair(64, 10000, vary);
		fair(1000, 5000, vary);
	}
	all_orders_of_five_are_equally_likely();
}
