/* SPDX-License-Identifier: Apache-2.0
 *
 * The cache of files: what was loaded is found again, no more is held than allowed,
 * and what has to go is what will be missed least.
 */
#include "dlf_cache.h"

#include <errno.h>

#include "cache_use.h"
#include "check.h"

static dlf_pool *pool;

static void free_cache(dlf_cache *cache)
{
	dlf_cache_free(cache);
	CHECK_EQ(lent_by(pool), 0);
}

static enum dlf_cache_found touch(dlf_cache *cache, uint64_t file,
				  size_t pages)
{
	dlf_cache_entry *entry;
	enum dlf_cache_found found = use(cache, pool, file, pages, &entry);

	if (found != DLF_CACHE_NONE)
		dlf_cache_release(cache, entry, 1);
	return found;
}

static void what_was_loaded_is_found_again(void)
{
	dlf_cache *cache = new_cache(10 * PAGE);

	CHECK_EQ(touch(cache, 1, 2), DLF_CACHE_LOAD);
	CHECK_EQ(touch(cache, 1, 2), DLF_CACHE_HIT);
	CHECK_EQ(touch(cache, 2, 3), DLF_CACHE_LOAD);
	CHECK_EQ(touch(cache, 1, 2), DLF_CACHE_HIT);
	CHECK_EQ(stats_of(cache).hits, 2);
	CHECK_EQ(stats_of(cache).misses, 2);
	CHECK_EQ(stats_of(cache).bytes, 5 * PAGE);
	free_cache(cache);
}

static void plan_and_number_tell_files_apart(void)
{
	enum { NUMBERS = 300 };
	dlf_cache *cache = new_cache(2 * NUMBERS * PAGE);
	dlf_plan two[] = {plans[1], plans[1]};

	for (int round = 0; round < 2; round++)
		for (uint64_t i = 0; i < 2 * NUMBERS; i++) {
			dlf_cache_entry *entry;
			int found = (int)dlf_cache_get(cache, &two[i % 2], i / 2,
						       &entry);

			CHECK_EQ(found, round ? DLF_CACHE_HIT : DLF_CACHE_LOAD);
			if (!round) {
				CHECK(load(cache, pool, entry));
				entry->arrays[0].buf->data[9] = i % 2;
			}
			CHECK_EQ(entry->arrays[0].buf->data[0],
				 (unsigned char)(i / 2));
			CHECK_EQ(entry->arrays[0].buf->data[9], i % 2);
			dlf_cache_release(cache, entry, 1);
		}
	free_cache(cache);
}

static void the_least_recently_used_makes_room(void)
{
	dlf_cache *cache = new_cache(4 * PAGE);

	for (uint64_t file = 0; file < 4; file++)
		touch(cache, file, 1);
	CHECK_EQ(touch(cache, 0, 1), DLF_CACHE_HIT);
	CHECK_EQ(touch(cache, 4, 2), DLF_CACHE_LOAD); /* 1 and 2 go */
	CHECK_EQ(stats_of(cache).bytes, 4 * PAGE);
	CHECK_EQ(touch(cache, 0, 1), DLF_CACHE_HIT);
	CHECK_EQ(touch(cache, 3, 1), DLF_CACHE_HIT);
	CHECK_EQ(touch(cache, 4, 2), DLF_CACHE_HIT);
	CHECK_EQ(touch(cache, 1, 1), DLF_CACHE_LOAD); /* 0 goes */
	CHECK_EQ(touch(cache, 3, 1), DLF_CACHE_HIT);
	CHECK_EQ(touch(cache, 0, 1), DLF_CACHE_LOAD);
	CHECK_EQ(stats_of(cache).peak, 4 * PAGE);
	free_cache(cache);
}

static void what_is_in_use_stays(void)
{
	dlf_cache *cache = new_cache(4 * PAGE);
	dlf_cache_entry *held[3], *loading;

	for (uint64_t file = 0; file < 3; file++)
		use(cache, pool, file, 1, &held[file]);
	CHECK_EQ(touch(cache, 3, 1), DLF_CACHE_LOAD);
	/* in vain, so that what could go need not */
	CHECK_EQ(touch(cache, 4, 2), DLF_CACHE_NONE);
	CHECK_EQ(touch(cache, 3, 1), DLF_CACHE_HIT);
	CHECK_EQ(dlf_cache_get(cache, &plans[1], 5, &loading), DLF_CACHE_LOAD);
	CHECK_EQ(dlf_cache_reserve(cache, loading, 0, pool, PAGE), 0);
	CHECK_EQ(touch(cache, 3, 1), DLF_CACHE_NONE); /* not even one page */
	for (uint64_t file = 0; file < 3; file++) {
		CHECK_EQ(held[file]->arrays[0].buf->data[PAGE - 1], file);
		dlf_cache_release(cache, held[file], 1);
	}
	CHECK_EQ(touch(cache, 3, 1), DLF_CACHE_LOAD);
	CHECK_EQ(touch(cache, 0, 1), DLF_CACHE_LOAD); /* the first to go */
	CHECK_EQ(touch(cache, 2, 1), DLF_CACHE_HIT);
	dlf_cache_abandon(cache, loading);
	free_cache(cache);
}

static void what_is_larger_than_the_cache_is_not_kept(void)
{
	dlf_cache *cache = new_cache(4 * PAGE);
	const dlf_field huge = {.sample_bytes = SIZE_MAX / 2};
	const dlf_plan beyond = {.fields = &huge, .n_fields = 1,
				 .samples_per_file = 3};
	dlf_cache_entry *entry;

	CHECK_EQ(touch(cache, 1, 4), DLF_CACHE_LOAD);
	CHECK_EQ(touch(cache, 2, 5), DLF_CACHE_NONE);
	CHECK_EQ(dlf_cache_get(cache, &beyond, 2, &entry), DLF_CACHE_NONE);
	/* larger than the plan made expect */
	CHECK_EQ(dlf_cache_get(cache, &plans[1], 2, &entry), DLF_CACHE_LOAD);
	CHECK_EQ(dlf_cache_reserve(cache, entry, 0, pool, 4 * PAGE + 1),
		 DLF_EBUDGET);
	CHECK_EQ(dlf_cache_reserve(cache, entry, 0, pool, SIZE_MAX),
		 DLF_EBUDGET);
	dlf_cache_abandon(cache, entry);
	CHECK_EQ(touch(cache, 1, 4), DLF_CACHE_HIT);
	CHECK_EQ(stats_of(cache).misses, 4);
	CHECK_EQ(stats_of(cache).bytes, 4 * PAGE);
	free_cache(cache);

	cache = new_cache(SIZE_MAX); /* more than there is */
	CHECK_EQ(dlf_cache_get(cache, &plans[1], 2, &entry), DLF_CACHE_LOAD);
	CHECK_EQ(dlf_cache_reserve(cache, entry, 0, pool, (size_t)1 << 60),
		 -ENOMEM);
	CHECK_EQ(stats_of(cache).bytes, 0);
	dlf_cache_abandon(cache, entry);
	free_cache(cache);
}

static void all_fields_count(void)
{
	const dlf_field fields[] = {{.sample_bytes = PAGE}, {.sample_bytes = 1}};
	const dlf_plan plan = {.fields = fields, .n_fields = 2,
			       .samples_per_file = 2};
	dlf_cache *cache = new_cache(3 * PAGE);
	dlf_cache_entry *entry;

	CHECK_EQ(dlf_plan_file_bytes(&plan), 3 * PAGE);
	CHECK_EQ(dlf_cache_get(cache, &plan, 0, &entry), DLF_CACHE_LOAD);
	CHECK_EQ(dlf_cache_reserve(cache, entry, 0, pool, 2 * PAGE), 0);
	CHECK_EQ(dlf_cache_reserve(cache, entry, 1, pool, 2), 0);
	CHECK_EQ(stats_of(cache).bytes, 3 * PAGE);
	dlf_cache_publish(cache, entry);
	dlf_cache_release(cache, entry, 1);
	CHECK_EQ(touch(cache, 1, 1), DLF_CACHE_LOAD);
	CHECK_EQ(stats_of(cache).bytes, PAGE); /* both are gone */
	free_cache(cache);

	cache = new_cache(3 * PAGE - 1);
	CHECK_EQ(dlf_cache_get(cache, &plan, 0, &entry), DLF_CACHE_NONE);
	free_cache(cache);
}

static void a_file_goes_when_all_its_samples_were_taken(void)
{
	const dlf_field field = {.sample_bytes = 8};
	const dlf_plan plan = {.fields = &field, .n_fields = 1,
			       .samples_per_file = 5};
	dlf_cache *cache = new_cache(10 * PAGE);
	dlf_cache_entry *entry, *again;

	CHECK_EQ(dlf_cache_get(cache, &plan, 1, &entry), DLF_CACHE_LOAD);
	CHECK(load(cache, pool, entry));
	dlf_cache_release(cache, entry, 2);
	CHECK_EQ(dlf_cache_get(cache, &plan, 1, &entry), DLF_CACHE_HIT);
	CHECK_EQ(dlf_cache_get(cache, &plan, 1, &again), DLF_CACHE_HIT);
	dlf_cache_release(cache, again, 3);
	CHECK_EQ(entry->arrays[0].buf->data[4], 1); /* who reads it still may */
	CHECK_EQ(stats_of(cache).bytes, PAGE);
	dlf_cache_release(cache, entry, 0);
	CHECK_EQ(stats_of(cache).bytes, 0);
	CHECK_EQ(lent_by(pool), 0);
	CHECK_EQ(dlf_cache_get(cache, &plan, 1, &entry), DLF_CACHE_LOAD);
	dlf_cache_abandon(cache, entry);
	free_cache(cache);
}

void test_cache(void)
{
	CHECK_EQ(dlf_pool_new(0, &pool), 0);
	what_was_loaded_is_found_again();
	plan_and_number_tell_files_apart();
	all_fields_count();
	the_least_recently_used_makes_room();
	what_is_in_use_stays();
	what_is_larger_than_the_cache_is_not_kept();
	a_file_goes_when_all_its_samples_were_taken();
	dlf_pool_unref(pool);
	test_cache_threads();
	test_cache_batch();
}
