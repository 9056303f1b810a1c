/* SPDX-License-Identifier: Apache-2.0
 *
 * Whole arrays of files kept for a while, so that a file whose samples are spread
 * over several batches is read once.
 *
 * Bounded by bytes.  A file whose samples have all been taken goes at once, for in
 * a pass over the data nobody will want it again; else the least recently used of
 * those that nobody is reading from makes room.  What finds no room is not kept:
 * nobody ever waits for room.
 *
 * Several threads may ask for one file: the first loads it, the others wait for
 * that.  It is free of deadlock as long as the loader itself waits for nothing:
 * neither for another file of the cache nor for the ring's budget.
 */
#ifndef DLF_CACHE_H
#define DLF_CACHE_H

#include "dlf_plan.h"
#include "dlf_pool.h"

typedef struct dlf_cache dlf_cache;

typedef struct dlf_cache_array {
	dlf_buf *buf;          /* the payload; NULL: not kept */
	dlf_layout layout;
} dlf_cache_array;

typedef struct dlf_cache_entry {
	const dlf_plan *plan;  /* the key: a file of a plan, or a part of it */
	uint64_t file;
	uint64_t part;         /* 0: the file */
	uint64_t samples;      /* in it, after which it goes */
	size_t bytes;          /* reserved: the capacities of the buffers */
	int state;             /* private, like all up to arrays[] */
	size_t pins;           /* threads that load it, wait for it, or use it */
	uint64_t taken;        /* samples */
	struct dlf_cache_entry *next_in_bucket;
	struct dlf_cache_entry *older, *newer;
	/* [plan->n_fields] written by the loader, constant once published */
	dlf_cache_array arrays[];
} dlf_cache_entry;

typedef struct dlf_cache_stats {
	uint64_t hits;         /* gets that found the file, or waited for it */
	uint64_t misses;       /* gets that did not */
	uint64_t waits;        /* gets that waited while another thread loaded */
	size_t bytes;          /* held now */
	size_t peak;           /* most bytes ever held at once */
} dlf_cache_stats;

int dlf_cache_new(size_t capacity, dlf_cache **out);

/* No thread may be using it any more. */
void dlf_cache_free(dlf_cache *cache); /* NULL is fine */

enum dlf_cache_found {
	DLF_CACHE_HIT,  /* *entry is ready; dlf_cache_release it after use */
	DLF_CACHE_LOAD, /* *entry is the caller's to load: it owes a
			 * dlf_cache_publish or a dlf_cache_abandon */
	DLF_CACHE_NONE, /* read it without the cache: files of that plan are
			 * too large, or whoever was loading it abandoned it */
};

/* Ask for a file.  Waits while another thread loads it.  The plan must outlive the
 * cache. */
enum dlf_cache_found dlf_cache_get(dlf_cache *cache, const dlf_plan *plan,
				   uint64_t file, dlf_cache_entry **entry);

/* The same for a part of a file, which holds that many samples; parts are numbered
 * from 1 on. */
enum dlf_cache_found dlf_cache_get_part(dlf_cache *cache, const dlf_plan *plan,
					uint64_t file, uint64_t part,
					uint64_t samples,
					dlf_cache_entry **entry);

/* Make room for an array of an entry that is being loaded, and take its buffer
 * from the pool.  DLF_EBUDGET: all that could make room is in use; -ENOMEM. */
int dlf_cache_reserve(dlf_cache *cache, dlf_cache_entry *entry, size_t field,
		      dlf_pool *pool, uint64_t size);

/* What was loaded is there for all; it stays the caller's to release. */
void dlf_cache_publish(dlf_cache *cache, dlf_cache_entry *entry);

/* It could not be loaded: wake who waits for it, and forget it. */
void dlf_cache_abandon(dlf_cache *cache, dlf_cache_entry *entry);

/* The caller has taken that many of the entry's samples and uses it no more. */
void dlf_cache_release(dlf_cache *cache, dlf_cache_entry *entry,
		       uint64_t samples);

void dlf_cache_get_stats(dlf_cache *cache, dlf_cache_stats *out);

#endif
