/* SPDX-License-Identifier: Apache-2.0
 *
 * Copying samples out of a whole array in memory.
 */
#ifndef DLF_GATHER_H
#define DLF_GATHER_H

#include "dlf_npy.h"

/* Longer dtype literals are not kept: an array that has one has its plan's. */
#define DLF_DESCR_MAX 64

/* How the samples of an array lie in it, and what one of them looks like.  Points
 * to nothing, so that it may outlive the file it was learned from. */
typedef struct dlf_layout {
	uint64_t start;        /* of the .npy in the file, for faults */
	int array_ndim;
	uint64_t array_shape[DLF_NPY_MAX_DIMS];
	int fortran_order;
	uint64_t itemsize;
	int axis;              /* -1: the whole array is the sample */
	uint64_t samples;      /* along the axis */
	/* of one sample */
	int ndim;
	uint64_t shape[DLF_NPY_MAX_DIMS];
	uint64_t sample_bytes;
	size_t descr_len;      /* 0: the plan's */
	char descr[DLF_DESCR_MAX];
	int expected;          /* same dtype and shape as the plan's */
} dlf_layout;

/* Copy sample `index`, in C order, out of the array whose payload is at src. */
void dlf_gather_sample(const dlf_layout *layout, const unsigned char *src,
		       uint64_t index, unsigned char *dst);

#endif
