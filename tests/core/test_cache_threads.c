/* SPDX-License-Identifier: Apache-2.0
 *
 * The cache among threads: a file is loaded once however many want it, what fails
 * is everybody's own to try again, and nobody waits for ever.
 */
#include "dlf_cache.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "cache_use.h"
#include "check.h"
#include "dlf_ring.h"

enum { THREADS = 8, ROUNDS = 50, FOREVER = 20000 };

static dlf_pool *pool;

static void free_cache(dlf_cache *cache)
{
	dlf_cache_free(cache);
	CHECK_EQ(lent_by(pool), 0);
}

static void await_waiters(dlf_cache *cache, uint64_t waiters)
{
	while (stats_of(cache).waits < waiters)
		sched_yield();
}

/* As many samples as threads, which take one each. */
static const dlf_field field = {.sample_bytes = 1};
static const dlf_plan plan = {.fields = &field, .n_fields = 1,
			      .samples_per_file = THREADS};

typedef struct crowd {
	dlf_cache *cache;
	int succeed;
	atomic_int loads, hits, nones;
} crowd;

/* Whoever is to load waits until all others wait for that. */
static void *ask(void *arg)
{
	crowd *c = arg;
	dlf_cache_entry *entry;

	switch (dlf_cache_get(c->cache, &plan, 9, &entry)) {
	case DLF_CACHE_LOAD:
		atomic_fetch_add(&c->loads, 1);
		await_waiters(c->cache, THREADS - 1);
		if (!c->succeed) {
			CHECK_EQ(dlf_cache_reserve(c->cache, entry, 0, pool, 1),
				 0);
			dlf_cache_abandon(c->cache, entry);
			break;
		}
		CHECK(load(c->cache, pool, entry));
		dlf_cache_release(c->cache, entry, 1);
		break;
	case DLF_CACHE_HIT:
		atomic_fetch_add(&c->hits, 1);
		CHECK_EQ(entry->arrays[0].buf->data[0], 9);
		dlf_cache_release(c->cache, entry, 1);
		break;
	case DLF_CACHE_NONE:
		atomic_fetch_add(&c->nones, 1);
		break;
	}
	return NULL;
}

static void all_at_once(void *(*run)(void *), void *arg)
{
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, run, arg), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}

static void one_thread_loads_for_all(void)
{
	for (int round = 0; round < ROUNDS; round++) {
		crowd c = {.cache = new_cache(PAGE), .succeed = 1};

		all_at_once(ask, &c);
		CHECK_EQ(atomic_load(&c.loads), 1);
		CHECK_EQ(atomic_load(&c.hits), THREADS - 1);
		CHECK_EQ(stats_of(c.cache).hits, THREADS - 1);
		CHECK_EQ(stats_of(c.cache).misses, 1);
		CHECK_EQ(stats_of(c.cache).bytes, 0); /* all was taken */
		free_cache(c.cache);
	}
}

static void a_failure_wakes_all_and_each_is_to_try_for_itself(void)
{
	for (int round = 0; round < ROUNDS; round++) {
		crowd c = {.cache = new_cache(PAGE)};

		all_at_once(ask, &c);
		CHECK_EQ(atomic_load(&c.loads), 1);
		CHECK_EQ(atomic_load(&c.nones), THREADS - 1);
		CHECK_EQ(stats_of(c.cache).misses, THREADS);
		CHECK_EQ(stats_of(c.cache).bytes, 0);
		CHECK_EQ(lent_by(pool), 0);
		/* nothing of it is left */
		dlf_cache_entry *entry;
		CHECK_EQ(dlf_cache_get(c.cache, &plan, 9, &entry),
			 DLF_CACHE_LOAD);
		dlf_cache_abandon(c.cache, entry);
		free_cache(c.cache);
	}
}

static atomic_int gate;

static void *hold(void *arg)
{
	dlf_cache_entry *entry;

	CHECK_EQ(dlf_cache_get(arg, &plans[1], 1, &entry), DLF_CACHE_HIT);
	while (!atomic_load(&gate))
		sched_yield();
	CHECK_EQ(entry->arrays[0].buf->data[PAGE - 1], 1);
	dlf_cache_release(arg, entry, 1);
	return NULL;
}

/* Not even in the moment between its being there and their waking up. */
static void what_somebody_waits_for_is_not_evicted(void)
{
	for (int round = 0; round < ROUNDS; round++) {
		dlf_cache *cache = new_cache(PAGE);
		dlf_cache_entry *entry, *other;
		pthread_t thread;

		atomic_store(&gate, 0);
		CHECK_EQ(dlf_cache_get(cache, &plans[1], 1, &entry),
			 DLF_CACHE_LOAD);
		CHECK_EQ(pthread_create(&thread, NULL, hold, cache), 0);
		await_waiters(cache, 1);
		CHECK(load(cache, pool, entry));
		dlf_cache_release(cache, entry, 1);
		CHECK_EQ(use(cache, pool, 2, 1, &other), DLF_CACHE_NONE);
		atomic_store(&gate, 1);
		pthread_join(thread, NULL);
		CHECK_EQ(use(cache, pool, 2, 1, &other), DLF_CACHE_LOAD);
		dlf_cache_release(cache, other, 1);
		free_cache(cache);
	}
}

static atomic_uint seeds;

/* Everybody everything, in a cache that is much too small, with arrays that do not
 * fit and loads that fail: what is found is right, and never too much is held. */
static void *churn(void *arg)
{
	dlf_cache *cache = arg;
	uint64_t state = 1 + atomic_fetch_add(&seeds, 1);

	for (int i = 0; i < 3000; i++) {
		state = state * 6364136223846793005u + 1442695040888963407u;
		uint64_t file = (state >> 33) % 12;
		dlf_cache_entry *entry;
		enum dlf_cache_found found;
		dlf_pool_stats stats;

		size_t pages = 1 + file % 7;

		if (state >> 61)
			found = use(cache, pool, file, pages, &entry);
		else
			found = dlf_cache_get(cache, &plans[pages], file,
					      &entry);
		if (found == DLF_CACHE_LOAD && !(state >> 61)) {
			dlf_cache_abandon(cache, entry);
		} else if (found != DLF_CACHE_NONE) {
			CHECK_EQ(entry->arrays[0].buf->data[0], file);
			dlf_cache_release(cache, entry, (state >> 40) % PAGE);
		}
		dlf_pool_get_stats(pool, &stats);
		CHECK(stats.mapped <= 6 * PAGE);
	}
	return NULL;
}

static void no_more_is_ever_held_than_the_capacity(void)
{
	dlf_cache *cache = new_cache(6 * PAGE);

	all_at_once(churn, cache);
	dlf_cache_stats stats = stats_of(cache);
	CHECK(stats.peak <= 6 * PAGE);
	CHECK(stats.hits && stats.misses);
	free_cache(cache);
}

/* ---- at the end of the ring ---- */

typedef struct job {
	dlf_job job;
	dlf_cache *cache;
} job;

/* One task loads until it is cancelled; all others wait for it. */
static void run(dlf_job *base, size_t task, dlf_worker *worker)
{
	dlf_cache *cache = ((job *)base)->cache;
	dlf_cache_entry *entry;

	(void)task;
	if (dlf_cache_get(cache, &plans[1], 1, &entry) != DLF_CACHE_LOAD)
		return;
	while (!dlf_io_cancelled(&worker->io))
		sched_yield();
	dlf_cache_abandon(cache, entry);
}

static void free_job(dlf_job *base)
{
	free(base);
}

static void cancelling_ends_every_wait(void)
{
	for (int round = 0; round < ROUNDS; round++) {
		dlf_cache *cache = new_cache(PAGE);
		job *j = calloc(1, sizeof(*j));
		dlf_ring *ring;
		dlf_job *out;

		*j = (job){{.run = run, .free = free_job, .tasks = THREADS},
			   cache};
		CHECK_EQ(dlf_ring_new(THREADS, 0, &ring), 0);
		CHECK_EQ(dlf_ring_submit(ring, &j->job), 0);
		await_waiters(cache, THREADS - 1);
		dlf_ring_cancel(ring);
		CHECK_EQ(dlf_ring_next(ring, FOREVER, &out), DLF_ECANCELLED);
		dlf_ring_free(ring);
		free_cache(cache);
	}
}

void test_cache_threads(void)
{
	CHECK_EQ(dlf_pool_new(0, &pool), 0);
	one_thread_loads_for_all();
	a_failure_wakes_all_and_each_is_to_try_for_itself();
	what_somebody_waits_for_is_not_evicted();
	no_more_is_ever_held_than_the_capacity();
	cancelling_ends_every_wait();
	dlf_pool_unref(pool);
}
