/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the samples of an indexed binary file lie: the table in the two files
 * beside it, FILE.off.idx and FILE.sz.idx, which hold a native uint64 a sample,
 * its offset and its size in bytes (DLIO, indexed_binary_generator.py).
 */
#ifndef DLF_INDEX_H
#define DLF_INDEX_H

#include "dlf_file.h"
#include "dlf_plan.h"

/* Samples of a file at most: beyond it, the table alone would take 2 GiB. */
#define DLF_INDEX_MOST ((uint64_t)1 << 27)

/* Of this size must the memory be that a table is read through. */
#define DLF_INDEX_BLOCK ((size_t)64 << 10)

typedef struct dlf_index {
	dlf_table table;
	uint64_t samples;
	/* The data file that it fits: */
	uint64_t data_size;
	int64_t mtime_sec;
	uint32_t mtime_nsec;
	/* Sample i has `size` bytes at (i % period) * size; or, where there are
	 * extents, extents[2 i + 1] bytes at extents[2 i].  Nothing reaches
	 * beyond the data file. */
	uint64_t size, period;
	uint64_t *extents;
} dlf_index;

static inline void dlf_index_at(const dlf_index *index, uint64_t i,
				uint64_t *offset, uint64_t *size)
{
	if (index->extents) {
		*offset = index->extents[2 * i];
		*size = index->extents[2 * i + 1];
	} else {
		*offset = i % index->period * index->size;
		*size = index->size;
	}
}

/* Does the table fit the data file as it is now? */
int dlf_index_fits(const dlf_index *index, const dlf_file *data);

/* Read the table of the open data file at `path`.  Offsets that start again at 0
 * where samples of one size fill the data file exactly are DLIO's mistake in files
 * larger than its generation buffer: these samples lie one after the other.
 *
 * DLF_EFORMAT (no table, or its halves disagree), DLF_ETRUNCATED (a sample reaches
 * beyond the data file), DLF_EUNSUPPORTED (more than DLF_INDEX_MOST samples),
 * -errno.  Faults name the half. */
int dlf_index_read(const char *path, const dlf_file *data, dlf_io *io, int flags,
		   unsigned char *block, dlf_index **out, dlf_fault *fault);

void dlf_index_free(dlf_index *index);

#endif
