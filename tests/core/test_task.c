/* SPDX-License-Identifier: Apache-2.0
 *
 * Tasks whose samples a plan's own reader puts to their places, and what a plan
 * remembers of its files.
 */
#include "dlf_task.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "dlf_batch.h"
#include "dlf_containers.h"

enum { FILES = 7, EACH = 4, FIELDS = 2, WIDTH = 5, FOREVER = 60000 };

/* Every third sample of the first field is one element short, where so wanted. */
static int differing;
static atomic_int tables;

static size_t width_of(uint64_t sample)
{
	return differing && sample % 3 == 0 ? WIDTH - 1 : WIDTH;
}

static void describe(const dlf_plan *plan, size_t field, uint64_t sample,
		     dlf_layout *layout)
{
	dlf_plan_sample(plan, field, layout);
	if (field || width_of(sample) == WIDTH)
		return;
	layout->expected = 0;
	layout->shape[0] = width_of(sample);
	layout->sample_bytes = 2 * layout->shape[0];
}

/* Full of the sample's number; file 3 fails midway. */
static int read_numbers(dlf_task *task, dlf_fault *fault)
{
	uint16_t x[WIDTH];
	dlf_layout layout;
	int rc = 0;

	for (size_t i = 0; i < task->count && !rc; i++) {
		uint64_t sample = task->file * EACH + task->places[i].index;

		if (task->file == 3 && i)
			return dlf_fail(fault, DLF_EMAKER, 0, "as asked");
		for (size_t k = 0; k < WIDTH; k++)
			x[k] = (uint16_t)sample;
		for (size_t f = 0; f < FIELDS && !rc; f++) {
			describe(task->plan, f, sample, &layout);
			rc = dlf_task_put(task, i, 1, f, &layout, x, fault);
		}
	}
	return rc;
}

static const char names[] = "";
static const uint64_t offsets[FILES];
static const dlf_field fields[FIELDS] = {
	{.descr = "<u2", .descr_len = 3, .itemsize = 2, .ndim = 1,
	 .shape = {WIDTH}, .sample_bytes = 2 * WIDTH},
	{.descr = "<u2", .descr_len = 3, .itemsize = 2, .sample_bytes = 2},
};

static dlf_plan new_plan(void)
{
	return (dlf_plan){
		.container = dlf_container_named("maker"),
		.samples_per_file = EACH, .root = "", .names = names,
		.offsets = offsets, .n_files = FILES, .fields = fields,
		.n_fields = FIELDS, .read = read_numbers,
	};
}

static void check_sample(const dlf_batch *batch, size_t i)
{
	uint64_t sample = batch->samples[i];
	const dlf_loose *loose = batch->loose[i * FIELDS];
	const unsigned char *x = loose ? loose->data
				       : batch->buf->data + i * 2 * WIDTH;
	uint16_t found;

	if (loose) {
		CHECK_EQ(loose->ndim, 1);
		CHECK_EQ(loose->shape[0], width_of(sample));
		CHECK_EQ(loose->nbytes, 2 * width_of(sample));
	} else {
		CHECK_EQ(width_of(sample), WIDTH);
	}
	for (size_t k = 0; k < width_of(sample); k++) {
		memcpy(&found, x + 2 * k, 2);
		CHECK_EQ(found, sample);
	}
}

static void samples_are_put_where_they_belong(int ragged)
{
	dlf_plan plan = new_plan();
	int64_t ids[] = {27, 2, 9, 9, 1, 14, 13, 0, 20};
	size_t n = sizeof(ids) / sizeof(*ids);
	dlf_pool *pool;
	dlf_ring *ring;
	dlf_job *job;

	plan.ragged = ragged;
	CHECK_EQ(dlf_pool_new(0, &pool), 0);
	CHECK_EQ(dlf_ring_new(3, 1 << 20, &ring), 0);
	for (int round = 0; round < 20; round++) {
		dlf_batch *batch;
		CHECK_EQ(dlf_batch_new(&plan, pool, ids, n, &batch), 0);
		CHECK_EQ(dlf_ring_submit(ring, &batch->job), 0);
		CHECK_EQ(dlf_ring_next(ring, FOREVER, &job), 0);
		CHECK(job == &batch->job);
		for (size_t t = 0; t < job->tasks; t++)
			CHECK_EQ(batch->tasks[t].fault.code,
				 batch->tasks[t].file == 3 ? DLF_EMAKER : 0);
		dlf_batch_compact(batch);
		CHECK_EQ(batch->n, n - 2); /* 13 and 14 lie in file 3 */
		for (size_t i = 0; i < batch->n; i++)
			check_sample(batch, i);
		job->free(job);
	}
	dlf_ring_free(ring);
	dlf_pool_unref(pool);
}

static void a_file_of_another_number_of_samples_is_refused(void)
{
	dlf_plan plan = new_plan();
	dlf_place places[] = {{.index = 1}, {.index = EACH - 1}};
	dlf_task task = {.plan = &plan, .places = places, .count = 2};
	dlf_fault fault;

	dlf_fault_clear(&fault);
	CHECK_EQ(dlf_task_check(&task, EACH, &fault), 0);
	CHECK_EQ(dlf_task_check(&task, EACH - 1, &fault), DLF_ESAMPLE);
	CHECK_EQ(dlf_task_check(&task, EACH + 1, &fault), DLF_ESAMPLE);
	places[1].index = EACH;
	CHECK_EQ(dlf_task_check(&task, EACH, &fault), DLF_ESAMPLE);
}

static void containers_are_known_by_name(void)
{
	CHECK(dlf_container_named("npz") != NULL);
	CHECK(dlf_container_named("maker") == &dlf_maker_container);
	CHECK(dlf_container_named("npz ") == NULL);
	CHECK(dlf_container_named("") == NULL);
}

/* ---- tables ---- */

struct numbered {
	dlf_table table;
	uint64_t file;
};

static void free_table(dlf_table *table)
{
	atomic_fetch_sub(&tables, 1);
	free(table);
}

static void *learn_all(void *arg)
{
	const dlf_plan *plan = arg;

	for (uint64_t file = 0; file < FILES; file++) {
		dlf_table *known = dlf_plan_table(plan, file);
		if (!known) {
			struct numbered *mine = malloc(sizeof(*mine));
			*mine = (struct numbered){{free_table}, file};
			atomic_fetch_add(&tables, 1);
			known = dlf_plan_set_table(plan, file, &mine->table);
		}
		CHECK_EQ(((struct numbered *)known)->file, file);
		CHECK(known == dlf_plan_table(plan, file));
	}
	return NULL;
}

static void threads_that_learn_the_same_files_agree(void)
{
	dlf_container keeps = {.name = "keeps", .keeps_tables = 1};
	dlf_plan plan = new_plan();
	pthread_t threads[4];

	CHECK_EQ(dlf_plan_new_tables(&plan), 0);
	CHECK(plan.tables == NULL); /* this container keeps none */
	CHECK(dlf_plan_table(&plan, 0) == NULL);
	plan.container = &keeps;
	for (int round = 0; round < 50; round++) {
		CHECK_EQ(dlf_plan_new_tables(&plan), 0);
		for (int i = 0; i < 4; i++)
			CHECK_EQ(pthread_create(&threads[i], NULL, learn_all,
						&plan), 0);
		for (int i = 0; i < 4; i++)
			CHECK_EQ(pthread_join(threads[i], NULL), 0);
		CHECK_EQ(atomic_load(&tables), FILES);
		dlf_plan_free_tables(&plan);
		CHECK_EQ(atomic_load(&tables), 0);
	}
	plan.n_files = 0;
	CHECK_EQ(dlf_plan_new_tables(&plan), 0);
	dlf_plan_free_tables(&plan);
}

/* ---- a reader that takes its time ---- */

static atomic_int reading, gate;

static int read_slowly(dlf_task *task, dlf_fault *fault)
{
	CHECK(dlf_ring_is_worker());
	atomic_store(&reading, 1);
	while (!atomic_load(&gate))
		sched_yield();
	return read_numbers(task, fault);
}

static void *open_gate(void *arg)
{
	(void)arg;
	atomic_store(&gate, 1);
	return NULL;
}

static void readers_are_awaited_once_the_ring_is_cancelled(void)
{
	dlf_plan plan = new_plan();
	int64_t ids[] = {0, 1};
	dlf_batch *batch;
	dlf_pool *pool;
	dlf_ring *ring;
	pthread_t opener;

	plan.read = read_slowly;
	CHECK(!dlf_ring_is_worker());
	CHECK_EQ(dlf_pool_new(0, &pool), 0);
	CHECK_EQ(dlf_ring_new(1, 1 << 20, &ring), 0);
	for (int i = 0; i < 2; i++) {
		CHECK_EQ(dlf_batch_new(&plan, pool, ids, 2, &batch), 0);
		CHECK_EQ(dlf_ring_submit(ring, &batch->job), 0);
	}
	while (!atomic_load(&reading))
		sched_yield();
	dlf_ring_cancel(ring);
	CHECK_EQ(dlf_ring_await(ring, 0), -ETIMEDOUT);
	CHECK_EQ(dlf_ring_await(ring, 5), -ETIMEDOUT);
	CHECK_EQ(pthread_create(&opener, NULL, open_gate, NULL), 0);
	CHECK_EQ(dlf_ring_await(ring, FOREVER), 0);
	CHECK_EQ(pthread_join(opener, NULL), 0);
	dlf_ring_free(ring);
	dlf_pool_unref(pool);
}

void test_task(void)
{
	for (differing = 0; differing < 2; differing++) {
		samples_are_put_where_they_belong(0);
		samples_are_put_where_they_belong(1);
	}
	a_file_of_another_number_of_samples_is_refused();
	containers_are_known_by_name();
	threads_that_learn_the_same_files_agree();
	readers_are_awaited_once_the_ring_is_cancelled();
}
