/* SPDX-License-Identifier: Apache-2.0
 *
 * The order of an epoch: every sample once, windows that keep to their files, and
 * shares of files that are disjoint and complete.
 */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "dlf_order.h"

static dlf_order order_of(enum dlf_order_kind kind, uint64_t files,
			  uint64_t per_file, uint64_t window)
{
	dlf_order order = {kind, files, per_file, window, 7, 3};

	return order;
}

/* The whole order, to be freed. */
static int64_t *whole(const dlf_order *order)
{
	size_t n = order->n_files * order->samples_per_file;
	int64_t *ids = malloc((n + 1) * sizeof(*ids));

	for (size_t i = 0; i < n; i++)
		ids[i] = (int64_t)i;
	dlf_order_at(order, ids, n);
	return ids;
}

static int each_once(const int64_t *ids, size_t n)
{
	unsigned char *seen = calloc(n + 1, 1);
	int ok = 1;

	for (size_t i = 0; i < n && ok; i++) {
		ok = ids[i] >= 0 && (uint64_t)ids[i] < n && !seen[ids[i]];
		if (ok)
			seen[ids[i]] = 1;
	}
	free(seen);
	return ok;
}

static void every_order_has_each_sample_once(void)
{
	int ok = 1;

	for (int kind = DLF_ORDER_SEQUENTIAL; kind <= DLF_ORDER_WINDOW; kind++)
		for (uint64_t files = 1; files <= 20; files++)
			for (uint64_t per_file = 1; per_file <= 5; per_file++)
				for (uint64_t window = 0; window <= 7; window++) {
					dlf_order order = order_of(
						kind, files, per_file, window);
					int64_t *ids = whole(&order);
					ok &= each_once(ids, files * per_file);
					free(ids);
				}
	CHECK(ok);
}

static void the_order_without_a_shuffle_is_that_of_the_files(void)
{
	dlf_order order = order_of(DLF_ORDER_SEQUENTIAL, 5, 3, 2);
	int64_t *ids = whole(&order);

	for (int i = 0; i < 15; i++)
		CHECK_EQ(ids[i], i);
	free(ids);
}

/* The files that the samples at [begin, begin + size) belong to, as a bit mask. */
static unsigned files_at(const int64_t *ids, int begin, int size, int per_file)
{
	unsigned mask = 0;

	for (int i = begin; i < begin + size; i++)
		mask |= 1u << (ids[i] / per_file);
	return mask;
}

static void a_window_holds_the_samples_of_its_files_alone(void)
{
	enum { FILES = 10, PER_FILE = 4, WINDOW = 3, SPAN = PER_FILE * WINDOW };

	for (int kind = DLF_ORDER_FILES; kind <= DLF_ORDER_WINDOW; kind++) {
		dlf_order order = order_of(kind, FILES, PER_FILE, WINDOW);
		int64_t *ids = whole(&order);
		int moved = 0;

		for (int begin = 0; begin < FILES * PER_FILE; begin += SPAN) {
			int left = FILES * PER_FILE - begin;
			int size = left < SPAN ? left : SPAN;
			unsigned mask = files_at(ids, begin, size, PER_FILE);

			CHECK_EQ(__builtin_popcount(mask), size / PER_FILE);
			if (kind == DLF_ORDER_WINDOW)
				CHECK_EQ(mask >> begin / PER_FILE,
					 (1u << size / PER_FILE) - 1);
			for (int i = begin + 1; i < begin + size; i++)
				moved += ids[i] != ids[i - 1] + 1;
		}
		CHECK(moved > 25); /* of 36 neighbours */
		free(ids);
	}
}

static void windows_differ_from_one_another(void)
{
	dlf_order order = order_of(DLF_ORDER_WINDOW, 2000, 1, 1000);
	int64_t *ids = whole(&order);
	int alike = 0;

	for (int i = 0; i < 1000; i++)
		alike += ids[i] + 1000 == ids[1000 + i];
	CHECK(alike < 12);
	free(ids);
}

static void without_a_window_files_keep_the_order_of_their_samples(void)
{
	dlf_order order = order_of(DLF_ORDER_FILES, 100, 5, 0);
	int64_t *ids = whole(&order);
	int in_place = 0;

	for (int i = 0; i < 500; i++) {
		CHECK_EQ(ids[i] % 5, i % 5);
		CHECK_EQ(ids[i] / 5, ids[i / 5 * 5] / 5);
		in_place += ids[i] == i;
	}
	CHECK(in_place < 60);
	free(ids);
}

static void any_positions_in_any_order_give_their_samples(void)
{
	for (int kind = DLF_ORDER_GLOBAL; kind <= DLF_ORDER_WINDOW; kind++) {
		dlf_order order = order_of(kind, 30, 7, 4);
		int64_t *ids = whole(&order), some[210];
		int same = 1;

		for (int i = 0; i < 210; i++)
			some[i] = i * 101 % 210;
		dlf_order_at(&order, some, 210);
		for (int i = 0; i < 210; i++)
			same &= some[i] == ids[i * 101 % 210];
		CHECK(same);
		free(ids);
	}
}

static void ranks_own_disjoint_files_that_are_all_there_are(void)
{
	for (uint64_t files = 1; files <= 20; files++)
		for (uint64_t ranks = 1; ranks <= 8; ranks++) {
			int64_t ids[60];
			size_t n = 0;

			for (uint64_t r = 0; r < ranks; r++) {
				size_t begin = n;
				for (uint64_t k = 0; k * ranks + r < files; k++)
					for (int s = 0; s < 3; s++)
						ids[n++] = (int64_t)k * 3 + s;
				dlf_order_own_files(files, 3, r, ranks,
						    ids + begin, n - begin);
			}
			CHECK(n == files * 3 && each_once(ids, n));
		}
}

/* A resumed run must meet the order it left, whatever the version. */
static void the_orders_are_pinned(void)
{
	static const int64_t files[12] = {8, 7, 1, 0, 6, 2, 10, 3, 4, 11, 5, 9};
	static const int64_t window[12] = {2, 1, 4, 3, 0, 5, 7, 9, 10, 8, 11, 6};
	dlf_order order = order_of(DLF_ORDER_FILES, 4, 3, 2);
	int64_t *ids = whole(&order);

	CHECK(!memcmp(ids, files, sizeof(files)));
	free(ids);
	order = order_of(DLF_ORDER_WINDOW, 4, 3, 2);
	ids = whole(&order);
	CHECK(!memcmp(ids, window, sizeof(window)));
	free(ids);
}

void test_order(void)
{
	every_order_has_each_sample_once();
	the_order_without_a_shuffle_is_that_of_the_files();
	a_window_holds_the_samples_of_its_files_alone();
	windows_differ_from_one_another();
	without_a_window_files_keep_the_order_of_their_samples();
	any_positions_in_any_order_give_their_samples();
	ranks_own_disjoint_files_that_are_all_there_are();
	the_orders_are_pinned();
}
