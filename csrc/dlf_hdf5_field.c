/* SPDX-License-Identifier: Apache-2.0 */
#include "dlf_hdf5_field.h"

#include "dlf_box.h"

#define PAGE ((uint64_t)4096)
/* Samples that are smaller are read together, up to SPAN bytes at once. */
#define SMALL PAGE
#define SPAN ((uint64_t)256 << 10)

int dlf_hdf5_room(dlf_hdf5_read *r, dlf_buf **buf, uint64_t size,
		  dlf_fault *fault)
{
	int rc = *buf ? 0 : dlf_memory_get(&r->memory, size, buf);

	return rc ? dlf_fail(fault, rc, 0, "out of memory") : 0;
}

void dlf_hdf5_drop(dlf_hdf5_read *r)
{
	dlf_buf **const bufs[] = {&r->stored, &r->aside, &r->raw};

	for (int i = 0; i < 3; i++) {
		if (*bufs[i])
			dlf_memory_put(&r->memory, *bufs[i]);
		*bufs[i] = NULL;
	}
}

int dlf_hdf5_bytes(dlf_hdf5_read *r, uint64_t address, void *dst, size_t n,
		   dlf_fault *fault)
{
	return dlf_file_read(r->file, &r->task->worker->io, address, dst, n,
			     NULL, fault);
}

/* They come to lie as in the file modulo a page; with what is around them where that
 * spares O_DIRECT the stage. */
int dlf_hdf5_aside(dlf_hdf5_read *r, uint64_t address, size_t n,
		   uint64_t largest, const unsigned char **bytes,
		   dlf_fault *fault)
{
	uint64_t skip = address % PAGE, span;
	int rc = dlf_hdf5_room(r, &r->stored, largest + 2 * PAGE, fault);

	if (rc)
		return rc;
	*bytes = r->stored->data + skip;
	if (!r->file->direct)
		return dlf_hdf5_bytes(r, address, r->stored->data + skip, n,
				      fault);
	span = (skip + n + PAGE - 1) / PAGE * PAGE;
	if (span > r->file->size - (address - skip))
		span = r->file->size - (address - skip);
	return dlf_hdf5_bytes(r, address - skip, r->stored->data, span, fault);
}

/* Many to a page: bring them in together and copy them out. */
static int read_small(dlf_hdf5_read *r, dlf_fault *fault)
{
	uint64_t size = r->field->layout.sample_bytes;
	const unsigned char *bytes;
	size_t end;
	int rc = 0;

	for (size_t i = 0; i < r->count && !rc; i = end) {
		uint64_t first = dlf_hdf5_index(r, i), span = size;

		for (end = i + 1; end < r->count; end++) {
			uint64_t more = (dlf_hdf5_index(r, end) - first + 1) *
					size;
			if (more > SPAN)
				break;
			span = more;
		}
		rc = dlf_hdf5_aside(r, r->field->address + first * size, span,
				    SPAN, &bytes, fault);
		for (size_t k = i; k < end && !rc; k++)
			memcpy(dlf_hdf5_place(r, k),
			       bytes + (dlf_hdf5_index(r, k) - first) * size,
			       size);
	}
	return rc;
}

int dlf_hdf5_read_contiguous(dlf_hdf5_read *r, dlf_fault *fault)
{
	const dlf_hdf5_field *field = r->field;
	uint64_t size = field->layout.sample_bytes;
	uint64_t items = size / field->layout.itemsize;
	int nowhere = field->address == DLF_HDF5_NOWHERE, rc = 0;

	if (!nowhere && size < SMALL && r->count > 1)
		return read_small(r, fault);
	for (size_t i = 0; i < r->count && !rc; i++) {
		unsigned char *place = dlf_hdf5_place(r, i);
		uint64_t index = dlf_hdf5_index(r, i);

		if (nowhere)
			dlf_box_copy(place, &items, NULL, &items, &items, 1,
				     field->layout.itemsize, field->fill);
		else if (i && index == dlf_hdf5_index(r, i - 1))
			memcpy(place, dlf_hdf5_place(r, i - 1), size);
		else
			rc = dlf_hdf5_bytes(r, field->address + index * size,
					    place, size, fault);
	}
	return rc;
}
