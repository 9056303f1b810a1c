/* SPDX-License-Identifier: Apache-2.0
 *
 * Buffers: aligned, reused, counted, kept within bounds, safe among threads and
 * across fork.
 */
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "dlf_pool.h"

#define MIB ((size_t)1 << 20)

static dlf_pool_stats stats_of(dlf_pool *pool)
{
	dlf_pool_stats stats;

	dlf_pool_get_stats(pool, &stats);
	return stats;
}

static dlf_buf *get(dlf_pool *pool, size_t size)
{
	dlf_buf *buf = NULL;

	CHECK_EQ(dlf_pool_get(pool, size, &buf), 0);
	return buf;
}

static dlf_pool *new_pool(size_t keep)
{
	dlf_pool *pool = NULL;

	CHECK_EQ(dlf_pool_new(keep, &pool), 0);
	return pool;
}

static void capacities_grow_in_small_steps(void)
{
	size_t before = 0;

	CHECK_EQ(dlf_pool_capacity(0), 4096);
	CHECK_EQ(dlf_pool_capacity(1), 4096);
	CHECK_EQ(dlf_pool_capacity(4097), 8192);
	for (size_t size = 1; size < 64 * MIB; size += size / 7 + 1) {
		size_t capacity = dlf_pool_capacity(size);
		CHECK(capacity >= size);
		CHECK(capacity >= before);
		CHECK_EQ(capacity % 4096, 0);
		if (size > 32768 && size < 2 * MIB)
			CHECK(capacity - size <= size / 4);
		if (size >= 2 * MIB)
			CHECK_EQ(capacity % (2 * MIB), 0);
		before = capacity;
	}
}

static void buffers_are_aligned_and_writable(void)
{
	static const size_t sizes[] = {0, 1, 4095, 4096, 4097, 100000,
				       2 * MIB - 1, 2 * MIB, 5 * MIB + 1};
	dlf_pool *pool = new_pool(0);

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		dlf_buf *buf = get(pool, sizes[i]);
		size_t align = sizes[i] >= 2 * MIB ? 2 * MIB : 4096;

		CHECK_EQ((uintptr_t)buf->data % align, 0);
		CHECK_EQ(buf->size, sizes[i]);
		CHECK_EQ(buf->capacity, dlf_pool_capacity(sizes[i]));
		memset(buf->data, 0xa5, buf->capacity);
		dlf_buf_unref(buf);
	}
	CHECK_EQ(stats_of(pool).mapped, 0);
	dlf_pool_unref(pool);
}

static void memory_is_used_again(void)
{
	dlf_pool *pool = new_pool(64 * MIB);
	dlf_buf *buf = get(pool, 5 * MIB);
	unsigned char *data = buf->data;

	dlf_buf_unref(buf);
	CHECK_EQ(stats_of(pool).idle, 6 * MIB);
	buf = get(pool, 5 * MIB + 1000); /* another size, the same class */
	CHECK(buf->data == data);
	CHECK_EQ(buf->size, 5 * MIB + 1000);
	CHECK_EQ(stats_of(pool).idle, 0);
	dlf_buf *other = get(pool, 5 * MIB);
	CHECK(other->data != data);
	dlf_buf_unref(buf);
	dlf_buf_unref(other);
	buf = get(pool, 5 * MIB);
	CHECK(buf->data != data); /* the warmest, which came back last */
	dlf_buf_unref(buf);
	CHECK_EQ(stats_of(pool).peak, 12 * MIB);
	dlf_pool_unref(pool);
}

static void no_more_is_kept_than_allowed(void)
{
	dlf_pool *pool = new_pool(8 * MIB);
	dlf_buf *bufs[4];

	for (int i = 0; i < 4; i++)
		bufs[i] = get(pool, 4 * MIB);
	CHECK_EQ(stats_of(pool).mapped, 16 * MIB); /* lending has no limit */
	for (int i = 0; i < 4; i++)
		dlf_buf_unref(bufs[i]);
	CHECK_EQ(stats_of(pool).mapped, 8 * MIB);
	CHECK_EQ(stats_of(pool).idle, 8 * MIB);

	/* idle buffers of the wrong class make room for others */
	bufs[0] = get(pool, 6 * MIB);
	CHECK_EQ(stats_of(pool).mapped, 6 * MIB);
	dlf_buf_unref(bufs[0]);
	dlf_pool_set_keep(pool, 0);
	CHECK_EQ(stats_of(pool).mapped, 0);
	CHECK_EQ(stats_of(pool).idle, 0);
	dlf_pool_unref(pool);
}

static void a_buffer_outlives_the_pools_owner(void)
{
	dlf_pool *pool = new_pool(64 * MIB);
	dlf_buf *buf = get(pool, 3 * MIB);

	dlf_buf_ref(buf);
	dlf_pool_unref(pool);
	memset(buf->data, 1, buf->size);
	dlf_buf_unref(buf);
	memset(buf->data, 2, buf->size); /* one reference is left */
	dlf_buf_unref(buf);
}

static void what_cannot_be_mapped_leaves_no_trace(void)
{
	static const size_t sizes[] = {SIZE_MAX, SIZE_MAX - 1, SIZE_MAX / 2,
				       SIZE_MAX / 4 + 1, (size_t)1 << 60};
	dlf_pool *pool = new_pool(64 * MIB);
	dlf_buf *buf = NULL;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		CHECK(dlf_pool_get(pool, sizes[i], &buf) < 0);
	CHECK_EQ(stats_of(pool).mapped, 0);
	CHECK_EQ(stats_of(pool).lent, 0);
	CHECK_EQ(stats_of(pool).peak, 0);
	buf = get(pool, MIB);
	dlf_buf_unref(buf);
	CHECK_EQ(stats_of(pool).idle, MIB);
	dlf_pool_unref(pool);
}

/* Threads that lend, share and return the same pool's buffers: each writes its
 * mark and must find it again. */
#define THREADS 4
#define ROUNDS 2000

static dlf_pool *shared_pool;

static void *lend_and_return(void *arg)
{
	uintptr_t me = (uintptr_t)arg;
	unsigned state = (unsigned)me * 2654435761u + 1;

	for (int i = 0; i < ROUNDS; i++) {
		state = state * 1664525u + 1013904223u;
		size_t size = 1 + (state >> 16) % 60000;
		dlf_buf *buf = NULL;

		CHECK_EQ(dlf_pool_get(shared_pool, size, &buf), 0);
		memset(buf->data, (int)me, size);
		dlf_buf_ref(buf);
		dlf_buf_unref(buf);
		CHECK_EQ(buf->data[0], me);
		CHECK_EQ(buf->data[size - 1], me);
		dlf_buf_unref(buf);
	}
	return NULL;
}

static void threads_share_a_pool(void)
{
	pthread_t threads[THREADS];

	shared_pool = new_pool(150000);
	for (uintptr_t i = 0; i < THREADS; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, lend_and_return,
					(void *)(i + 1)),
			 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	CHECK_EQ(stats_of(shared_pool).lent, 0);
	CHECK_EQ(stats_of(shared_pool).mapped, stats_of(shared_pool).idle);
	CHECK(stats_of(shared_pool).mapped <= 150000);
	dlf_pool_unref(shared_pool);
}

/* One reference each in many threads; the last to let go returns the buffer. */
static void *let_go(void *arg)
{
	dlf_buf *buf = arg;

	CHECK_EQ(buf->data[100], 7);
	dlf_buf_unref(buf);
	return NULL;
}

static void the_last_reference_returns_the_buffer(void)
{
	dlf_pool *pool = new_pool(MIB);

	for (int round = 0; round < 50; round++) {
		pthread_t threads[THREADS];
		dlf_buf *buf = get(pool, 4096);

		buf->data[100] = 7;
		for (int i = 0; i < THREADS; i++) {
			dlf_buf_ref(buf);
			pthread_create(&threads[i], NULL, let_go, buf);
		}
		dlf_buf_unref(buf);
		for (int i = 0; i < THREADS; i++)
			pthread_join(threads[i], NULL);
		CHECK_EQ(stats_of(pool).lent, 0);
		CHECK_EQ(stats_of(pool).idle, 4096);
	}
	dlf_pool_unref(pool);
}

/* In a child the parent's pool must not be touched: its lock may be taken for
 * ever.  The child makes sure by exiting at all. */
static void a_child_lets_go_of_the_parents_buffers(void)
{
	dlf_pool *pool = new_pool(64 * MIB);
	dlf_buf *buf = get(pool, 3 * MIB);
	unsigned generation = dlf_fork_generation();
	int status;

	memset(buf->data, 9, buf->size);
	fflush(NULL);
	pid_t child = fork();
	if (!child) {
		int good = dlf_fork_generation() == generation + 1 &&
			   buf->data[MIB] == 9;
		dlf_pool *own;
		dlf_buf *mine;

		dlf_buf_unref(buf);
		good = good && !dlf_pool_new(MIB, &own) &&
		       !dlf_pool_get(own, 5000, &mine);
		if (good) {
			dlf_buf_unref(mine);
			dlf_pool_unref(own);
		}
		_exit(!good);
	}
	CHECK(child > 0);
	waitpid(child, &status, 0);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	CHECK_EQ(dlf_fork_generation(), generation);
	CHECK_EQ(buf->data[MIB], 9);
	dlf_buf_unref(buf);
	CHECK_EQ(stats_of(pool).idle, 4 * MIB);
	dlf_pool_unref(pool);
}

/* Stands in for a driver that page-locks: counts, and refuses what is large. */
static size_t pins, unpins;

static int pin_small(void *data, size_t size, unsigned flags)
{
	CHECK(data != NULL && flags == 0);
	if (size > MIB)
		return 1;
	memset(data, 0, size); /* it is mapped by now */
	pins++;
	return 0;
}

static int unpin(void *data)
{
	*(unsigned char *)data = 1; /* it still is */
	unpins++;
	return 0;
}

static dlf_pool *new_pinned_pool(size_t keep)
{
	dlf_pool *pool = new_pool(keep);

	pins = unpins = 0;
	dlf_pool_set_pin(pool, pin_small, unpin);
	return pool;
}

static void memory_is_pinned_for_as_long_as_it_is_mapped(void)
{
	dlf_pool *pool = new_pinned_pool(MIB);
	dlf_buf *first = get(pool, MIB / 2), *second = get(pool, MIB);

	CHECK_EQ(pins, 2);
	CHECK_EQ(stats_of(pool).pinned, MIB / 2 + MIB);
	dlf_buf_unref(second); /* more than is kept */
	CHECK_EQ(unpins, 1);
	CHECK_EQ(stats_of(pool).pinned, MIB / 2);
	dlf_buf_unref(first);
	first = get(pool, MIB / 2);
	CHECK_EQ(pins, 2); /* pinned once, lent twice */
	dlf_buf_unref(first);
	dlf_pool_set_keep(pool, 0);
	CHECK_EQ(unpins, 2);
	CHECK_EQ(stats_of(pool).pinned, 0);
	CHECK_EQ(stats_of(pool).pin_failures, 0);
	dlf_pool_unref(pool);
}

static void idle_memory_is_unpinned_with_its_pool(void)
{
	dlf_pool *pool = new_pinned_pool(MIB);

	dlf_buf_unref(get(pool, 5000));
	dlf_pool_unref(pool);
	CHECK_EQ(unpins, 1);
}

static void what_cannot_be_pinned_is_lent_all_the_same(void)
{
	dlf_pool *pool = new_pinned_pool(0);
	dlf_buf *buf = get(pool, 3 * MIB);

	CHECK_EQ(stats_of(pool).pinned, 0);
	CHECK_EQ(stats_of(pool).pin_failures, 1);
	memset(buf->data, 3, buf->size);
	dlf_buf_unref(buf);
	CHECK_EQ(unpins, 0);
	CHECK_EQ(stats_of(pool).mapped, 0);
	dlf_pool_unref(pool);
}

static void a_child_does_not_unpin_what_its_parent_has_pinned(void)
{
	dlf_pool *pool = new_pinned_pool(0);
	dlf_buf *buf = get(pool, 5000);
	int status;

	fflush(NULL);
	pid_t child = fork();
	if (!child) {
		dlf_buf_unref(buf);
		_exit(unpins != 0);
	}
	CHECK(child > 0);
	waitpid(child, &status, 0);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	dlf_buf_unref(buf);
	CHECK_EQ(unpins, 1);
	dlf_pool_unref(pool);
}

void test_pool(void)
{
	memory_is_pinned_for_as_long_as_it_is_mapped();
	idle_memory_is_unpinned_with_its_pool();
	what_cannot_be_pinned_is_lent_all_the_same();
	a_child_does_not_unpin_what_its_parent_has_pinned();
	capacities_grow_in_small_steps();
	buffers_are_aligned_and_writable();
	memory_is_used_again();
	no_more_is_kept_than_allowed();
	a_buffer_outlives_the_pools_owner();
	what_cannot_be_mapped_leaves_no_trace();
	threads_share_a_pool();
	the_last_reference_returns_the_buffer();
	a_child_lets_go_of_the_parents_buffers();
}
