/* SPDX-License-Identifier: Apache-2.0
 *
 * HDF5: samples along the first axis of datasets, read from where the file's
 * metadata say they lie.  The metadata themselves are read by the plan's maker,
 * once a file, and handed over as a description.
 */
#ifndef DLF_HDF5_H
#define DLF_HDF5_H

#include "dlf_chunk.h"
#include "dlf_task.h"

#define DLF_HDF5_MAX_DIMS 32
#define DLF_HDF5_NOWHERE UINT64_MAX

typedef struct dlf_hdf5_chunk {
	uint64_t index;        /* in the grid of chunks, in C order */
	uint64_t address;
	uint64_t size;         /* in the file */
	uint64_t mask;         /* filters that were left out */
} dlf_hdf5_chunk;

/* A dataset. */
typedef struct dlf_hdf5_field {
	dlf_layout layout;     /* of its samples */
	int ndim;
	uint64_t shape[DLF_HDF5_MAX_DIMS];
	const unsigned char *fill; /* [layout.itemsize] what was never written
				    * is; NULL: zeros */
	uint64_t address;      /* of contiguous data; DLF_HDF5_NOWHERE: none
				* were written.  Unused where chunked. */
	int chunked;
	uint64_t chunk[DLF_HDF5_MAX_DIMS];
	uint64_t grid[DLF_HDF5_MAX_DIMS];
	uint64_t row;          /* chunks that hold a sample */
	int whole;             /* a row is one chunk, and as wide as a sample */
	dlf_packing packing;
	uint64_t largest;      /* chunk in the file */
	const dlf_hdf5_chunk *chunks; /* by ascending index; others were never
				       * written */
	size_t n_chunks;
} dlf_hdf5_field;

typedef struct dlf_hdf5_table {
	dlf_table table;
	uint64_t size;         /* of the file that was described, which it was, */
	uint64_t inode;
	int64_t mtime_ns;      /* and when it was changed last */
	uint64_t samples;
	int by_maker;          /* the core cannot read this one */
	dlf_hdf5_field fields[]; /* [plan->n_fields] */
} dlf_hdf5_table;

/* Make the table of a file from its description: 64-bit words in native order,
 *
 *   file size, inode, mtime in ns, samples, by_maker (then nothing more), then per field
 *   layout (0 contiguous, 1 chunked), itemsize, ndim, shape[ndim],
 *   dtype literal (8 words, NUL-padded), has_fill, fill value (padded to words),
 *   contiguous: address
 *   chunked: chunk[ndim], filters (4: positions in the pipeline of shuffle,
 *     deflate, lzf, fletcher32; all ones: none), n_chunks, (index, address, size,
 *     mask)[n_chunks]
 *
 * Everything is checked against the file's size and against each other; DLF_EFORMAT
 * says what does not hold. */
int dlf_hdf5_describe(const dlf_plan *plan, const void *description, size_t size,
		      dlf_table **table, dlf_fault *fault);

extern const dlf_container dlf_hdf5_container;

#endif
