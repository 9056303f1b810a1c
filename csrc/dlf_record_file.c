/* SPDX-License-Identifier: Apache-2.0 */
#include "dlf_record_file.h"

#include <limits.h>

#include "dlf_unpack.h"

static int open_file(dlf_record_file *r, dlf_fault *fault)
{
	int rc;

	if (r->opened)
		return 0;
	rc = dlf_plan_open(r->task->plan, r->task->file, &r->task->worker->io,
			   &r->file, fault);
	r->opened = !rc;
	return rc;
}

int dlf_record_file_read(dlf_record_file *r, uint64_t from, uint64_t to, unsigned char *dst,
		     dlf_fault *fault)
{
	return dlf_file_read(&r->file, &r->task->worker->io, from, dst, to - from,
			     NULL, fault);
}

/* ---- files that are compressed ---- */

static int unpack(dlf_record_file *r, dlf_memory memory, uint64_t *size,
		  dlf_fault *fault)
{
	int rc = open_file(r, fault);

	r->memory = memory;
	if (!rc)
		rc = dlf_unpack_file(&r->file, &r->task->worker->io, &memory,
				     &r->unpacked, size, fault);
	return rc ? rc : dlf_file_check_unchanged(&r->file, fault);
}

/* Unpack into an entry, which others wait for: nothing may be waited for here.
 * Without room for it there, it is kept for this task. */
static int unpack_to_cache(dlf_record_file *r, uint64_t *size, dlf_fault *fault)
{
	const dlf_memory uncharged = {.pool = r->task->memory.pool};
	dlf_cache_entry *entry = r->entry;
	int rc = unpack(r, uncharged, size, fault);

	r->entry = NULL;
	if (rc || dlf_cache_reserve(r->task->cache, entry, 0, uncharged.pool, *size)) {
		dlf_cache_abandon(r->task->cache, entry);
		return rc;
	}
	memcpy(entry->arrays[0].buf->data, r->unpacked->data, *size);
	entry->arrays[0].layout.sample_bytes = *size;
	dlf_cache_publish(r->task->cache, entry);
	dlf_memory_put(&r->memory, r->unpacked);
	r->unpacked = NULL;
	r->entry = entry;
	return 0;
}

static int get_unpacked(dlf_record_file *r, dlf_fault *fault)
{
	dlf_task *task = r->task;
	enum dlf_cache_found found = DLF_CACHE_NONE;
	uint64_t size = 0;
	int rc = 0;

	if (task->cache && task->plan->samples_per_file > 1)
		found = dlf_cache_get(task->cache, task->plan, task->file, &r->entry);
	if (found == DLF_CACHE_HIT)
		size = r->entry->arrays[0].layout.sample_bytes;
	else if (found == DLF_CACHE_LOAD)
		rc = unpack_to_cache(r, &size, fault);
	else
		rc = unpack(r, task->memory, &size, fault);
	r->data = r->entry ? r->entry->arrays[0].buf->data
			   : r->unpacked ? r->unpacked->data : NULL;
	r->from = 0;
	r->to = size;
	return rc;
}

/* ---- finding the records ---- */

static int is_packed(dlf_record_file *r, int *packed, dlf_fault *fault)
{
	unsigned char first[DLF_RECORD_HEAD];
	size_t n = r->file.size < sizeof(first) ? r->file.size : sizeof(first);
	int rc = dlf_record_file_read(r, 0, n, first, fault);

	*packed = !rc && dlf_record_is_packed(first, n);
	return rc;
}

static int look_up(dlf_record_file *r, int packed, dlf_records **found, dlf_fault *fault)
{
	dlf_file_src ctx = {&r->file, &r->task->worker->io};
	dlf_src src = dlf_src_file(&ctx);
	char path[PATH_MAX];
	int rc = 0;

	*found = NULL;
	if (packed) {
		rc = get_unpacked(r, fault);
		src = dlf_src_memory(r->data, r->to);
	} else {
		rc = dlf_plan_path(r->task->plan, r->task->file, path, fault);
		if (!rc)
			rc = dlf_records_from_index(path, r->file.size,
						    &r->task->worker->io, found,
						    fault);
	}
	return rc || *found ? rc : dlf_records_scan(&src, found, fault);
}

/* Learn where the records are, and remember it. */
int dlf_record_file_learn(dlf_record_file *r, dlf_fault *fault)
{
	dlf_records *found = NULL;
	int packed, rc = is_packed(r, &packed, fault);

	if (!rc)
		rc = look_up(r, packed, &found, fault);
	if (rc)
		return rc;
	rc = dlf_task_check(r->task, found->count, fault);
	if (rc) {
		dlf_records_free(&found->base);
		return rc;
	}
	found->packed = packed;
	r->records = (const dlf_records *)dlf_plan_set_table(
		r->task->plan, r->task->file, &found->base);
	return 0;
}

int dlf_record_file_open(dlf_record_file *r, dlf_task *task, dlf_fault *fault)
{
	uint64_t samples = task->plan->samples_per_file;
	int rc;

	*r = (dlf_record_file){.task = task};
	r->records = (const dlf_records *)dlf_plan_table(task->plan,
							 task->file);
	if (r->records && r->records->packed)
		return get_unpacked(r, fault);
	rc = open_file(r, fault);
	if (rc || r->records)
		return rc;
	return r->file.size && r->file.size % samples == 0 &&
			       r->file.size / samples >= DLF_RECORD_FRAME
		       ? 0
		       : dlf_record_file_learn(r, fault);
}

dlf_span dlf_record_file_extent(const dlf_record_file *r, size_t i)
{
	uint64_t index = r->task->places[i].index;

	if (r->records)
		return (dlf_span){r->records->offsets[index],
				  r->records->offsets[index + 1]};
	uint64_t length = r->file.size / r->task->plan->samples_per_file;
	return (dlf_span){index * length, (index + 1) * length};
}

void dlf_record_file_close(dlf_record_file *r)
{
	if (r->entry)
		dlf_cache_release(r->task->cache, r->entry, r->task->count);
	if (r->unpacked)
		dlf_memory_put(&r->memory, r->unpacked);
	if (r->opened)
		dlf_file_close(&r->file);
}
