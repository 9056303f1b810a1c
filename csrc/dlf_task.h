/* SPDX-License-Identifier: Apache-2.0
 *
 * What a container is asked for: samples of one file, each to its place.
 */
#ifndef DLF_TASK_H
#define DLF_TASK_H

#include "dlf_cache.h"
#include "dlf_memory.h"
#include "dlf_plan.h"
#include "dlf_ring.h"

/* A sample that has a buffer of its own, because it differs from the plan's shape
 * or dtype, or because the plan is ragged. */
typedef struct dlf_loose {
	dlf_buf *buf;
	unsigned char *data;     /* 64-byte aligned, inside buf */
	uint64_t nbytes;
	int ndim;
	uint64_t shape[DLF_NPY_MAX_DIMS];
	size_t descr_len;
	char descr[DLF_DESCR_MAX];
} dlf_loose;

/* Where the samples of a batch go. */
typedef struct dlf_target {
	unsigned char **columns; /* per field: the place of slot 0; NULL: all get
				  * loose buffers */
	dlf_loose **loose;       /* [slot * n_fields + field] where one was made */
	atomic_int any_loose;
} dlf_target;

/* A sample, and where it is to go. */
typedef struct dlf_place {
	uint64_t index;          /* of the sample in its file */
	uint32_t slot;           /* in the batch */
	uint32_t run;            /* of so many places, from this on, the slots
				  * follow one another */
} dlf_place;

typedef struct dlf_task {
	const dlf_plan *plan;
	uint64_t file;
	dlf_target *target;
	dlf_place *places;     /* in order of their indices */
	size_t count;
	dlf_cache *cache;      /* NULL: none */
	dlf_job *job;
	dlf_worker *worker;
	dlf_memory memory;     /* charged to the job */
	int by_maker;          /* the plan's maker has read it */
} dlf_task;

struct dlf_container {
	const char *name;
	int keeps_tables;
	/* Read all samples of the task, of all fields; faults name member and
	 * offset.  What was made loose stays with the places, also after a
	 * failure. */
	int (*read)(dlf_task *task, dlf_fault *fault);
	/* Make a table out of what plan->learn has found out about a file; NULL:
	 * the container does so by itself. */
	int (*describe)(const dlf_plan *plan, const void *description,
			size_t size, dlf_table **table, dlf_fault *fault);
};

/* Read with plan->read alone. */
extern const dlf_container dlf_maker_container;

/* Do a task of a batch. */
int dlf_task_run(const dlf_plan *plan, uint64_t file, dlf_target *target,
		 dlf_place *places, size_t count, dlf_pool *pool, dlf_cache *cache, dlf_job *job,
		 dlf_worker *worker, dlf_fault *fault);

/* Where in the batch a sample goes that is as the plan expects; NULL: all get loose
 * buffers. */
static inline unsigned char *dlf_task_in_batch(const dlf_task *task,
					       const dlf_place *place,
					       size_t field)
{
	unsigned char *column = task->target->columns[field];

	return column ? column + place->slot *
					 task->plan->fields[field].sample_bytes
		      : NULL;
}

/* Where its loose buffer is noted. */
static inline dlf_loose **dlf_task_loose(const dlf_task *task,
					 const dlf_place *place, size_t field)
{
	return &task->target->loose[place->slot * task->plan->n_fields + field];
}
/* Read a task with plan->read, whatever the container. */
int dlf_task_by_maker(dlf_task *task, dlf_fault *fault);

/* A sample's place: in the batch where it is as the plan expects, else in a loose
 * buffer, behind `skip` bytes. */
int dlf_task_place(dlf_task *task, dlf_place *place, size_t field,
		   const dlf_layout *layout, size_t skip, unsigned char **dst,
		   dlf_fault *fault);

/* Put `count` samples that lie one after the other in memory to places first, first
 * + 1, ... */
int dlf_task_put(dlf_task *task, size_t first, size_t count, size_t field,
		 const dlf_layout *layout, const void *samples,
		 dlf_fault *fault);

/* The worker's memory of `size` bytes for this kind of work, zeroed when it is new;
 * NULL: there is none.  free_scratch tells the kinds apart. */
void *dlf_task_scratch(dlf_task *task, size_t size,
		       void (*free_scratch)(void *));

/* DLF_ESAMPLE if the file, of `samples`, lacks a sample that is asked for, or holds
 * another number than the first file of the data set. */
int dlf_task_check(const dlf_task *task, uint64_t samples, dlf_fault *fault);

void dlf_loose_free(dlf_loose *loose);

#endif
