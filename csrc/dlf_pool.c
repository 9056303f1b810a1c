/* SPDX-License-Identifier: Apache-2.0 */
#include "dlf_pool.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "dlf_counters.h"

#define HUGE_PAGE ((size_t)2 << 20)

struct dlf_pool {
	pthread_mutex_t lock;
	atomic_int refs;
	size_t keep;
	dlf_pin_fn *pin; /* NULL: buffers are not pinned */
	dlf_unpin_fn *unpin;
	dlf_pool_stats stats;
	dlf_buf *idle; /* most recently returned first: the warmest memory */
};

static atomic_uint fork_generation;
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;

static void count_fork(void)
{
	atomic_fetch_add(&fork_generation, 1);
	dlf_counters_reset();
}

static void watch_forks(void)
{
	pthread_atfork(NULL, NULL, count_fork);
}

unsigned dlf_fork_generation(void)
{
	pthread_once(&fork_once, watch_forks);
	return atomic_load_explicit(&fork_generation, memory_order_relaxed);
}

/* Sizes are rounded up to quarter steps between powers of two, so that files of
 * slightly different sizes share buffers, at no more than 25 % of address space
 * (untouched pages cost no memory). */
size_t dlf_pool_capacity(size_t size)
{
	size_t grain = DLF_POOL_ALIGN;

	if (size > SIZE_MAX / 4)
		return size;
	while (grain * 8 < size)
		grain *= 2;
	if (size >= HUGE_PAGE && grain < HUGE_PAGE)
		grain = HUGE_PAGE;
	if (!size)
		return grain;
	return (size + grain - 1) / grain * grain;
}

int dlf_pool_new(size_t keep, dlf_pool **out)
{
	dlf_pool *pool = calloc(1, sizeof(*pool));

	if (!pool)
		return -ENOMEM;
	if (pthread_mutex_init(&pool->lock, NULL)) {
		free(pool);
		return -ENOMEM;
	}
	atomic_init(&pool->refs, 1);
	pool->keep = keep;
	dlf_fork_generation();
	*out = pool;
	return 0;
}

void dlf_pool_ref(dlf_pool *pool)
{
	atomic_fetch_add_explicit(&pool->refs, 1, memory_order_relaxed);
}

void *dlf_map(size_t capacity)
{
	size_t align = capacity >= HUGE_PAGE ? HUGE_PAGE : DLF_POOL_ALIGN;
	size_t slack = align - DLF_POOL_ALIGN;
	unsigned char *base, *data;

	if (capacity > SIZE_MAX - slack)
		return NULL;
	base = mmap(NULL, capacity + slack, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (base == MAP_FAILED)
		return NULL;
	data = (unsigned char *)(((uintptr_t)base + align - 1) & ~(align - 1));
	if (data > base)
		munmap(base, (size_t)(data - base));
	if (data + capacity < base + capacity + slack)
		munmap(data + capacity,
		       (size_t)(base + capacity + slack - (data + capacity)));
	if (capacity >= HUGE_PAGE)
		madvise(data, capacity, MADV_HUGEPAGE); /* best effort */
	return data;
}

static void unmap_buf(dlf_buf *buf)
{
	if (buf->generation == dlf_fork_generation()) {
		dlf_count(DLF_COUNT_BUFFER_BYTES, -(int64_t)buf->capacity);
		if (buf->pinned)
			buf->pool->unpin(buf->data);
	}
	munmap(buf->data, buf->capacity);
	free(buf);
}

void dlf_pool_unref(dlf_pool *pool)
{
	dlf_buf *buf, *next;

	if (atomic_fetch_sub_explicit(&pool->refs, 1, memory_order_acq_rel) > 1)
		return;
	for (buf = pool->idle; buf; buf = next) {
		next = buf->next;
		unmap_buf(buf);
	}
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}

/* Unlink the oldest idle buffers until `room` more bytes fit under keep. */
static dlf_buf *evict(dlf_pool *pool, size_t room)
{
	dlf_buf *evicted = NULL;

	while (pool->idle && pool->stats.mapped + room > pool->keep) {
		dlf_buf **link = &pool->idle;
		while ((*link)->next)
			link = &(*link)->next;
		dlf_buf *oldest = *link;
		*link = NULL;
		pool->stats.mapped -= oldest->capacity;
		pool->stats.idle -= oldest->capacity;
		if (oldest->pinned)
			pool->stats.pinned -= oldest->capacity;
		oldest->next = evicted;
		evicted = oldest;
	}
	return evicted;
}

static void unmap_list(dlf_buf *buf)
{
	while (buf) {
		dlf_buf *next = buf->next;
		unmap_buf(buf);
		buf = next;
	}
}

void dlf_pool_set_pin(dlf_pool *pool, dlf_pin_fn *pin, dlf_unpin_fn *unpin)
{
	pool->pin = pin;
	pool->unpin = unpin;
}

void dlf_pool_set_keep(dlf_pool *pool, size_t keep)
{
	pthread_mutex_lock(&pool->lock);
	pool->keep = keep;
	dlf_buf *evicted = evict(pool, 0);
	pthread_mutex_unlock(&pool->lock);
	unmap_list(evicted);
}

static dlf_buf *take_idle(dlf_pool *pool, size_t capacity)
{
	for (dlf_buf **link = &pool->idle; *link; link = &(*link)->next) {
		dlf_buf *buf = *link;
		if (buf->capacity != capacity)
			continue;
		*link = buf->next;
		pool->stats.idle -= capacity;
		return buf;
	}
	return NULL;
}

int dlf_pool_get(dlf_pool *pool, size_t size, dlf_buf **out)
{
	size_t capacity = dlf_pool_capacity(size);
	dlf_buf *buf, *evicted = NULL;

	if (size > SIZE_MAX / 4)
		return -ENOMEM; /* and no sum of capacities overflows */
	pthread_mutex_lock(&pool->lock);
	buf = take_idle(pool, capacity);
	if (!buf) {
		evicted = evict(pool, capacity);
		pool->stats.mapped += capacity;
	}
	pool->stats.lent++;
	pthread_mutex_unlock(&pool->lock);
	unmap_list(evicted);

	if (!buf) {
		buf = calloc(1, sizeof(*buf));
		if (buf)
			buf->data = dlf_map(capacity);
		int mapped = buf && buf->data;
		if (mapped && pool->pin)
			buf->pinned = !pool->pin(buf->data, capacity, 0);
		pthread_mutex_lock(&pool->lock);
		if (!mapped) {
			pool->stats.mapped -= capacity;
			pool->stats.lent--;
		} else if (pool->stats.mapped > pool->stats.peak) {
			pool->stats.peak = pool->stats.mapped;
		}
		if (mapped && buf->pinned)
			pool->stats.pinned += capacity;
		else if (mapped && pool->pin)
			pool->stats.pin_failures++;
		pthread_mutex_unlock(&pool->lock);
		if (!mapped) {
			free(buf);
			return -ENOMEM;
		}
		buf->capacity = capacity;
		buf->pool = pool;
		buf->generation = dlf_fork_generation();
		dlf_count(DLF_COUNT_BUFFER_BYTES, (int64_t)capacity);
	}
	buf->size = size;
	buf->next = NULL;
	atomic_store_explicit(&buf->refs, 1, memory_order_relaxed);
	dlf_pool_ref(pool);
	dlf_count(DLF_COUNT_BUFFERS_LENT, 1);
	*out = buf;
	return 0;
}

void dlf_buf_ref(dlf_buf *buf)
{
	atomic_fetch_add_explicit(&buf->refs, 1, memory_order_relaxed);
}

void dlf_buf_unref(dlf_buf *buf)
{
	dlf_pool *pool = buf->pool;

	if (atomic_fetch_sub_explicit(&buf->refs, 1, memory_order_acq_rel) > 1)
		return;
	if (buf->generation != dlf_fork_generation()) {
		unmap_buf(buf); /* the pool's lock is an ancestor's */
		return;
	}
	dlf_count(DLF_COUNT_BUFFERS_LENT, -1);
	pthread_mutex_lock(&pool->lock);
	pool->stats.lent--;
	int keep = pool->stats.mapped <= pool->keep;
	if (keep) {
		buf->next = pool->idle;
		pool->idle = buf;
		pool->stats.idle += buf->capacity;
	} else {
		pool->stats.mapped -= buf->capacity;
		if (buf->pinned)
			pool->stats.pinned -= buf->capacity;
	}
	pthread_mutex_unlock(&pool->lock);
	if (!keep)
		unmap_buf(buf);
	dlf_pool_unref(pool);
}

void dlf_pool_get_stats(dlf_pool *pool, dlf_pool_stats *out)
{
	pthread_mutex_lock(&pool->lock);
	*out = pool->stats;
	pthread_mutex_unlock(&pool->lock);
}
