/* SPDX-License-Identifier: Apache-2.0 */
#include "dlf_batch.h"

#include <errno.h>
#include <stdlib.h>

/* Fields begin on pages, so that O_DIRECT can reach the first sample of each. */
#define FIELD_ALIGN ((size_t)4096)

static size_t field_span(const dlf_field *field, size_t n)
{
	size_t bytes;

	if (__builtin_mul_overflow(field->sample_bytes, n, &bytes) ||
	    bytes > SIZE_MAX / 2)
		return SIZE_MAX / 2;
	return (bytes + FIELD_ALIGN - 1) / FIELD_ALIGN * FIELD_ALIGN;
}

size_t dlf_batch_bytes(const dlf_plan *plan, size_t n)
{
	size_t bytes = 0;

	if (plan->ragged)
		return 0;
	for (size_t f = 0; f < plan->n_fields; f++)
		if (__builtin_add_overflow(bytes,
					   field_span(&plan->fields[f], n),
					   &bytes))
			return SIZE_MAX;
	return bytes;
}

static void run(dlf_job *job, size_t t, dlf_worker *worker)
{
	dlf_batch *batch = (dlf_batch *)job;
	dlf_batch_task *task = &batch->tasks[t];
	int rc = dlf_task_run(batch->plan, task->file, &batch->target,
			      batch->places + task->first, task->count,
			      batch->pool, batch->cache, job, worker,
			      &task->fault);

	if (rc)
		for (size_t i = 0; i < task->count; i++)
			batch->bad[batch->order[task->first + i]] = 1;
}

static void batch_free(dlf_job *job)
{
	dlf_batch *batch = (dlf_batch *)job;

	/* loose[] may be shorter after compaction; its tail is NULL then */
	if (batch->loose && atomic_load(&batch->target.any_loose))
		for (size_t i = 0; i < batch->n * batch->plan->n_fields; i++)
			dlf_loose_free(batch->loose[i]);
	if (batch->buf)
		dlf_buf_unref(batch->buf);
	free(batch->samples);
	free(batch->tasks);
	free(batch->offsets);
	free(batch->loose);
	free(batch->places);
	free(batch->target.columns);
	free(batch->order);
	free(batch->bad);
	free(batch);
}

/* Slots in order of their sample ids, so that one file's stand together. */
static void sort_slots(const uint64_t *samples, uint32_t *order, size_t n)
{
	int sorted = 1;

	for (size_t i = 0; i < n; i++) {
		order[i] = (uint32_t)i;
		if (i && samples[i - 1] > samples[i])
			sorted = 0;
	}
	if (sorted)
		return;
	/* Shell sort (Ciura's gaps, extended): n is a batch, and qsort_r is no
	 * standard C. */
	static const size_t gaps[] = {4035, 1750, 701, 301, 132, 57, 23, 10, 4, 1};
	for (size_t g = 0; g < sizeof(gaps) / sizeof(gaps[0]); g++)
		for (size_t i = gaps[g]; i < n; i++) {
			uint32_t slot = order[i];
			size_t j = i;
			for (; j >= gaps[g] && samples[order[j - gaps[g]]] >
						       samples[slot];
			     j -= gaps[g])
				order[j] = order[j - gaps[g]];
			order[j] = slot;
		}
}

static void lay_out(dlf_batch *batch)
{
	const dlf_plan *plan = batch->plan;
	size_t offset = 0, tasks = 0;

	for (size_t f = 0; f < plan->n_fields; f++) {
		batch->offsets[f] = offset;
		if (batch->buf)
			batch->target.columns[f] = batch->buf->data + offset;
		offset += field_span(&plan->fields[f], batch->n);
	}
	batch->target.loose = batch->loose;
	for (size_t k = 0; k < batch->n; k++) {
		size_t slot = batch->order[k];
		uint64_t file = batch->samples[slot] / plan->samples_per_file;
		dlf_place *place = &batch->places[k];

		place->index = batch->samples[slot] % plan->samples_per_file;
		place->slot = (uint32_t)slot;
		if (!tasks || batch->tasks[tasks - 1].file != file) {
			batch->tasks[tasks].file = file;
			batch->tasks[tasks++].first = k;
		}
		batch->tasks[tasks - 1].count++;
	}
	batch->job.tasks = tasks;
	for (size_t k = batch->n; k--;) {
		dlf_place *place = &batch->places[k];

		place->run = 1;
		if (k + 1 < batch->n && place[1].slot == place->slot + 1)
			place->run += place[1].run;
	}
}

int dlf_batch_new(const dlf_plan *plan, dlf_pool *pool, const int64_t *samples,
		  size_t n, dlf_batch **out)
{
	uint64_t total = plan->n_files * plan->samples_per_file;
	size_t bytes = dlf_batch_bytes(plan, n);
	int rc = -ENOMEM;

	if (!n || n > UINT32_MAX)
		return -EINVAL;
	for (size_t i = 0; i < n; i++)
		if (samples[i] < 0 || (uint64_t)samples[i] >= total)
			return -EINVAL;
	dlf_batch *batch = calloc(1, sizeof(*batch));
	if (!batch)
		return -ENOMEM;
	batch->job.run = run;
	batch->job.free = batch_free;
	batch->plan = plan;
	batch->pool = pool;
	batch->n = n;
	batch->samples = malloc(n * sizeof(*batch->samples));
	batch->tasks = calloc(n, sizeof(*batch->tasks));
	batch->offsets = calloc(plan->n_fields + 1, sizeof(*batch->offsets));
	batch->loose = calloc(n * plan->n_fields + 1, sizeof(*batch->loose));
	batch->places = calloc(n, sizeof(*batch->places));
	batch->target.columns = calloc(plan->n_fields + 1,
				       sizeof(*batch->target.columns));
	batch->order = malloc(n * sizeof(*batch->order));
	batch->bad = calloc(n, 1);
	if (!batch->samples || !batch->tasks || !batch->offsets ||
	    !batch->loose || !batch->places || !batch->target.columns ||
	    !batch->order || !batch->bad)
		goto fail;
	if (!plan->ragged) {
		rc = dlf_pool_get(pool, bytes, &batch->buf);
		if (rc)
			goto fail;
		batch->job.bytes = batch->buf->capacity;
	}
	memcpy(batch->samples, samples, n * sizeof(*samples));
	sort_slots(batch->samples, batch->order, n);
	lay_out(batch);
	*out = batch;
	return 0;
fail:
	batch_free(&batch->job);
	return rc;
}

void dlf_batch_compact(dlf_batch *batch)
{
	const dlf_plan *plan = batch->plan;
	size_t good = 0;

	for (size_t i = 0; i < batch->n; i++) {
		dlf_loose **from = batch->loose + i * plan->n_fields;
		dlf_loose **to = batch->loose + good * plan->n_fields;

		for (size_t f = 0; f < plan->n_fields; f++) {
			size_t size = plan->fields[f].sample_bytes;
			unsigned char *base =
				batch->buf ? batch->buf->data + batch->offsets[f]
					   : NULL;
			if (batch->bad[i]) {
				dlf_loose_free(from[f]);
				from[f] = NULL;
				continue;
			}
			if (good == i)
				continue;
			to[f] = from[f];
			from[f] = NULL;
			if (base)
				memcpy(base + good * size, base + i * size,
				       size);
		}
		if (batch->bad[i])
			continue;
		batch->samples[good++] = batch->samples[i];
	}
	memset(batch->bad, 0, batch->n);
	batch->n = good;
}
