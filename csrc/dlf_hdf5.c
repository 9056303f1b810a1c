/* SPDX-License-Identifier: Apache-2.0 */
#include "dlf_hdf5.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include "dlf_hdf5_field.h"

/* All that reading samples of one file needs at hand. */
typedef struct reading {
	dlf_task *task;
	const dlf_plan *plan;
	dlf_hdf5_scratch *scratch;
	dlf_file file;
	int opened;
	dlf_hdf5_table *table;
	int own_table;         /* not the plan's */
} reading;

static void free_scratch(void *p)
{
	dlf_hdf5_scratch *scratch = p;

	if (scratch->inflater)
		dlf_inflater_free(scratch->inflater);
	free(scratch->places);
	free(scratch);
}

/* ---- the fields ---- */

static int find_places(dlf_hdf5_read *r, dlf_fault *fault)
{
	dlf_hdf5_scratch *scratch = r->scratch;
	int rc = 0;

	if (scratch->capacity < r->count) {
		void *more = realloc(scratch->places, r->count * sizeof(void *));
		if (!more)
			return dlf_fail(fault, -ENOMEM, 0, "out of memory");
		scratch->places = more;
		scratch->capacity = r->count;
	}
	for (size_t i = 0; i < r->count && !rc; i++)
		rc = dlf_task_place(r->task, &r->task->places[i], r->number,
				    &r->field->layout, 0, &scratch->places[i],
				    fault);
	return rc;
}

static int read_field(reading *of, size_t f, dlf_fault *fault)
{
	dlf_hdf5_read r = {
		.task = of->task, .scratch = of->scratch, .file = &of->file,
		.number = f, .field = &of->table->fields[f],
		.memory = of->task->memory, .count = of->task->count,
	};
	int rc = find_places(&r, fault);

	if (!rc && r.field->layout.sample_bytes)
		rc = r.field->chunked ? dlf_hdf5_read_chunked(&r, fault)
				      : dlf_hdf5_read_contiguous(&r, fault);
	dlf_hdf5_drop(&r);
	if (rc)
		dlf_fault_member(fault, of->plan->fields[f].member);
	return rc;
}

static int read_fields(reading *r, dlf_fault *fault)
{
	int rc = 0;

	for (size_t f = 0; f < r->plan->n_fields && !rc; f++)
		rc = read_field(r, f, fault);
	return rc ? rc : dlf_file_check_unchanged(&r->file, fault);
}

/* ---- the file ---- */

static int is_as_described(const reading *r)
{
	return r->table->size == r->file.size &&
	       r->table->inode == r->file.inode &&
	       (uint64_t)r->table->mtime_ns ==
		       (uint64_t)r->file.mtime_sec * 1000000000 +
			       r->file.mtime_nsec;
}

static int learn(reading *r, dlf_fault *fault)
{
	dlf_table *table = NULL;
	int rc = r->plan->learn(r->task, &table, fault);

	r->table = (dlf_hdf5_table *)table;
	r->own_table = 1;
	return rc;
}

static int open_file(reading *r, dlf_fault *fault)
{
	int rc = dlf_plan_open(r->plan, r->task->file, &r->task->worker->io,
			       &r->file, fault);

	r->opened = !rc;
	return rc;
}

/* Open the file and get its table: the one that is kept, or, where there is none or
 * the file has changed since, a new one. */
static int open_described(reading *r, dlf_fault *fault)
{
	int rc = 0;

	r->table = (dlf_hdf5_table *)dlf_plan_table(r->plan, r->task->file);
	if (!r->table || !r->table->by_maker) {
		int known = r->table != NULL;

		if (!known)
			rc = learn(r, fault);
		if (rc || r->table->by_maker)
			return rc;
		rc = open_file(r, fault);
		if (!rc && known && !is_as_described(r))
			rc = learn(r, fault);
		if (!rc && !r->table->by_maker && !is_as_described(r))
			rc = dlf_fail(fault, DLF_ECHANGED, 0,
				      "the file changed while being read");
	}
	return rc;
}

/* A new table is kept for later tasks, unless there is one already. */
static void keep_table(reading *r)
{
	if (!r->own_table || !r->table)
		return;
	if (dlf_plan_table(r->plan, r->task->file))
		r->table->table.free(&r->table->table);
	else
		dlf_plan_set_table(r->plan, r->task->file, &r->table->table);
}

static int read_hdf5(dlf_task *task, dlf_fault *fault)
{
	reading r = {.task = task, .plan = task->plan};
	int rc;

	r.scratch = dlf_task_scratch(task, sizeof(*r.scratch), free_scratch);
	if (!r.scratch)
		return dlf_fail(fault, -ENOMEM, 0, "out of memory");
	rc = open_described(&r, fault);
	if (!rc)
		rc = dlf_task_check(task, r.table->samples, fault);
	if (!rc && r.table->by_maker)
		rc = dlf_task_by_maker(task, fault);
	else if (!rc)
		rc = read_fields(&r, fault);
	if (r.opened)
		dlf_file_close(&r.file);
	keep_table(&r);
	return rc;
}

const dlf_container dlf_hdf5_container = {
	"hdf5", 1, read_hdf5, dlf_hdf5_describe,
};
