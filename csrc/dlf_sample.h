/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading samples out of one NPZ or NPY file: find the arrays, check them against
 * what the data set expects, and bring each wanted sample to its place, with the
 * checksum taken on the way.
 */
#ifndef DLF_SAMPLE_H
#define DLF_SAMPLE_H

#include "dlf_cache.h"
#include "dlf_plan.h"
#include "dlf_pool.h"
#include "dlf_ring.h"

/* A sample that has a buffer of its own, because it differs from the plan's shape
 * or dtype, or because the plan is ragged. */
typedef struct dlf_loose {
	dlf_buf *buf;
	unsigned char *data;     /* 64-byte aligned, inside buf */
	uint64_t nbytes;
	int ndim;
	uint64_t shape[DLF_NPY_MAX_DIMS];
	size_t descr_len;
	char descr[DLF_DESCR_MAX];
} dlf_loose;

/* Where a sample is to go. */
typedef struct dlf_place {
	uint64_t index;          /* of the sample in its file */
	unsigned char **in_batch; /* per field: its place in the batch; NULL
				  * entries get a loose buffer */
	dlf_loose **loose;       /* per field: set where one was made */
} dlf_place;

/* Read `count` samples of file number `file`, of all fields.  The path is built
 * here; faults name member and offset.  What was made loose stays with places,
 * also after a failure.  With a cache (NULL: none), arrays that samples are copied
 * out of are read into it and found there; a file that it has whole is not opened
 * again. */
int dlf_sample_read(const dlf_plan *plan, uint64_t file, dlf_place *places,
		    size_t count, dlf_pool *pool, dlf_cache *cache,
		    dlf_job *job, dlf_worker *worker, dlf_fault *fault);

void dlf_loose_free(dlf_loose *loose);

#endif
