/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>

#include "dlf_hdf5.h"

/* Datasets with chunks that were never written may be larger than their file.  Up to
 * this factor, which deflate can reach as well, or up to this size. */
#define SPARSE_RATIO 1032
#define SPARSE_BYTES ((uint64_t)1 << 30)
#define ITEM_MAX ((uint64_t)64 << 10)

enum { CONTIGUOUS, CHUNKED };

typedef struct reading {
	const unsigned char *at;
	size_t left;           /* words */
	uint64_t file_size;
	dlf_fault *fault;
} reading;

static int bad(reading *r, const char *what)
{
	return dlf_fail(r->fault, DLF_EFORMAT, 0, what);
}

static int take(reading *r, void *words, size_t n)
{
	if (n > r->left)
		return bad(r, "the description of the file ends early");
	memcpy(words, r->at, n * sizeof(uint64_t));
	r->at += n * sizeof(uint64_t);
	r->left -= n;
	return 0;
}

static void free_table(dlf_table *table)
{
	free(table);
}

static int read_dtype(reading *r, dlf_layout *layout)
{
	char descr[DLF_DESCR_MAX];
	int rc = take(r, descr, DLF_DESCR_MAX / sizeof(uint64_t));

	if (rc)
		return rc;
	layout->descr_len = strnlen(descr, sizeof(descr));
	memcpy(layout->descr, descr, layout->descr_len);
	return layout->descr_len == sizeof(descr)
		       ? bad(r, "a dataset's dtype is too long")
		       : 0;
}

/* The words stay where they are for as long as the table: it owns a copy. */
static int read_fill(reading *r, dlf_hdf5_field *field)
{
	uint64_t has, words = (field->layout.itemsize + 7) / 8;
	const unsigned char *fill;
	int rc = take(r, &has, 1);

	if (rc || !has)
		return rc;
	if (words > r->left)
		return bad(r, "the description of the file ends early");
	fill = r->at;
	r->at += words * sizeof(uint64_t);
	r->left -= words;
	for (uint64_t i = 0; i < field->layout.itemsize; i++)
		if (fill[i])
			field->fill = fill;
	return 0;
}

/* Shape and dtype of a dataset, and of its samples. */
static int read_shape(reading *r, dlf_hdf5_field *field, uint64_t *nbytes)
{
	dlf_layout *layout = &field->layout;
	uint64_t ndim;
	int rc = take(r, &layout->itemsize, 1);

	if (!rc)
		rc = take(r, &ndim, 1);
	if (rc)
		return rc;
	if (!layout->itemsize || layout->itemsize > ITEM_MAX)
		return bad(r, "a dataset's items have an impossible size");
	if (!ndim || ndim > DLF_HDF5_MAX_DIMS)
		return bad(r, "a dataset has an impossible number of dimensions");
	field->ndim = (int)ndim;
	rc = take(r, field->shape, ndim);
	if (rc)
		return rc;
	*nbytes = layout->sample_bytes = layout->itemsize;
	layout->axis = -1;
	layout->ndim = field->ndim - 1;
	for (int d = 1; d < field->ndim; d++) {
		layout->shape[d - 1] = field->shape[d];
		if (__builtin_mul_overflow(layout->sample_bytes, field->shape[d],
					   &layout->sample_bytes))
			return bad(r, "a dataset's shape is beyond all sizes");
	}
	if (__builtin_mul_overflow(layout->sample_bytes, field->shape[0],
				   nbytes))
		return bad(r, "a dataset's shape is beyond all sizes");
	return 0;
}

static int in_file(const reading *r, uint64_t address, uint64_t size)
{
	return address <= r->file_size && size <= r->file_size - address;
}

static int read_filters(reading *r, dlf_packing *packing)
{
	int *const positions[] = {&packing->shuffle, &packing->deflate,
				  &packing->lzf, &packing->fletcher32};
	uint64_t at[4];
	int rc = take(r, at, 4);

	for (int i = 0; i < 4 && !rc; i++) {
		if (at[i] != UINT64_MAX && at[i] >= 32)
			return bad(r, "a dataset has too many filters");
		*positions[i] = at[i] == UINT64_MAX ? -1 : (int)at[i];
	}
	return rc;
}

static int read_grid(reading *r, dlf_hdf5_field *field, uint64_t *chunks)
{
	dlf_packing *packing = &field->packing;
	int rc = take(r, field->chunk, (size_t)field->ndim);

	packing->nbytes = packing->itemsize = field->layout.itemsize;
	*chunks = field->row = field->whole = 1;
	for (int d = 0; d < field->ndim && !rc; d++) {
		uint64_t side = field->chunk[d];

		if (!side || side > UINT32_MAX ||
		    __builtin_mul_overflow(packing->nbytes, side,
					   &packing->nbytes) ||
		    packing->nbytes > UINT32_MAX)
			return bad(r, "a dataset's chunks have an impossible "
				      "shape");
		field->grid[d] = field->shape[d] / side +
				 !!(field->shape[d] % side);
		if (__builtin_mul_overflow(*chunks, field->grid[d], chunks))
			return bad(r, "a dataset has too many chunks");
		if (d)
			field->row *= field->grid[d];
		if (d && side != field->shape[d])
			field->whole = 0;
	}
	return rc;
}

static int read_chunks(reading *r, dlf_hdf5_field *field, uint64_t in_grid)
{
	const size_t words = sizeof(dlf_hdf5_chunk) / sizeof(uint64_t);
	dlf_hdf5_chunk chunk;
	uint64_t count, next = 0;
	int rc = take(r, &count, 1);

	if (rc)
		return rc;
	if (count > r->left / words)
		return bad(r, "the description of the file ends early");
	field->chunks = (const void *)r->at;
	field->n_chunks = count;
	for (; count; count--, next = chunk.index + 1) {
		take(r, &chunk, words);
		if (chunk.index < next || chunk.index >= in_grid)
			return bad(r, "a chunk lies outside its dataset, or "
				      "comes twice");
		if (!in_file(r, chunk.address, chunk.size))
			return dlf_fail(r->fault, DLF_ETRUNCATED, chunk.address,
					"a chunk lies outside the file");
		if (chunk.mask > UINT32_MAX ||
		    !dlf_chunk_fits(&field->packing, chunk.size,
				    (uint32_t)chunk.mask))
			return dlf_fail(r->fault, DLF_EFORMAT, chunk.address,
					"a chunk's size in the file is not "
					"what it can be");
		if (chunk.size > field->largest)
			field->largest = chunk.size;
	}
	return 0;
}

static int read_storage(reading *r, dlf_hdf5_field *field, uint64_t nbytes)
{
	uint64_t chunks;
	int rc;

	if (!field->chunked) {
		rc = take(r, &field->address, 1);
		if (!rc && field->address != DLF_HDF5_NOWHERE &&
		    !in_file(r, field->address, nbytes))
			rc = dlf_fail(r->fault, DLF_ETRUNCATED, field->address,
				      "a dataset's bytes lie outside the file");
		return rc;
	}
	rc = read_grid(r, field, &chunks);
	if (!rc)
		rc = read_filters(r, &field->packing);
	return rc ? rc : read_chunks(r, field, chunks);
}

static int read_field(reading *r, const dlf_plan *plan, size_t f,
		      dlf_hdf5_field *field, uint64_t samples)
{
	const dlf_field *wanted = &plan->fields[f];
	dlf_layout *layout = &field->layout;
	uint64_t kind, nbytes = 0;
	int rc = take(r, &kind, 1);

	if (!rc && kind > CHUNKED)
		rc = bad(r, "a dataset has an unknown layout");
	if (!rc)
		rc = read_shape(r, field, &nbytes);
	if (!rc)
		rc = read_dtype(r, layout);
	if (!rc)
		rc = read_fill(r, field);
	if (rc)
		return rc;
	if (field->shape[0] != samples)
		return dlf_fail(r->fault, DLF_ESAMPLE, 0,
				"the datasets disagree about the number of "
				"samples");
	field->chunked = kind == CHUNKED;
	rc = read_storage(r, field, nbytes);
	if (rc)
		return rc;
	if (nbytes > SPARSE_BYTES && nbytes / SPARSE_RATIO > r->file_size)
		return dlf_fail(r->fault, DLF_EUNSUPPORTED, 0,
				"a dataset is more than a GiB and more than "
				"1032 times as large as its file");
	layout->samples = samples;
	layout->expected =
		layout->descr_len == wanted->descr_len &&
		!memcmp(layout->descr, wanted->descr, layout->descr_len) &&
		layout->ndim == wanted->ndim &&
		!memcmp(layout->shape, wanted->shape,
			sizeof(*layout->shape) * (size_t)layout->ndim);
	return 0;
}

int dlf_hdf5_describe(const dlf_plan *plan, const void *description, size_t size,
		      dlf_table **out, dlf_fault *fault)
{
	const size_t n = plan->n_fields;
	size_t own = sizeof(dlf_hdf5_table) + n * sizeof(dlf_hdf5_field);
	uint64_t head[5];
	reading r = {.left = size / sizeof(uint64_t), .fault = fault};
	int rc = 0;

	/* in one piece: the table, and behind it what it points to */
	own = (own + 7) / 8 * 8;
	dlf_hdf5_table *table = calloc(1, own + size);
	if (!table)
		return dlf_fail(fault, -ENOMEM, 0, "out of memory");
	memcpy((unsigned char *)table + own, description, size);
	r.at = (unsigned char *)table + own;
	rc = take(&r, head, 5);
	if (!rc) {
		table->table.free = free_table;
		r.file_size = table->size = head[0];
		table->inode = head[1];
		table->mtime_ns = (int64_t)head[2];
		table->samples = head[3];
		table->by_maker = !!head[4];
	}
	for (size_t f = 0; f < n && !rc && !table->by_maker; f++) {
		rc = read_field(&r, plan, f, &table->fields[f], table->samples);
		if (rc)
			dlf_fault_member(fault, plan->fields[f].member);
	}
	if (rc) {
		free(table);
		return rc;
	}
	*out = &table->table;
	return 0;
}
