/* SPDX-License-Identifier: Apache-2.0 */
#include "dlf_cache.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "dlf_counters.h"
#include "dlf_error.h"

enum { LOADING, READY, ABANDONED };

#define LEAST_BUCKETS ((size_t)64)
#define MOST_BUCKETS ((size_t)65536)

struct dlf_cache {
	pthread_mutex_t lock;
	pthread_cond_t settled;     /* a load has ended, well or not */
	size_t capacity;
	dlf_cache_stats stats;
	size_t unpinned;            /* bytes of the entries in the list */
	dlf_cache_entry *oldest;    /* list of those that may be evicted */
	dlf_cache_entry *newest;
	size_t mask;
	dlf_cache_entry **buckets;
};

int dlf_cache_new(size_t capacity, dlf_cache **out)
{
	dlf_cache *cache = calloc(1, sizeof(*cache));
	size_t buckets = LEAST_BUCKETS;

	/* A bucket for each of the smallest entries that fit. */
	while (buckets < MOST_BUCKETS &&
	       buckets < capacity / dlf_pool_capacity(0))
		buckets *= 2;
	if (cache)
		cache->buckets = calloc(buckets, sizeof(*cache->buckets));
	if (!cache || !cache->buckets) {
		free(cache);
		return -ENOMEM;
	}
	cache->mask = buckets - 1;
	cache->capacity = capacity;
	pthread_mutex_init(&cache->lock, NULL);
	pthread_cond_init(&cache->settled, NULL);
	dlf_count(DLF_COUNT_CACHES, 1);
	*out = cache;
	return 0;
}

/* ---- the table ---- */

static dlf_cache_entry **bucket_of(const dlf_cache *cache, const dlf_plan *plan,
				   uint64_t file, uint64_t part)
{
	const uint64_t odd = 0x9e3779b97f4a7c15u;
	uint64_t h = (((uint64_t)(uintptr_t)plan ^ file) * odd ^ part) * odd;

	return &cache->buckets[(h >> 32) & cache->mask];
}

static dlf_cache_entry *find(const dlf_cache *cache, const dlf_plan *plan,
			     uint64_t file, uint64_t part)
{
	dlf_cache_entry *entry = *bucket_of(cache, plan, file, part);

	while (entry && (entry->plan != plan || entry->file != file ||
			 entry->part != part))
		entry = entry->next_in_bucket;
	return entry;
}

static void insert(dlf_cache *cache, dlf_cache_entry *entry)
{
	dlf_cache_entry **bucket = bucket_of(cache, entry->plan, entry->file,
					     entry->part);

	entry->next_in_bucket = *bucket;
	*bucket = entry;
}

/* Out of the table, and with it the memory; the entry itself lives as long as it
 * is pinned.  The memory is given back under the lock, lest more than the
 * capacity be lent for a moment. */
static void forget(dlf_cache *cache, dlf_cache_entry *entry)
{
	dlf_cache_entry **link = bucket_of(cache, entry->plan, entry->file,
					   entry->part);

	while (*link != entry)
		link = &(*link)->next_in_bucket;
	*link = entry->next_in_bucket;
	for (size_t f = 0; f < entry->plan->n_fields; f++)
		if (entry->arrays[f].buf)
			dlf_buf_unref(entry->arrays[f].buf);
	cache->stats.bytes -= entry->bytes;
	entry->bytes = 0;
}

/* ---- the list of what may go, least recently used first ---- */

static void list_append(dlf_cache *cache, dlf_cache_entry *entry)
{
	entry->newer = NULL;
	entry->older = cache->newest;
	*(cache->newest ? &cache->newest->newer : &cache->oldest) = entry;
	cache->newest = entry;
	cache->unpinned += entry->bytes;
}

static void list_remove(dlf_cache *cache, dlf_cache_entry *entry)
{
	*(entry->older ? &entry->older->newer : &cache->oldest) = entry->newer;
	*(entry->newer ? &entry->newer->older : &cache->newest) = entry->older;
	cache->unpinned -= entry->bytes;
}

static void evict_oldest(dlf_cache *cache)
{
	dlf_cache_entry *entry = cache->oldest;

	list_remove(cache, entry);
	forget(cache, entry);
	free(entry);
}

void dlf_cache_free(dlf_cache *cache)
{
	if (!cache)
		return;
	while (cache->oldest)
		evict_oldest(cache);
	pthread_mutex_destroy(&cache->lock);
	pthread_cond_destroy(&cache->settled);
	free(cache->buckets);
	free(cache);
	dlf_count(DLF_COUNT_CACHES, -1);
}

/* ---- the life of an entry ---- */

static enum dlf_cache_found load(dlf_cache *cache, const dlf_plan *plan,
				 uint64_t file, uint64_t part, uint64_t samples,
				 dlf_cache_entry **out)
{
	dlf_cache_entry *entry = calloc(
		1, sizeof(*entry) + plan->n_fields * sizeof(*entry->arrays));

	if (!entry)
		return DLF_CACHE_NONE;
	entry->plan = plan;
	entry->file = file;
	entry->part = part;
	entry->samples = samples;
	entry->state = LOADING;
	entry->pins = 1;
	insert(cache, entry);
	*out = entry;
	return DLF_CACHE_LOAD;
}

/* Who waits has pinned the entry already: it cannot be evicted between becoming
 * ready and being used. */
static enum dlf_cache_found pin(dlf_cache *cache, dlf_cache_entry *entry,
				dlf_cache_entry **out)
{
	if (!entry->pins++)
		list_remove(cache, entry);
	cache->stats.waits += entry->state == LOADING;
	while (entry->state == LOADING)
		pthread_cond_wait(&cache->settled, &cache->lock);
	if (entry->state == READY) {
		*out = entry;
		return DLF_CACHE_HIT;
	}
	if (!--entry->pins)
		free(entry);
	return DLF_CACHE_NONE;
}

static enum dlf_cache_found get(dlf_cache *cache, const dlf_plan *plan,
				uint64_t file, uint64_t part, uint64_t samples,
				int fits, dlf_cache_entry **out)
{
	enum dlf_cache_found found = DLF_CACHE_NONE;

	pthread_mutex_lock(&cache->lock);
	dlf_cache_entry *entry = find(cache, plan, file, part);
	if (entry)
		found = pin(cache, entry, out);
	else if (fits)
		found = load(cache, plan, file, part, samples, out);
	if (found == DLF_CACHE_HIT)
		cache->stats.hits++;
	else
		cache->stats.misses++;
	pthread_mutex_unlock(&cache->lock);
	return found;
}

enum dlf_cache_found dlf_cache_get(dlf_cache *cache, const dlf_plan *plan,
				   uint64_t file, dlf_cache_entry **out)
{
	int fits = dlf_plan_file_bytes(plan) <= cache->capacity;

	return get(cache, plan, file, 0, plan->samples_per_file, fits, out);
}

enum dlf_cache_found dlf_cache_get_part(dlf_cache *cache, const dlf_plan *plan,
					uint64_t file, uint64_t part,
					uint64_t samples, dlf_cache_entry **out)
{
	return get(cache, plan, file, part, samples, 1, out);
}

/* Called locked. */
static int make_room(dlf_cache *cache, size_t bytes)
{
	size_t in_use = cache->stats.bytes - cache->unpinned;

	if (bytes > cache->capacity || in_use > cache->capacity - bytes)
		return DLF_EBUDGET; /* and nothing is evicted in vain */
	while (cache->stats.bytes > cache->capacity - bytes)
		evict_oldest(cache);
	return 0;
}

int dlf_cache_reserve(dlf_cache *cache, dlf_cache_entry *entry, size_t field,
		      dlf_pool *pool, uint64_t size)
{
	dlf_buf **buf = &entry->arrays[field].buf;
	size_t bytes = dlf_pool_capacity(size);

	pthread_mutex_lock(&cache->lock);
	int rc = make_room(cache, bytes);
	if (!rc) {
		entry->bytes += bytes;
		cache->stats.bytes += bytes;
		if (cache->stats.bytes > cache->stats.peak)
			cache->stats.peak = cache->stats.bytes;
	}
	pthread_mutex_unlock(&cache->lock);
	if (rc)
		return rc;
	rc = dlf_pool_get(pool, size, buf);
	if (rc) {
		pthread_mutex_lock(&cache->lock);
		entry->bytes -= bytes;
		cache->stats.bytes -= bytes;
		pthread_mutex_unlock(&cache->lock);
	}
	return rc;
}

void dlf_cache_publish(dlf_cache *cache, dlf_cache_entry *entry)
{
	pthread_mutex_lock(&cache->lock);
	entry->state = READY;
	pthread_cond_broadcast(&cache->settled);
	pthread_mutex_unlock(&cache->lock);
}

void dlf_cache_abandon(dlf_cache *cache, dlf_cache_entry *entry)
{
	pthread_mutex_lock(&cache->lock);
	forget(cache, entry);
	entry->state = ABANDONED;
	pthread_cond_broadcast(&cache->settled);
	if (!--entry->pins)
		free(entry);
	pthread_mutex_unlock(&cache->lock);
}

void dlf_cache_release(dlf_cache *cache, dlf_cache_entry *entry,
		       uint64_t samples)
{
	pthread_mutex_lock(&cache->lock);
	entry->taken += samples;
	if (--entry->pins) {
		/* somebody else's to decide */
	} else if (entry->taken >= entry->samples) {
		forget(cache, entry);
		free(entry);
	} else {
		list_append(cache, entry);
	}
	pthread_mutex_unlock(&cache->lock);
}

void dlf_cache_get_stats(dlf_cache *cache, dlf_cache_stats *out)
{
	pthread_mutex_lock(&cache->lock);
	*out = cache->stats;
	pthread_mutex_unlock(&cache->lock);
}
