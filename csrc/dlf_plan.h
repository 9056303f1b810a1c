/* SPDX-License-Identifier: Apache-2.0
 *
 * What a data set's samples are read from and what they must look like, as its
 * first file has them.
 */
#ifndef DLF_PLAN_H
#define DLF_PLAN_H

#include "dlf_gather.h"
#include "dlf_npy.h"

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

/* Memory that the arrays of a file like the first one take whole, in buffers of a
 * pool; SIZE_MAX where that is beyond all sizes. */
size_t dlf_plan_file_bytes(const dlf_plan *plan);

/* How the samples lie in the array of that field whose header is npy, and which
 * begins at byte `start` of its file.  DLF_ESAMPLE: they are not what the plan can
 * deliver. */
int dlf_plan_layout(const dlf_plan *plan, size_t field, const dlf_npy *npy,
		    uint64_t start, dlf_layout *layout, dlf_fault *fault);

#endif
