/* SPDX-License-Identifier: Apache-2.0 */
#include "dlf_task.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int charge(void *arg, int64_t bytes)
{
	dlf_task *task = arg;

	if (bytes >= 0)
		return dlf_ring_charge(task->worker->ring, task->job,
				       (size_t)bytes);
	dlf_ring_uncharge(task->worker->ring, task->job, (size_t)-bytes);
	return 0;
}

int dlf_task_run(const dlf_plan *plan, uint64_t file, dlf_target *target,
		 dlf_place *places, size_t count, dlf_pool *pool, dlf_cache *cache, dlf_job *job,
		 dlf_worker *worker, dlf_fault *fault)
{
	dlf_task task = {.plan = plan, .file = file, .target = target,
			 .places = places, .count = count, .cache = cache, .job = job,
			 .worker = worker, .memory = {pool, charge, NULL}};

	task.memory.ctx = &task;
	dlf_fault_clear(fault);
	dlf_io_use(&worker->io, plan->store);
	int rc = plan->container->read(&task, fault);
	dlf_io_stats *stats = &worker->io.stats;
	if (!rc)
		*(task.by_maker ? &stats->maker_samples : &stats->core_samples) += count;
	return rc;
}

int dlf_task_by_maker(dlf_task *task, dlf_fault *fault)
{
	task->by_maker = 1;
	return task->plan->read(task, fault);
}

const dlf_container dlf_maker_container = {"maker", 0, dlf_task_by_maker, NULL};

void dlf_loose_free(dlf_loose *loose)
{
	if (!loose)
		return;
	dlf_buf_unref(loose->buf);
	free(loose);
}

int dlf_task_place(dlf_task *task, dlf_place *place, size_t field,
		   const dlf_layout *layout, size_t skip, unsigned char **dst,
		   dlf_fault *fault)
{
	dlf_loose *loose;

	*dst = dlf_task_in_batch(task, place, field);
	if (*dst && layout->expected)
		return 0;
	loose = calloc(1, sizeof(*loose));
	int rc = loose ? dlf_memory_get(&task->memory,
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
	*dlf_task_loose(task, place, field) = loose;
	atomic_store_explicit(&task->target->any_loose, 1, memory_order_relaxed);
	*dst = loose->data;
	return 0;
}

/* Samples whose slots follow one another, too, are copied together. */
static void put_in_column(unsigned char *column, const dlf_place *places,
			  size_t count, size_t size, const unsigned char *from)
{
	for (size_t i = 0, run; i < count; i += run) {
		run = places[i].run < count - i ? places[i].run : count - i;
		memcpy(column + places[i].slot * size, from + i * size, run * size);
	}
}

int dlf_task_put(dlf_task *task, size_t first, size_t count, size_t field,
		 const dlf_layout *layout, const void *samples, dlf_fault *fault)
{
	const unsigned char *from = samples;
	unsigned char *dst;
	int rc = 0;

	if (task->target->columns[field] && layout->expected) {
		put_in_column(task->target->columns[field], task->places + first,
			      count, layout->sample_bytes, from);
		return 0;
	}
	for (size_t i = 0; i < count && !rc; i++) {
		rc = dlf_task_place(task, &task->places[first + i], field,
				    layout, 0, &dst, fault);
		if (!rc)
			memcpy(dst, from + i * layout->sample_bytes,
			       layout->sample_bytes);
	}
	return rc;
}

void *dlf_task_scratch(dlf_task *task, size_t size, void (*free_scratch)(void *))
{
	dlf_worker *worker = task->worker;

	if (worker->scratch && worker->free_scratch != free_scratch) {
		worker->free_scratch(worker->scratch);
		worker->scratch = NULL;
	}
	if (!worker->scratch) {
		worker->scratch = calloc(1, size);
		worker->free_scratch = free_scratch;
	}
	return worker->scratch;
}

int dlf_task_check(const dlf_task *task, uint64_t samples, dlf_fault *fault)
{
	if (samples != task->plan->samples_per_file)
		return dlf_fail(fault, DLF_ESAMPLE, 0,
				"the file holds another number of samples than "
				"the first file of the data set");
	for (size_t i = 0; i < task->count; i++)
		if (task->places[i].index >= samples)
			return dlf_fail(fault, DLF_ESAMPLE, 0,
					"the file does not hold that sample");
	return 0;
}
