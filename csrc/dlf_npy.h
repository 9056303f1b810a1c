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
	uint64_t data_offset; /* of the payload, from the start of the .npy */
	uint64_t nbytes;      /* payload: itemsize x product of the shape */
	uint64_t items;       /* product of the shape */
	uint64_t itemsize;
	int major;            /* 1, 2 or 3 */
	int fortran_order;
	int ndim;
	uint64_t shape[DLF_NPY_MAX_DIMS];
	/* The dtype literal as written, quotes stripped for a simple one
	 * ("<f4"), the whole list text for a structured one: UTF-8 if major is
	 * 3, else Latin-1.  Points into the header given to dlf_npy_parse. */
	const char *descr;
	size_t descr_len;
	int structured;
} dlf_npy;

/* Parse the header at the start of head[0..have).  npy_size is the size of the
 * whole .npy (file or member), against which header length and payload are
 * checked, overflow included.  file_offset is where head lies in the file, for
 * the fault's offset only.
 *
 * DLF_EMORE: head is too short; *need, at most npy_size and
 * DLF_NPY_MAX_HEADER, says how many bytes are needed from the start (no fault
 * is recorded).  DLF_EFORMAT, DLF_ETRUNCATED (header or payload longer than
 * npy_size), DLF_EUNSUPPORTED (object dtype).  A payload shorter than npy_size
 * is accepted here, as numpy accepts it.
 *
 * Stricter than numpy where its writer never goes: a repeated key, a comment, a
 * tuple as dtype, a dtype without its byte order are DLF_EFORMAT.  What is left
 * to whoever builds the dtype: field names given twice, and the L of Python 2
 * behind the sizes of a structured dtype's subarrays. */
int dlf_npy_parse(const void *head, size_t have, uint64_t npy_size,
		  uint64_t file_offset, dlf_npy *npy, size_t *need,
		  dlf_fault *fault);

#endif
