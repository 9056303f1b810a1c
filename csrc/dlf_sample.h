/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading samples out of one NPZ or NPY file: find the arrays, check them against
 * what the data set expects, and bring each wanted sample to its place, with the
 * checksum taken on the way.
 */
#ifndef DLF_SAMPLE_H
#define DLF_SAMPLE_H

#include "dlf_gather.h"
#include "dlf_npy.h"
#include "dlf_pool.h"
#include "dlf_ring.h"

/* One array of a sample, as the first file of the data set has it. */
typedef struct dlf_field {
	const char *member;     /* archive member ("x.npy"); unused for NPY */
	size_t member_len;
	const char *descr;      /* dtype literal as in the header */
	size_t descr_len;
	uint64_t itemsize;
	int ndim;               /* of a sample */
	uint64_t shape[DLF_NPY_MAX_DIMS];
	size_t sample_bytes;
} dlf_field;

enum dlf_container { DLF_NPY_FILE, DLF_NPZ_FILE };

/* What to read and how; everything it points to belongs to its maker and must
 * outlive every batch made from it. */
typedef struct dlf_plan {
	enum dlf_container container;
	int direct;
	int verify;              /* check stored checksums */
	int ragged;              /* sizes differ: every sample gets its own buffer */
	int has_axis;            /* else the whole array is one sample */
	int axis;                /* negative counts from the last */
	uint64_t samples_per_file;
	const char *root;        /* path of file i: root + names + offsets[i] */
	const char *names;
	const uint64_t *offsets;
	uint64_t n_files;
	const dlf_field *fields;
	size_t n_fields;
} dlf_plan;

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
 * also after a failure. */
int dlf_sample_read(const dlf_plan *plan, uint64_t file, dlf_place *places,
		    size_t count, dlf_pool *pool, dlf_job *job,
		    dlf_worker *worker, dlf_fault *fault);

void dlf_loose_free(dlf_loose *loose);

#endif
