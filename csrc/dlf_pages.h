/* SPDX-License-Identifier: Apache-2.0
 *
 * The page headers of a Parquet column chunk, looked through before a library unpacks
 * the pages: what they will take is otherwise told by nobody who can be believed.
 */
#ifndef DLF_PAGES_H
#define DLF_PAGES_H

#include <stddef.h>

#include "dlf_error.h"

typedef struct dlf_pages {
	uint64_t count;       /* pages */
	uint64_t unpacked;    /* bytes of all pages without their headers */
	uint64_t values;      /* in data pages */
	uint32_t encodings;   /* of values: bit i for Parquet's encoding i */
} dlf_pages;

/* Look through the pages in chunk[n], which begins at byte `start` of its file, until
 * `values` values are found.  DLF_EFORMAT: a header is malformed, or the chunk ends
 * before. */
int dlf_pages_scan(const unsigned char *chunk, size_t n, uint64_t start,
		   uint64_t values, dlf_pages *pages, dlf_fault *fault);

#endif
