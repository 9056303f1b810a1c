/* SPDX-License-Identifier: Apache-2.0
 *
 * A batch as a job of the ring: one task a file, each sample read to its place in
 * one buffer.
 */
#ifndef DLF_BATCH_H
#define DLF_BATCH_H

#include "dlf_task.h"

typedef struct dlf_batch_task {
	uint64_t file;
	size_t first;          /* of its slots in order[] */
	size_t count;
	dlf_fault fault;
} dlf_batch_task;

typedef struct dlf_batch {
	dlf_job job;           /* first: the ring's view of it */
	const dlf_plan *plan;
	dlf_pool *pool;
	dlf_cache *cache;      /* NULL: none; set before submitting, lives longer
				* than the ring */
	size_t n;              /* samples asked for; after dlf_batch_compact,
				* those that are good */
	uint64_t *samples;     /* [n] ids: file * samples_per_file + index */
	dlf_batch_task *tasks; /* [job.tasks], in order of the file */
	dlf_buf *buf;          /* NULL where every sample is loose */
	size_t *offsets;       /* [n_fields] where a field begins in buf */
	dlf_loose **loose;     /* [n * n_fields] NULL: in place; all are unless
				* target.any_loose */
	dlf_target target;
	dlf_place *places;     /* private, like all below */
	uint32_t *order;
	uint8_t *bad;
} dlf_batch;

/* Bytes of the buffer for n samples; 0 for a ragged plan. */
size_t dlf_batch_bytes(const dlf_plan *plan, size_t n);

/* Make a batch of n >= 1 sample ids, its buffer from the pool.  -EINVAL: an id is
 * outside the data set.  The batch is freed by its job.free. */
int dlf_batch_new(const dlf_plan *plan, dlf_pool *pool, const int64_t *samples,
		  size_t n, dlf_batch **out);

/* Once delivered: close the gaps that failed files leave, so that samples[0..n)
 * and what lies in the buffer are the good ones, in order. */
void dlf_batch_compact(dlf_batch *batch);

#endif
