/* SPDX-License-Identifier: Apache-2.0 */
#include "dlf_sample.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include "dlf_array.h"

typedef struct charge_ctx {
	dlf_ring *ring;
	dlf_job *job;
} charge_ctx;

/* All that reading one field of one file needs at hand. */
typedef struct reading {
	const dlf_plan *plan;
	const dlf_field *field;
	size_t field_index;
	dlf_place *places;
	size_t count;
	dlf_view *view;
	dlf_array array;
	dlf_layout layout;
} reading;

static int charge(void *arg, int64_t bytes)
{
	charge_ctx *ctx = arg;

	if (bytes >= 0)
		return dlf_ring_charge(ctx->ring, ctx->job, (size_t)bytes);
	dlf_ring_uncharge(ctx->ring, ctx->job, (size_t)-bytes);
	return 0;
}

static void free_scratch(void *scratch)
{
	dlf_array_scratch_free(scratch);
	free(scratch);
}

static dlf_array_scratch *worker_scratch(dlf_worker *worker)
{
	if (!worker->scratch) {
		worker->scratch = calloc(1, sizeof(dlf_array_scratch));
		worker->free_scratch = free_scratch;
	}
	return worker->scratch;
}

void dlf_loose_free(dlf_loose *loose)
{
	if (!loose)
		return;
	dlf_buf_unref(loose->buf);
	free(loose);
}

/* ---- where a sample goes ---- */

/* The sample's place: in the batch where it fits the plan, else a loose buffer,
 * laid out so that O_DIRECT can go straight to it where the file's own layout
 * lets the payload be 64-byte aligned as well. */
static int place_of(reading *r, dlf_place *place, unsigned char **dst,
		    dlf_fault *fault)
{
	const dlf_layout *layout = &r->layout;
	unsigned char *in_batch = place->in_batch[r->field_index];
	dlf_loose *loose;
	size_t skip = 0;

	if (in_batch && layout->expected) {
		*dst = in_batch;
		return 0;
	}
	if (r->view->file.direct && !r->array.deflated) {
		skip = (layout->start + r->array.npy.data_offset) %
		       DLF_POOL_ALIGN;
		if (skip % 64)
			skip = 0;
	}
	loose = calloc(1, sizeof(*loose));
	int rc = loose ? dlf_memory_get(&r->view->memory,
					layout->sample_bytes + skip, &loose->buf)
		       : -ENOMEM;
	if (rc) {
		free(loose);
		return dlf_fail(fault, rc, layout->start, "out of memory");
	}
	loose->data = loose->buf->data + skip;
	loose->nbytes = layout->sample_bytes;
	loose->ndim = layout->ndim;
	memcpy(loose->shape, layout->shape, sizeof(loose->shape));
	loose->descr_len = layout->descr_len;
	memcpy(loose->descr, layout->descr, sizeof(loose->descr));
	place->loose[r->field_index] = loose;
	*dst = loose->data;
	return 0;
}

/* ---- the three ways to bring the bytes to their places ---- */

/* The array is one sample, in the order we deliver: read it to its place. */
static int read_whole(reading *r, dlf_fault *fault)
{
	unsigned char *dst, *first = NULL;
	int rc = 0;

	for (size_t i = 0; i < r->count && !rc; i++) {
		rc = place_of(r, &r->places[i], &dst, fault);
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
	int rc = 0;

	for (size_t i = 0; i < r->count && !rc; i++) {
		rc = place_of(r, &r->places[i], &dst, fault);
		r->array.position = r->array.npy.data_offset +
				    r->places[i].index * r->layout.sample_bytes;
		if (!rc)
			rc = dlf_array_read(&r->array, dst, r->layout.sample_bytes,
					    fault);
	}
	return rc;
}

/* Anything else: read the whole array aside and copy the samples out. */
static int read_aside(reading *r, dlf_fault *fault)
{
	const dlf_memory *memory = &r->view->memory;
	unsigned char *dst;
	dlf_buf *aside;
	int rc;

	rc = dlf_memory_get(memory, r->array.npy.nbytes, &aside);
	if (rc)
		return dlf_fail(fault, rc, r->array.start, "out of memory");
	rc = dlf_array_read(&r->array, aside->data, r->array.npy.nbytes, fault);
	if (!rc)
		rc = dlf_array_finish(&r->array, fault);
	for (size_t i = 0; i < r->count && !rc; i++) {
		rc = place_of(r, &r->places[i], &dst, fault);
		if (!rc)
			dlf_gather_sample(&r->layout, aside->data,
					  r->places[i].index, dst);
	}
	dlf_memory_put(memory, aside);
	return rc;
}

static int read_field(reading *r, dlf_fault *fault)
{
	const dlf_npy *npy = &r->array.npy;
	int rc = dlf_plan_layout(r->plan, r->field_index, npy, r->array.start,
				 &r->layout, fault);

	if (rc)
		return rc;
	for (size_t i = 0; i < r->count; i++)
		if (r->places[i].index >= r->layout.samples)
			return dlf_fail(fault, DLF_ESAMPLE, r->array.start,
					"the file does not hold that sample");
	int dense = !npy->fortran_order || npy->ndim < 2;
	if (dense && r->layout.samples == 1)
		return read_whole(r, fault);
	if (dense && r->layout.axis == 0 && !r->array.deflated &&
	    !r->array.checked)
		return read_extents(r, fault);
	return read_aside(r, fault);
}

static int open_array(reading *r, dlf_fault *fault)
{
	const dlf_field *field = r->field;

	if (r->plan->container == DLF_NPY_FILE)
		return dlf_array_open_npy(&r->array, r->view, fault);
	const dlf_zip_member *member = dlf_zip_find(
		&r->view->scratch->zip, field->member, field->member_len);
	if (!member)
		return dlf_fail(fault, DLF_EMEMBER, 0,
				"the archive has no such member");
	return dlf_array_open_member(&r->array, r->view, member,
				     r->plan->verify, fault);
}

static int read_fields(const dlf_plan *plan, dlf_view *view, dlf_place *places,
		       size_t count, dlf_fault *fault)
{
	int rc = 0;

	if (plan->container == DLF_NPZ_FILE)
		rc = dlf_view_directory(view, fault);
	for (size_t f = 0; f < plan->n_fields && !rc; f++) {
		reading r = {.plan = plan, .field = &plan->fields[f],
			     .field_index = f, .places = places,
			     .count = count, .view = view};
		rc = open_array(&r, fault);
		if (!rc)
			rc = read_field(&r, fault);
		dlf_array_close(&r.array);
		if (rc && plan->container == DLF_NPZ_FILE)
			dlf_fault_member(fault, plan->fields[f].member);
	}
	/* Where no checksum vouches for the bytes, the file's own times must. */
	if (!rc && (plan->container == DLF_NPY_FILE || !plan->verify))
		rc = dlf_file_check_unchanged(&view->file, fault);
	return rc;
}

int dlf_sample_read(const dlf_plan *plan, uint64_t file, dlf_place *places,
		    size_t count, dlf_pool *pool, dlf_job *job,
		    dlf_worker *worker, dlf_fault *fault)
{
	charge_ctx ctx = {worker->ring, job};
	dlf_memory memory = {pool, charge, &ctx};
	dlf_array_scratch *scratch = worker_scratch(worker);
	const char *name = plan->names + plan->offsets[file];
	char path[PATH_MAX];
	dlf_view view;

	dlf_fault_clear(fault);
	if (!scratch)
		return dlf_fail(fault, -ENOMEM, 0, "out of memory");
	int n = snprintf(path, sizeof(path), "%s%s", plan->root, name);
	if (n < 0 || (size_t)n >= sizeof(path))
		return dlf_fail(fault, -ENAMETOOLONG, 0, "the path is too long");
	int rc = dlf_view_open(&view, &worker->io, scratch, memory, path,
			       plan->direct ? DLF_OPEN_DIRECT : 0, fault);
	if (rc)
		return rc;
	rc = read_fields(plan, &view, places, count, fault);
	dlf_view_close(&view);
	return rc;
}
