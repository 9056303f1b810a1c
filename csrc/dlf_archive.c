/* SPDX-License-Identifier: Apache-2.0 */
#include "dlf_archive.h"

#include <errno.h>
#include <stdlib.h>

#include "dlf_array.h"

/* All that reading samples of one file needs at hand. */
typedef struct reading {
	dlf_task *task;
	const dlf_plan *plan;
	dlf_view view;
	int opened;            /* the view is, since a field needed it */
	/* of the field at hand */
	size_t field;
	dlf_array array;
	dlf_layout layout;
} reading;

static void free_scratch(void *scratch)
{
	dlf_array_scratch_free(scratch);
	free(scratch);
}

static int place_of(reading *r, size_t i, size_t skip, unsigned char **dst,
		    dlf_fault *fault)
{
	return dlf_task_place(r->task, &r->task->places[i], r->field,
			      &r->layout, skip, dst, fault);
}

/* What to skip for O_DIRECT to go straight to a loose buffer, where the file's own
 * layout lets the payload be 64-byte aligned as well. */
static size_t skip_for_direct(const reading *r)
{
	size_t skip = (r->array.start + r->array.npy.data_offset) %
		      DLF_POOL_ALIGN;

	return r->view.file.direct && !r->array.deflated && skip % 64 == 0
		       ? skip
		       : 0;
}

static int is_dense(const reading *r)
{
	return !r->layout.fortran_order || r->layout.array_ndim < 2;
}

/* ---- the ways to bring the bytes to their places ---- */

/* The array is one sample, in the order we deliver: read it to its place. */
static int read_whole(reading *r, dlf_fault *fault)
{
	unsigned char *dst, *first = NULL;
	size_t skip = skip_for_direct(r);
	int rc = 0;

	for (size_t i = 0; i < r->task->count && !rc; i++) {
		rc = place_of(r, i, skip, &dst, fault);
		if (rc)
			break;
		if (!first)
			rc = dlf_array_read(&r->array, first = dst,
					    r->layout.sample_bytes, fault);
		else /* the same sample asked for twice in a batch */
			memcpy(dst, first, r->layout.sample_bytes);
	}
	return rc ? rc : dlf_array_finish(&r->array, fault);
}

/* Samples lie one after another and no checksum spans them: read only those. */
static int read_extents(reading *r, dlf_fault *fault)
{
	unsigned char *dst;
	size_t skip = skip_for_direct(r);
	int rc = 0;

	for (size_t i = 0; i < r->task->count && !rc; i++) {
		rc = place_of(r, i, skip, &dst, fault);
		r->array.position = r->array.npy.data_offset +
				    r->task->places[i].index * r->layout.sample_bytes;
		if (!rc)
			rc = dlf_array_read(&r->array, dst, r->layout.sample_bytes,
					    fault);
	}
	return rc;
}

static int gather(reading *r, const unsigned char *payload, dlf_fault *fault)
{
	unsigned char *dst;
	int rc = 0;

	for (size_t i = 0; i < r->task->count && !rc; i++) {
		rc = place_of(r, i, 0, &dst, fault);
		if (!rc)
			dlf_gather_sample(&r->layout, payload,
					  r->task->places[i].index, dst);
	}
	return rc;
}

static int read_payload(reading *r, unsigned char *dst, dlf_fault *fault)
{
	int rc = dlf_array_read(&r->array, dst, r->array.npy.nbytes, fault);

	return rc ? rc : dlf_array_finish(&r->array, fault);
}

/* Anything else: read the whole array aside and copy the samples out. */
static int read_aside(reading *r, dlf_fault *fault)
{
	dlf_buf *aside;
	int rc;

	rc = dlf_memory_get(&r->task->memory, r->array.npy.nbytes, &aside);
	if (rc)
		return dlf_fail(fault, rc, r->array.start, "out of memory");
	rc = read_payload(r, aside->data, fault);
	if (!rc)
		rc = gather(r, aside->data, fault);
	dlf_memory_put(&r->task->memory, aside);
	return rc;
}

/* ---- the file, opened when a field needs it ---- */

static int open_file(reading *r, dlf_fault *fault)
{
	const dlf_plan *plan = r->plan;
	dlf_array_scratch *scratch =
		dlf_task_scratch(r->task, sizeof(*scratch), free_scratch);
	dlf_io *io = &r->task->worker->io;
	dlf_file file;
	int rc;

	if (r->opened)
		return 0;
	if (!scratch)
		return dlf_fail(fault, -ENOMEM, 0, "out of memory");
	rc = dlf_plan_open(plan, r->task->file, io, &file, fault);
	if (rc)
		return rc;
	rc = dlf_view_open(&r->view, &file, io, scratch, r->task->memory, fault);
	if (rc)
		return rc;
	r->opened = 1;
	return plan->container == &dlf_npz_container
		       ? dlf_view_directory(&r->view, fault)
		       : 0;
}

static int open_array(reading *r, dlf_fault *fault)
{
	const dlf_field *field = &r->plan->fields[r->field];

	if (r->plan->container == &dlf_npy_container)
		return dlf_array_open_npy(&r->array, &r->view, fault);
	const dlf_zip_member *member = dlf_zip_find(
		&r->view.scratch->zip, field->member, field->member_len);
	if (!member)
		return dlf_fail(fault, DLF_EMEMBER, 0,
				"the archive has no such member");
	return dlf_array_open_member(&r->array, &r->view, member,
				     r->plan->verify, fault);
}

/* Where no checksum vouches for the bytes, the file's own times must. */
static int check_unchanged(const reading *r, dlf_fault *fault)
{
	if (r->plan->container == &dlf_npz_container && r->plan->verify)
		return 0;
	return dlf_file_check_unchanged(&r->view.file, fault);
}

/* ---- a field, from the file ---- */

/* Open the array of a field, and see how the samples lie in it.  Well or not, it is
 * to be closed. */
static int find_samples(reading *r, size_t field, const dlf_memory *packed,
			dlf_fault *fault)
{
	r->field = field;
	r->array = (dlf_array){0};
	r->view.memory = *packed;
	int rc = open_array(r, fault);
	if (!rc)
		rc = dlf_plan_layout(r->plan, field, &r->array.npy,
				     r->array.start, &r->layout, fault);
	for (size_t i = 0; i < r->task->count && !rc; i++)
		if (r->task->places[i].index >= r->layout.samples)
			rc = dlf_fail(fault, DLF_ESAMPLE, r->array.start,
				      "the file does not hold that sample");
	return rc;
}

static int close_array(reading *r, int rc, dlf_fault *fault)
{
	dlf_array_close(&r->array);
	if (rc && r->plan->container == &dlf_npz_container)
		dlf_fault_member(fault, r->plan->fields[r->field].member);
	return rc;
}

/* Can every sample be read by itself? */
static int lie_apart(const reading *r)
{
	return is_dense(r) && r->layout.axis == 0 && !r->array.deflated &&
	       !r->array.checked;
}

static int read_field(reading *r, size_t field, dlf_fault *fault)
{
	int rc = find_samples(r, field, &r->task->memory, fault);

	if (!rc && is_dense(r) && r->layout.samples == 1)
		rc = read_whole(r, fault);
	else if (!rc && lie_apart(r))
		rc = read_extents(r, fault);
	else if (!rc)
		rc = read_aside(r, fault);
	return close_array(r, rc, fault);
}

/* ---- through the cache ---- */

enum { NO_ROOM = 1 };

/* Bring an array into the entry.  Not one whose samples lie apart, which are better
 * read alone; unless it is so small that the whole costs less than opening the file
 * once more. */
static int load_field(reading *r, dlf_cache_entry *entry, size_t field,
		      dlf_fault *fault)
{
	const dlf_memory uncharged = {.pool = r->task->memory.pool};
	dlf_cache_array *to = &entry->arrays[field];
	int rc = find_samples(r, field, &uncharged, fault);
	uint64_t nbytes = r->array.npy.nbytes;

	if (rc || (nbytes > DLF_SMALL_FILE && lie_apart(r)))
		return close_array(r, rc, fault);
	if (dlf_cache_reserve(r->task->cache, entry, field, r->task->memory.pool, nbytes)) {
		dlf_array_close(&r->array);
		return NO_ROOM;
	}
	to->layout = r->layout;
	rc = read_payload(r, to->buf->data, fault);
	return close_array(r, rc, fault);
}

/* Others wait for the entry, so nothing in here may wait for anybody, and that
 * includes the ring's budget. */
static int load_file(reading *r, dlf_cache_entry *entry, dlf_fault *fault)
{
	int rc = open_file(r, fault);

	for (size_t f = 0; f < r->plan->n_fields && !rc; f++)
		rc = load_field(r, entry, f, fault);
	return rc ? rc : check_unchanged(r, fault);
}

/* Deliver all fields: from the entry those that it has, else from the file. */
static int deliver(reading *r, const dlf_cache_entry *entry, dlf_fault *fault)
{
	int rc = 0;

	for (size_t f = 0; f < r->plan->n_fields && !rc; f++) {
		const dlf_cache_array *kept = entry ? &entry->arrays[f] : NULL;

		if (kept && kept->buf) {
			r->field = f;
			r->layout = kept->layout;
			rc = gather(r, kept->buf->data, fault);
		} else {
			rc = open_file(r, fault);
			if (!rc)
				rc = read_field(r, f, fault);
		}
	}
	return rc;
}

static int read_samples(reading *r, dlf_fault *fault)
{
	enum dlf_cache_found found = DLF_CACHE_NONE;
	dlf_cache_entry *entry = NULL;
	int rc = 0;

	if (r->task->cache && r->plan->samples_per_file > 1)
		found = dlf_cache_get(r->task->cache, r->plan, r->task->file, &entry);
	if (found == DLF_CACHE_LOAD) {
		rc = load_file(r, entry, fault);
		if (!rc && entry->bytes) {
			dlf_cache_publish(r->task->cache, entry);
		} else {
			dlf_cache_abandon(r->task->cache, entry);
			entry = NULL;
		}
	}
	if (rc >= 0) /* and only now may the ring let us wait for room */
		rc = deliver(r, entry, fault);
	if (entry)
		dlf_cache_release(r->task->cache, entry, r->task->count);
	return rc;
}

static int read_archive(dlf_task *task, dlf_fault *fault)
{
	reading r = {.task = task, .plan = task->plan};
	int rc = read_samples(&r, fault);

	if (!rc && r.opened)
		rc = check_unchanged(&r, fault);
	if (r.opened)
		dlf_view_close(&r.view);
	return rc;
}

const dlf_container dlf_npy_container = {"npy", 0, read_archive, NULL};
const dlf_container dlf_npz_container = {"npz", 0, read_archive, NULL};
