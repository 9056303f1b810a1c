/* SPDX-License-Identifier: Apache-2.0
 *
 * The page headers of a Parquet column chunk, looked through before a library unpacks
 * the pages: what they will take is otherwise told by nobody who can be believed.
 */
#ifndef DLF_PAGES_H
#define DLF_PAGES_H

#include <stddef.h>

#include "dlf_error.h"

enum { DLF_PAGE_DATA = 0, DLF_PAGE_DICTIONARY = 2, DLF_PAGE_DATA_V2 = 3 };

/* A page as its header describes it; -1: it does not say. */
typedef struct dlf_page {
	int64_t type, unpacked, packed, values, encoding;
	int64_t crc, has_crc;
	int64_t level_encodings[2]; /* definition, repetition; V1 */
	int64_t level_bytes[2];     /* the same; V2 */
	const unsigned char *body;  /* packed bytes */
} dlf_page;

/* The page at *at, which is moved behind it; what it says lies in range, and the body
 * before `end`.  Else a clause that says what is wrong; NULL: nothing is. */
const char *dlf_page_next(const unsigned char **at, const unsigned char *end,
			  dlf_page *page);

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
