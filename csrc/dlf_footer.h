/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the column chunks of a Parquet file lie, as its footer says.
 */
#ifndef DLF_FOOTER_H
#define DLF_FOOTER_H

#include <stddef.h>

#include "dlf_error.h"

/* What is said of a column chunk: numbers as they are in the footer, -1 where it does
 * not say. */
enum { DLF_CHUNK_CODEC, DLF_CHUNK_VALUES, DLF_CHUNK_UNPACKED, DLF_CHUNK_PACKED,
       DLF_CHUNK_DATA, DLF_CHUNK_DICTIONARY, DLF_CHUNK_ELSEWHERE, DLF_CHUNK_NUMBERS };

/* Read the row groups: how many rows each has into rows[groups], its chunks into
 * chunks[groups * columns * DLF_CHUNK_NUMBERS].  DLF_EFORMAT: the footer is malformed,
 * or there are not as many. */
int dlf_footer_read(const unsigned char *footer, size_t n, uint64_t groups,
		    uint64_t columns, int64_t *rows, int64_t *chunks,
		    dlf_fault *fault);

#endif
