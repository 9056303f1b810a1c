/* SPDX-License-Identifier: Apache-2.0
 *
 * The .npy header, versions 1.0, 2.0 and 3.0 (numpy.lib.format), read without
 * eval: a parser for exactly the literals that numpy writes.
 */
#ifndef DLF_NPY_H
#define DLF_NPY_H

#include <stddef.h>
#include <stdint.h>

#include "dlf_error.h"

#define DLF_NPY_MAX_DIMS 64
#define DLF_NPY_MAX_HEADER ((size_t)16 << 20)

typedef struct dlf_npy {
	uint64_t data_offset; /* payload's first byte, from the start of the .npy */
	uint64_t nbytes;      /* payload: itemsize x product of the shape */
	uint64_t items;       /* product of the shape */
	uint64_t itemsize;
	int major;            /* 1, 2 or 3 */
	int fortran_order;
	int ndim;
	uint64_t shape[DLF_NPY_MAX_DIMS];
	/* The dtype literal as written, quotes stripped for a simple one
	 * ("<f4"), the whole list text for a structured one.  Points into the
	 * header given to dlf_npy_parse. */
	const char *descr;
	size_t descr_len;
	int structured;
} dlf_npy;

/* Parse the header at the start of head[0..have).  npy_size is the size of the
 * whole .npy (file or member), against which header length and payload are
 * checked, overflow included.  file_offset is where head lies in the file, for
 * the fault's offset only.
 *
 * DLF_EMORE: head is too short, *need says how many bytes are needed from the
 * start.  DLF_EFORMAT, DLF_ETRUNCATED (payload longer than npy_size),
 * DLF_EUNSUPPORTED (object dtype).  A payload shorter than npy_size is accepted
 * here, as numpy accepts it. */
int dlf_npy_parse(const void *head, size_t have, uint64_t npy_size,
		  uint64_t file_offset, dlf_npy *npy, size_t *need,
		  dlf_fault *fault);

#endif
