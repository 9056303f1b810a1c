/* SPDX-License-Identifier: Apache-2.0 */
#include "dlf_box.h"
#include "dlf_hdf5_field.h"

/* The first chunk whose index is not below. */
static size_t find_chunk(const dlf_hdf5_field *field, uint64_t index)
{
	size_t low = 0, high = field->n_chunks;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (field->chunks[middle].index < index)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Where a chunk lies in its samples: its corner in bytes, and how far it reaches
 * inside the dataset. */
static uint64_t corner_of(const dlf_hdf5_field *field, uint64_t index,
			  uint64_t *box)
{
	uint64_t corner = 0, step = field->layout.itemsize;

	box[0] = 1;
	for (int d = field->ndim - 1; d > 0; d--) {
		uint64_t from = index % field->grid[d] * field->chunk[d];
		uint64_t left = field->shape[d] - from;

		index /= field->grid[d];
		box[d] = left < field->chunk[d] ? left : field->chunk[d];
		corner += from * step;
		step *= field->shape[d];
	}
	return corner;
}

/* Samples [from, to), which are all in one row of chunks, out of one of these;
 * raw NULL: it was never written. */
static void scatter(dlf_hdf5_read *r, size_t from, size_t to, uint64_t index,
		    const unsigned char *raw)
{
	const dlf_hdf5_field *field = r->field;
	uint64_t box[DLF_HDF5_MAX_DIMS];
	uint64_t corner = corner_of(field, index, box);
	uint64_t slab = field->packing.nbytes / field->chunk[0];

	for (size_t i = from; i < to; i++) {
		uint64_t in_chunk = dlf_hdf5_index(r, i) % field->chunk[0];

		dlf_box_copy(dlf_hdf5_place(r, i) + corner, field->shape,
			     raw ? raw + in_chunk * slab : NULL, field->chunk,
			     box, field->ndim, field->layout.itemsize,
			     field->fill);
	}
}

/* Unpack a chunk: straight to its place where it is one sample that is asked for
 * once, else aside and then sample by sample. */
static int read_packed(dlf_hdf5_read *r, size_t from, size_t to,
		       const dlf_hdf5_chunk *chunk, dlf_fault *fault)
{
	const dlf_hdf5_field *field = r->field;
	const dlf_packing *packing = &field->packing;
	uint32_t mask = (uint32_t)chunk->mask;
	int straight = field->whole && field->chunk[0] == 1 && to - from == 1;
	const unsigned char *stored;
	unsigned char *raw;
	int rc = dlf_hdf5_aside(r, chunk->address, chunk->size, field->largest,
				&stored, fault);

	if (!rc && dlf_chunk_needs_aside(packing, mask))
		rc = dlf_hdf5_room(r, &r->aside, packing->nbytes, fault);
	if (!rc && !straight)
		rc = dlf_hdf5_room(r, &r->raw, packing->nbytes, fault);
	if (rc)
		return rc;
	raw = straight ? dlf_hdf5_place(r, from) : r->raw->data;
	rc = dlf_chunk_unpack(packing, &r->scratch->inflater, stored,
			      chunk->size, mask, r->task->plan->verify,
			      r->aside ? r->aside->data : NULL, raw,
			      chunk->address, fault);
	if (!rc && !straight)
		scatter(r, from, to, chunk->index, raw);
	return rc;
}

static int read_plain(dlf_hdf5_read *r, size_t from, size_t to,
		      const dlf_hdf5_chunk *chunk, dlf_fault *fault)
{
	const dlf_hdf5_field *field = r->field;
	uint64_t size = field->layout.sample_bytes;
	const unsigned char *stored;
	int rc = 0;

	if (!field->whole) {
		rc = dlf_hdf5_aside(r, chunk->address, chunk->size,
				    field->largest, &stored, fault);
		if (!rc)
			scatter(r, from, to, chunk->index, stored);
		return rc;
	}
	for (size_t i = from; i < to && !rc; i++) {
		uint64_t in_chunk = dlf_hdf5_index(r, i) % field->chunk[0];

		rc = dlf_hdf5_bytes(r, chunk->address + in_chunk * size,
				    dlf_hdf5_place(r, i), size, fault);
	}
	return rc;
}

/* Samples [from, to), of one row of chunks. */
static int read_row(dlf_hdf5_read *r, size_t from, size_t to, dlf_fault *fault)
{
	const dlf_hdf5_field *field = r->field;
	uint64_t row = dlf_hdf5_index(r, from) / field->chunk[0];
	uint64_t index = row * field->row;
	const dlf_hdf5_chunk *chunk = field->chunks + find_chunk(field, index);
	const dlf_hdf5_chunk *end = field->chunks + field->n_chunks;
	int rc = 0;

	for (uint64_t k = 0; k < field->row && !rc; k++, index++) {
		if (dlf_io_cancelled(&r->task->worker->io))
			return dlf_fail(fault, DLF_ECANCELLED, 0, "cancelled");
		if (chunk == end || chunk->index != index)
			scatter(r, from, to, index, NULL);
		else if (dlf_chunk_is_packed(&field->packing,
					     (uint32_t)chunk->mask))
			rc = read_packed(r, from, to, chunk++, fault);
		else
			rc = read_plain(r, from, to, chunk++, fault);
	}
	return rc;
}

/* ---- rows that later tasks will want the rest of ---- */

int dlf_hdf5_shares_chunks(const dlf_hdf5_field *field)
{
	return field->chunked && field->chunk[0] > 1 && field->shape[0] > 1 &&
	       (!field->whole || dlf_chunk_is_packed(&field->packing, 0));
}

/* Bring a whole row into the cache.  Others wait for it, so nothing in here may
 * wait for anybody, and that includes the ring's budget. */
static int load_row(const dlf_hdf5_read *of, dlf_cache_entry *entry,
		    uint64_t first, size_t count, dlf_fault *fault)
{
	dlf_hdf5_read r = {
		.task = of->task, .scratch = of->scratch, .file = of->file,
		.number = of->number, .field = of->field,
		.memory = {.pool = of->memory.pool},
		.first = first, .count = count,
	};
	int rc = dlf_cache_reserve(r.task->cache, entry, r.number, r.memory.pool,
				   count * r.field->layout.sample_bytes);

	if (rc) /* no room: each reads for itself */
		return 0;
	r.dense = entry->arrays[r.number].buf->data;
	rc = read_row(&r, 0, count, fault);
	dlf_hdf5_drop(&r);
	return rc ? rc : dlf_file_check_unchanged(r.file, fault);
}

static int read_shared_row(dlf_hdf5_read *r, size_t from, size_t to,
			   dlf_fault *fault)
{
	const dlf_hdf5_field *field = r->field;
	const dlf_plan *plan = r->task->plan;
	uint64_t size = field->layout.sample_bytes;
	uint64_t row = dlf_hdf5_index(r, from) / field->chunk[0];
	uint64_t first = row * field->chunk[0], count = field->shape[0] - first;
	dlf_cache *cache = r->task->cache;
	dlf_cache_entry *entry = NULL;
	enum dlf_cache_found found;
	int rc = 0;

	if (count > field->chunk[0])
		count = field->chunk[0];
	if (!cache || to - from >= count) /* nobody else will want it */
		return read_row(r, from, to, fault);
	found = dlf_cache_get_part(cache, plan, r->task->file,
				   1 + row * plan->n_fields + r->number, count,
				   &entry);
	if (found == DLF_CACHE_LOAD) {
		rc = load_row(r, entry, first, count, fault);
		if (rc || !entry->bytes) {
			dlf_cache_abandon(cache, entry);
			entry = NULL;
		} else {
			dlf_cache_publish(cache, entry);
		}
	}
	if (rc || !entry)
		return rc ? rc : read_row(r, from, to, fault);
	for (size_t i = from; i < to; i++)
		memcpy(dlf_hdf5_place(r, i),
		       entry->arrays[r->number].buf->data +
			       (dlf_hdf5_index(r, i) - first) * size,
		       size);
	dlf_cache_release(cache, entry, to - from);
	return 0;
}

int dlf_hdf5_read_chunked(dlf_hdf5_read *r, dlf_fault *fault)
{
	uint64_t side = r->field->chunk[0];
	int shared = dlf_hdf5_shares_chunks(r->field), rc = 0;
	size_t end;

	for (size_t i = 0; i < r->count && !rc; i = end) {
		for (end = i + 1; end < r->count; end++)
			if (dlf_hdf5_index(r, end) / side !=
			    dlf_hdf5_index(r, i) / side)
				break;
		rc = shared ? read_shared_row(r, i, end, fault)
			    : read_row(r, i, end, fault);
	}
	return rc;
}
