/* SPDX-License-Identifier: Apache-2.0 */
#include "dlf_indexed.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "dlf_index.h"
#include "dlf_keeper.h"

/* Samples up to this size are read together with others near them: beyond it, a
 * system call costs nothing beside the bytes. */
#define SMALL ((uint64_t)32 << 10)
/* As many bytes at most are read that nobody asked for to spare a read: what the
 * kernel copies in the time of a call, what a device transfers in that of a request. */
#define GAP ((uint64_t)512)
#define GAP_DIRECT ((uint64_t)4096)
#define ASIDE ((size_t)256 << 10)

/* A thread's own. */
typedef struct scratch {
	dlf_keeper keeper;
	unsigned char *aside; /* ASIDE bytes, page-aligned */
	uint64_t plan;        /* the serial of that which the layout is of */
	dlf_layout layout;    /* of samples as the plan expects them */
} scratch;

typedef struct reading {
	dlf_task *task;
	scratch *own;
	dlf_file *file;
	const dlf_index *index;
	const dlf_layout *layout;
} reading;

static void free_scratch(void *memory)
{
	scratch *own = memory;

	dlf_keeper_free(&own->keeper);
	if (own->aside)
		munmap(own->aside, ASIDE);
	free(own);
}

static scratch *own_scratch(dlf_task *task)
{
	scratch *own = dlf_task_scratch(task, sizeof(*own), free_scratch);

	if (!own)
		return NULL;
	if (!own->aside)
		own->aside = dlf_map(ASIDE);
	if (own->plan != task->plan->serial)
		dlf_plan_sample(task->plan, 0, &own->layout);
	own->plan = task->plan->serial;
	return own->aside ? own : NULL;
}

/* ---- where samples lie, and where they go ---- */

static void extent(const reading *r, size_t i, uint64_t *offset, uint64_t *size)
{
	dlf_index_at(r->index, r->task->places[i].index, offset, size);
}

static int place_of(const reading *r, size_t i, uint64_t size,
		    unsigned char **dst, dlf_fault *fault)
{
	dlf_place *place = &r->task->places[i];

	if (size == r->layout->sample_bytes)
		return dlf_task_place(r->task, place, 0, r->layout, 0, dst,
				      fault);
	dlf_layout other = *r->layout;
	other.expected = 0;
	other.ndim = 1;
	other.sample_bytes = size;
	if (!other.itemsize || size % other.itemsize) {
		other.itemsize = 1;
		other.descr_len = 3;
		memcpy(other.descr, "|u1", 3);
	}
	other.shape[0] = size / other.itemsize;
	return dlf_task_place(r->task, place, 0, &other, 0, dst, fault);
}

/* How many samples from i on lie one after the other both in the file and in the
 * batch: one read brings them all. */
static size_t count_alike(const reading *r, size_t i)
{
	const dlf_place *places = r->task->places;
	uint64_t wanted = r->layout->sample_bytes, offset, next, size;
	size_t n = 1;

	extent(r, i, &offset, &size);
	if (!r->task->target->columns[0] || size != wanted)
		return 1;
	for (; i + n < r->task->count; n++) {
		extent(r, i + n, &next, &size);
		if (size != wanted || next != offset + n * wanted ||
		    places[i + n].slot != places[i].slot + n)
			break;
	}
	return n;
}

typedef struct span {
	uint64_t begin, end;
} span;

/* How many samples from i on lie so near to each other that they are better read
 * together and copied; 0: not even one is. */
static size_t count_near(const reading *r, size_t i, span *span)
{
	uint64_t gap = r->file->direct ? GAP_DIRECT : GAP;
	uint64_t room = ASIDE - 2 * (uint64_t)r->file->align, offset, size;
	size_t n = 0;

	for (; i + n < r->task->count; n++) {
		extent(r, i + n, &offset, &size);
		if (!n)
			span->begin = span->end = offset;
		if (size > SMALL || offset < span->begin ||
		    offset > span->end + gap || offset + size > span->begin + room)
			break;
		if (offset + size > span->end)
			span->end = offset + size;
	}
	/* A single one, small and unaligned, takes three requests past the page
	 * cache, or one aside. */
	return n > 1 || (n && r->file->direct) ? n : 0;
}

/* ---- the ways to bring them there ---- */

static int read_alike(const reading *r, size_t i, size_t n, dlf_fault *fault)
{
	unsigned char *dst;
	uint64_t offset, size;

	extent(r, i, &offset, &size);
	int rc = place_of(r, i, size, &dst, fault);
	return rc ? rc
		  : dlf_file_read(r->file, &r->task->worker->io, offset, dst,
				  n * size, NULL, fault);
}

static int read_near(const reading *r, size_t i, size_t n, span span,
		     dlf_fault *fault)
{
	uint64_t begin = span.begin, end = span.end, offset, size;
	unsigned char *dst;

	if (r->file->direct) {
		begin -= begin % r->file->align;
		end += (r->file->align - end % r->file->align) % r->file->align;
		if (end > r->file->size)
			end = r->file->size;
	}
	int rc = dlf_file_read(r->file, &r->task->worker->io, begin,
			       r->own->aside, end - begin, NULL, fault);
	for (size_t k = i; k < i + n && !rc; k++) {
		extent(r, k, &offset, &size);
		rc = place_of(r, k, size, &dst, fault);
		if (!rc)
			memcpy(dst, r->own->aside + (offset - begin), size);
	}
	return rc;
}

static int read_places(const reading *r, dlf_fault *fault)
{
	int rc = 0;

	for (size_t i = 0, n; i < r->task->count && !rc; i += n) {
		span span;

		n = count_alike(r, i);
		size_t near = n > 1 ? 0 : count_near(r, i, &span);
		if (near) {
			n = near;
			rc = read_near(r, i, n, span, fault);
		} else {
			rc = read_alike(r, i, n, fault);
		}
	}
	return rc;
}

/* ---- the file and its table ---- */

/* The table of the file: the plan's, or, where the file has changed since that was
 * read, one for this task alone. */
static int find_index(reading *r, dlf_index **mine, dlf_fault *fault)
{
	const dlf_plan *plan = r->task->plan;
	dlf_table *table = dlf_plan_table(plan, r->task->file);
	dlf_index *index;
	char path[PATH_MAX];

	*mine = NULL;
	r->index = (const dlf_index *)table;
	if (table && dlf_index_fits(r->index, r->file))
		return 0;
	int rc = dlf_plan_path(plan, r->task->file, path, fault);
	if (!rc)
		rc = dlf_index_read(path, r->file, &r->task->worker->io,
				    plan->direct ? DLF_OPEN_DIRECT : 0,
				    r->own->aside, &index, fault);
	if (rc)
		return rc;
	if (table) {
		r->index = *mine = index;
		return 0;
	}
	r->index = (const dlf_index *)dlf_plan_set_table(plan, r->task->file,
							 &index->table);
	if (!dlf_index_fits(r->index, r->file)) /* a faster thread's */
		return dlf_fail(fault, DLF_ECHANGED, 0,
				"the file changed while being read");
	return 0;
}

static int read_samples(reading *r, dlf_fault *fault)
{
	dlf_index *mine;
	int rc = find_index(r, &mine, fault);

	if (!rc)
		rc = dlf_task_check(r->task, r->index->samples, fault);
	if (!rc)
		rc = read_places(r, fault);
	dlf_index_free(mine);
	return rc;
}

/* Forget what was placed, before the samples are read once more. */
static void clear_places(dlf_task *task, dlf_fault *fault)
{
	for (size_t i = 0; i < task->count; i++) {
		dlf_loose **loose = dlf_task_loose(task, &task->places[i], 0);
		dlf_loose_free(*loose);
		*loose = NULL;
	}
	dlf_fault_clear(fault);
}

static int read_indexed(dlf_task *task, dlf_fault *fault)
{
	reading r = {.task = task, .own = own_scratch(task)};
	dlf_kept *kept;
	int reused, rc;

	if (!r.own)
		return dlf_fail(fault, -ENOMEM, 0, "out of memory");
	r.layout = &r.own->layout;
	do {
		rc = dlf_keeper_open(&r.own->keeper, task, &kept, &reused, fault);
		if (rc)
			return rc;
		r.file = &kept->file;
		rc = read_samples(&r, fault);
		if (!rc && dlf_kept_is_current(kept)) {
			dlf_keeper_put(&r.own->keeper, kept);
			return 0;
		}
		if (!rc && !reused)
			rc = dlf_file_check_unchanged(r.file, fault);
		dlf_keeper_drop(kept);
		if (reused)
			clear_places(task, fault);
		/* What was opened earlier may have been replaced since. */
	} while (reused && rc != DLF_ECANCELLED);
	return rc;
}

const dlf_container dlf_indexed_container = {"indexed_binary", 1, read_indexed, NULL};
