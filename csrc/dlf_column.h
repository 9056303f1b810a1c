/* SPDX-License-Identifier: Apache-2.0
 *
 * Values out of a Parquet column chunk that is as most are which hold training data:
 * numbers, not compressed, without nulls, PLAIN or in a dictionary, each row one of
 * them or a list of as many as every other.
 */
#ifndef DLF_COLUMN_H
#define DLF_COLUMN_H

#include <stddef.h>

#include "dlf_error.h"

typedef struct dlf_column {
	unsigned stored;       /* bytes of a value in the file; 0: a bit */
	unsigned itemsize;     /* of a value in memory: as many, or less where an
				* integer of 8 or 16 bits is stored in 4 */
	unsigned definition;   /* level of a value that is there; at most 15 */
	uint64_t list;         /* values of each row where rows are lists, else 0 */
} dlf_column;

/* Decode chunk[n], which holds `values` values, into out[values * itemsize].
 * DLF_EUNSUPPORTED: it is not like that, or malformed; a library has to look at it,
 * and what is in `out` means nothing. */
int dlf_column_decode(const dlf_column *column, const unsigned char *chunk, size_t n,
		      uint64_t values, void *out);

#endif
