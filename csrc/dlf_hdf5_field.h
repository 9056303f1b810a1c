/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading samples of one HDF5 dataset.
 */
#ifndef DLF_HDF5_FIELD_H
#define DLF_HDF5_FIELD_H

#include "dlf_hdf5.h"

/* What a thread keeps from task to task. */
typedef struct dlf_hdf5_scratch {
	dlf_inflater *inflater;
	unsigned char **places; /* of the samples of a task */
	size_t capacity;
} dlf_hdf5_scratch;

/* All that it takes. */
typedef struct dlf_hdf5_read {
	dlf_task *task;
	dlf_hdf5_scratch *scratch;
	dlf_file *file;
	size_t number;         /* of the field in the plan */
	const dlf_hdf5_field *field;
	dlf_memory memory;
	dlf_buf *stored, *aside, *raw; /* taken as they are needed */
	/* What is wanted: samples first ... first + count - 1, one after the
	 * other, at `dense`; NULL: the task's, at scratch->places. */
	unsigned char *dense;
	uint64_t first;
	size_t count;
} dlf_hdf5_read;

static inline uint64_t dlf_hdf5_index(const dlf_hdf5_read *r, size_t i)
{
	return r->dense ? r->first + i : r->task->places[i].index;
}

static inline unsigned char *dlf_hdf5_place(const dlf_hdf5_read *r, size_t i)
{
	return r->dense ? r->dense + i * r->field->layout.sample_bytes
			: r->scratch->places[i];
}

/* Read n bytes of the file. */
int dlf_hdf5_bytes(dlf_hdf5_read *r, uint64_t address, void *dst, size_t n,
		   dlf_fault *fault);

/* Read n bytes aside, `largest` being the most that is ever asked for. */
int dlf_hdf5_aside(dlf_hdf5_read *r, uint64_t address, size_t n,
		   uint64_t largest, const unsigned char **bytes,
		   dlf_fault *fault);

/* Take memory, if there is none yet. */
int dlf_hdf5_room(dlf_hdf5_read *r, dlf_buf **buf, uint64_t size,
		  dlf_fault *fault);

/* Give what was taken back. */
void dlf_hdf5_drop(dlf_hdf5_read *r);

/* Read all that is wanted of a contiguous dataset. */
int dlf_hdf5_read_contiguous(dlf_hdf5_read *r, dlf_fault *fault);

/* Of a chunked one. */
int dlf_hdf5_read_chunked(dlf_hdf5_read *r, dlf_fault *fault);

/* Do samples share chunks that have to be unpacked? */
int dlf_hdf5_shares_chunks(const dlf_hdf5_field *field);

#endif
