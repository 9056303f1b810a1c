/* SPDX-License-Identifier: Apache-2.0
 *
 * A cache of files that are full of their own number, for the tests of dlf_cache.
 */
#ifndef CACHE_USE_H
#define CACHE_USE_H

#include <string.h>

#include "check.h"
#include "dlf_cache.h"

enum { PAGE = 4096 };

/* Plans whose files have that many pages, in samples of a byte. */
static const dlf_field pages_of_a_sample = {.sample_bytes = 1};
#define PAGES(n)                                                               \
	{.fields = &pages_of_a_sample, .n_fields = 1,                          \
	 .samples_per_file = (n) * PAGE}
static const dlf_plan plans[] = {PAGES(0), PAGES(1), PAGES(2), PAGES(3),
				 PAGES(4), PAGES(5), PAGES(6), PAGES(7)};

static inline dlf_cache *new_cache(size_t capacity)
{
	dlf_cache *cache = NULL;

	CHECK_EQ(dlf_cache_new(capacity, &cache), 0);
	return cache;
}

static inline dlf_cache_stats stats_of(dlf_cache *cache)
{
	dlf_cache_stats stats;

	dlf_cache_get_stats(cache, &stats);
	return stats;
}

static inline size_t lent_by(dlf_pool *pool)
{
	dlf_pool_stats stats;

	dlf_pool_get_stats(pool, &stats);
	return stats.lent;
}

/* Load an entry and share it.  False, and it is abandoned: there was no room. */
static inline int load(dlf_cache *cache, dlf_pool *pool, dlf_cache_entry *entry)
{
	size_t size = entry->plan->samples_per_file;

	if (dlf_cache_reserve(cache, entry, 0, pool, size)) {
		dlf_cache_abandon(cache, entry);
		return 0;
	}
	memset(entry->arrays[0].buf->data, (int)entry->file, size);
	dlf_cache_publish(cache, entry);
	return 1;
}

/* Get a file of so many pages, loading it if need be; how it was found. */
static inline enum dlf_cache_found use(dlf_cache *cache, dlf_pool *pool,
				       uint64_t file, size_t pages,
				       dlf_cache_entry **entry)
{
	enum dlf_cache_found found =
		dlf_cache_get(cache, &plans[pages], file, entry);

	if (found == DLF_CACHE_LOAD && !load(cache, pool, *entry))
		return DLF_CACHE_NONE;
	if (found != DLF_CACHE_NONE)
		CHECK_EQ((*entry)->arrays[0].buf->data[pages * PAGE - 1],
			 (unsigned char)file);
	return found;
}

/* The parts of test_cache that are about many threads, and about batches. */
void test_cache_threads(void);
void test_cache_batch(void);

#endif
