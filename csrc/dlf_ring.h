/* SPDX-License-Identifier: Apache-2.0
 *
 * The prefetch ring: jobs run ahead of the consumer on worker threads and are
 * delivered in the order they were submitted, within one byte budget.
 *
 * A job is one delivery (a batch, a buffer) made of one or more tasks (files)
 * that run in any order on any worker.  A failure belongs to its job: the ring
 * delivers it like any other and goes on.  The ring knows nothing of formats.
 *
 * One thread submits and consumes.  Threads start at the first submission.
 */
#ifndef DLF_RING_H
#define DLF_RING_H

#include <stddef.h>

#include "dlf_file.h"

typedef struct dlf_ring dlf_ring;
typedef struct dlf_job dlf_job;

/* A worker thread's belongings. */
typedef struct dlf_worker {
	dlf_ring *ring;
	dlf_io io;
	void *scratch;                  /* a job type's own, made on demand */
	void (*free_scratch)(void *);
} dlf_worker;

struct dlf_job {
	/* Do task number `task`; what fails is recorded in the job itself. */
	void (*run)(dlf_job *job, size_t task, dlf_worker *worker);
	/* Release the job and all it owns. */
	void (*free)(dlf_job *job);
	size_t tasks;       /* at least 1 */
	size_t bytes;       /* charged against the budget until delivery */
	size_t started;     /* private, like all below */
	size_t finished;
	dlf_job *next;
};

typedef struct dlf_ring_stats {
	dlf_io_stats io;
	size_t threads;      /* running now */
	size_t in_flight;    /* bytes charged now */
	size_t peak;         /* most bytes ever charged at once */
	size_t queued;       /* jobs submitted and not yet delivered */
	uint64_t delivered;  /* jobs */
	uint64_t stall_ns;   /* the consumer waited in dlf_ring_next */
} dlf_ring_stats;

/* A ring of at most `threads` workers and `budget` bytes. */
int dlf_ring_new(size_t threads, size_t budget, dlf_ring **out);

/* Hand a job over.  DLF_EBUDGET, and the job stays the caller's, when its bytes do
 * not fit while others are in flight: take a delivery first.  A job alone always
 * fits.  -EAGAIN: no thread could be started. */
int dlf_ring_submit(dlf_ring *ring, dlf_job *job);

/* Wait up to timeout_ms for the oldest job; it is the caller's from then on.
 * -ETIMEDOUT, DLF_EEMPTY (nothing is in flight), DLF_ECANCELLED. */
int dlf_ring_next(dlf_ring *ring, int timeout_ms, dlf_job **out);

/* For a running task whose need shows only now: charge `bytes` more to its job,
 * waiting for room unless the job is the oldest.  DLF_ECANCELLED. */
int dlf_ring_charge(dlf_ring *ring, dlf_job *job, size_t bytes);
void dlf_ring_uncharge(dlf_ring *ring, dlf_job *job, size_t bytes);

/* Make running tasks stop at their next block, with DLF_ECANCELLED, and let
 * nothing start.  Does not wait; the ring is good only for closing afterwards. */
void dlf_ring_cancel(dlf_ring *ring);

void dlf_ring_get_stats(dlf_ring *ring, dlf_ring_stats *out);

/* Wait up to timeout_ms for the tasks that run, of a ring that was cancelled; then
 * dlf_ring_free waits for nobody's work.  -ETIMEDOUT. */
int dlf_ring_await(dlf_ring *ring, int timeout_ms);

/* Whether the caller is a thread of some ring, which must not wait for a ring's
 * tasks: they may wait for its own. */
int dlf_ring_is_worker(void);

/* Cancel, join the threads, free the jobs and the ring. */
void dlf_ring_free(dlf_ring *ring);

#endif
