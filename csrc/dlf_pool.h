/* SPDX-License-Identifier: Apache-2.0
 *
 * Reusable buffers: aligned, huge-page backed, refcounted.
 *
 * First touch of fresh memory costs several times what reading into it does, so
 * buffers are kept and lent again.  A buffer returns to its pool when its last
 * reference goes, never before, and outlives the pool's owner if need be.
 */
#ifndef DLF_POOL_H
#define DLF_POOL_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define DLF_POOL_ALIGN ((size_t)4096)

typedef struct dlf_pool dlf_pool;

typedef struct dlf_buf {
	unsigned char *data; /* DLF_POOL_ALIGN-aligned; 2 MiB-aligned if >= 2 MiB */
	size_t size;         /* bytes asked for */
	size_t capacity;     /* bytes mapped, what the budget counts */
	dlf_pool *pool;      /* private, like all below */
	atomic_int refs;
	unsigned generation;
	int pinned;
	struct dlf_buf *next;
} dlf_buf;

typedef struct dlf_pool_stats {
	size_t mapped; /* bytes of all buffers, lent and idle */
	size_t idle;   /* bytes of buffers waiting to be lent */
	size_t lent;   /* how many buffers are lent */
	size_t peak;   /* most bytes ever mapped at once */
	size_t pinned; /* bytes of buffers that are page-locked */
	size_t pin_failures; /* buffers that pin() has refused */
} dlf_pool_stats;

/* A pool that keeps idle buffers as long as no more than `keep` bytes are
 * mapped in all; beyond that a returning buffer is unmapped. */
int dlf_pool_new(size_t keep, dlf_pool **out);
void dlf_pool_ref(dlf_pool *pool);
void dlf_pool_unref(dlf_pool *pool);

/* Call pin(data, capacity, 0) on every buffer that is mapped from now on, and
 * unpin(data) before it is unmapped; both return 0 or an error.  What cannot be
 * pinned serves unpinned, and is counted.  No forked child unpins what its parent
 * has pinned.  To be called before the first buffer is lent. */
typedef int dlf_pin_fn(void *data, size_t size, unsigned flags);
typedef int dlf_unpin_fn(void *data);
void dlf_pool_set_pin(dlf_pool *pool, dlf_pin_fn *pin, dlf_unpin_fn *unpin);

void dlf_pool_set_keep(dlf_pool *pool, size_t keep);
void dlf_pool_get_stats(dlf_pool *pool, dlf_pool_stats *out);

/* Bytes that a buffer of that size will occupy. */
size_t dlf_pool_capacity(size_t size);

/* Lend a buffer of at least size bytes with one reference; its contents are
 * undefined.  -ENOMEM. */
int dlf_pool_get(dlf_pool *pool, size_t size, dlf_buf **out);
void dlf_buf_ref(dlf_buf *buf);
void dlf_buf_unref(dlf_buf *buf);

/* Map capacity bytes of fresh zeroed memory, aligned and huge-page advised like a
 * buffer's; undone by munmap(pointer, capacity).  NULL when there is none. */
void *dlf_map(size_t capacity);

/* Counts the forks this process descends from since the library was loaded.  What
 * was made under another count belongs to an ancestor: its locks may be held by
 * threads that do not exist here and must not be taken. */
unsigned dlf_fork_generation(void);

#endif
