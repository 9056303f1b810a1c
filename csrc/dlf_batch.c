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

/* Slots in order of their sample ids, so that one file's stand together: sorted by
 * one byte of the ids after the other, of those in which they differ. */
static int sort_slots(const uint64_t *samples, uint32_t *order, size_t n)
{
	uint64_t differ = 0;
	int sorted = 1;

	for (size_t i = 0; i < n; i++) {
		order[i] = (uint32_t)i;
		differ |= samples[i] ^ samples[0];
		if (i && samples[i - 1] > samples[i])
			sorted = 0;
	}
	if (sorted)
		return 0;
	uint32_t *from = order, *to = malloc(n * sizeof(*to)), *spare = to;
	if (!to)
		return -ENOMEM;
	for (int shift = 0; shift < 64 && differ >> shift; shift += 8) {
		size_t begin[256] = {0}, sum = 0;

		for (size_t i = 0; i < n; i++)
			begin[samples[i] >> shift & 255]++;
		for (int digit = 0; digit < 256; digit++) {
			size_t count = begin[digit];
			begin[digit] = sum;
			sum += count;
		}
		for (size_t i = 0; i < n; i++)
			to[begin[samples[from[i]] >> shift & 255]++] = from[i];
		uint32_t *sorted_so_far = to;
		to = from;
		from = sorted_so_far;
	}
	if (from != order)
		memcpy(order, from, n * sizeof(*order));
	free(spare);
	return 0;
}

/* How many files the samples are of, which order[] leads through in turn. */
static size_t count_files(const dlf_batch *batch)
{
	uint64_t each = batch->plan->samples_per_file, end = 0;
	size_t files = 0;

	for (size_t k = 0; k < batch->n; k++) {
		uint64_t sample = batch->samples[batch->order[k]];
		if (sample < end)
			continue;
		end = sample - sample % each + each;
		files++;
	}
	return files;
}

static void lay_out(dlf_batch *batch)
{
	const dlf_plan *plan = batch->plan;
	uint64_t each = plan->samples_per_file, begin = 0, end = 0;
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
		uint64_t sample = batch->samples[slot];
		dlf_place *place = &batch->places[k];

		if (sample >= end) {
			begin = sample - sample % each;
			end = begin + each;
			batch->tasks[tasks].file = begin / each;
			batch->tasks[tasks++].first = k;
		}
		batch->tasks[tasks - 1].count++;
		place->index = sample - begin;
		place->slot = (uint32_t)slot;
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
	batch->offsets = calloc(plan->n_fields + 1, sizeof(*batch->offsets));
	batch->loose = calloc(n * plan->n_fields + 1, sizeof(*batch->loose));
	batch->places = calloc(n, sizeof(*batch->places));
	batch->target.columns = calloc(plan->n_fields + 1,
				       sizeof(*batch->target.columns));
	batch->order = malloc(n * sizeof(*batch->order));
	batch->bad = calloc(n, 1);
	if (!batch->samples || !batch->offsets || !batch->loose ||
	    !batch->places || !batch->target.columns || !batch->order ||
	    !batch->bad)
		goto fail;
	if (!plan->ragged) {
		rc = dlf_pool_get(pool, bytes, &batch->buf);
		if (rc)
			goto fail;
		batch->job.bytes = batch->buf->capacity;
	}
	memcpy(batch->samples, samples, n * sizeof(*samples));
	rc = sort_slots(batch->samples, batch->order, n);
	if (rc)
		goto fail;
	rc = -ENOMEM;
	batch->tasks = calloc(count_files(batch), sizeof(*batch->tasks));
	if (!batch->tasks)
		goto fail;
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
