/* SPDX-License-Identifier: Apache-2.0 */
#include "dlf_ring.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "dlf_counters.h"

struct dlf_ring {
	pthread_mutex_t lock;
	pthread_cond_t work;   /* a task may be started */
	pthread_cond_t done;   /* the oldest job may be finished, or, once
				* cancelled, the last task */
	pthread_cond_t room;   /* bytes were released, or the oldest job changed */
	dlf_job *oldest;       /* in order of submission, to be delivered */
	dlf_job *newest;
	dlf_job *unstarted;    /* the first job with a task to start */
	size_t running;        /* tasks */
	size_t budget;
	atomic_int cancel;
	dlf_ring_stats stats;
	size_t max_threads;
	pthread_t *threads;
	dlf_worker *workers;
};

int dlf_ring_new(size_t threads, size_t budget, dlf_ring **out)
{
	dlf_ring *ring;
	pthread_condattr_t attr;

	if (!threads)
		return -EINVAL;
	ring = calloc(1, sizeof(*ring));
	if (!ring)
		return -ENOMEM;
	ring->threads = calloc(threads, sizeof(*ring->threads));
	ring->workers = calloc(threads, sizeof(*ring->workers));
	if (!ring->threads || !ring->workers) {
		free(ring->threads);
		free(ring->workers);
		free(ring);
		return -ENOMEM;
	}
	ring->max_threads = threads;
	ring->budget = budget;
	atomic_init(&ring->cancel, 0);
	pthread_mutex_init(&ring->lock, NULL);
	pthread_cond_init(&ring->work, NULL);
	pthread_cond_init(&ring->room, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&ring->done, &attr);
	pthread_condattr_destroy(&attr);
	dlf_count(DLF_COUNT_RINGS, 1);
	*out = ring;
	return 0;
}

static _Thread_local int is_worker;

int dlf_ring_is_worker(void)
{
	return is_worker;
}

static int is_cancelled(dlf_ring *ring)
{
	return atomic_load_explicit(&ring->cancel, memory_order_relaxed);
}

/* Take the next task; NULL: the ring is closing.  Called locked. */
static dlf_job *take_task(dlf_ring *ring, size_t *task)
{
	while (!is_cancelled(ring) && !ring->unstarted)
		pthread_cond_wait(&ring->work, &ring->lock);
	if (is_cancelled(ring))
		return NULL;
	dlf_job *job = ring->unstarted;
	*task = job->started++;
	if (job->started == job->tasks)
		ring->unstarted = job->next;
	return job;
}

static void *work(void *arg)
{
	dlf_worker *worker = arg;
	dlf_ring *ring = worker->ring;
	dlf_job *job;
	size_t task;

	is_worker = 1;
	pthread_mutex_lock(&ring->lock);
	while ((job = take_task(ring, &task))) {
		ring->running++;
		pthread_mutex_unlock(&ring->lock);
		memset(&worker->io.stats, 0, sizeof(worker->io.stats));
		job->run(job, task, worker);
		pthread_mutex_lock(&ring->lock);
		dlf_io_stats_add(&ring->stats.io, &worker->io.stats);
		if (++job->finished == job->tasks && job == ring->oldest)
			pthread_cond_signal(&ring->done);
		if (!--ring->running && is_cancelled(ring))
			pthread_cond_broadcast(&ring->done);
	}
	pthread_mutex_unlock(&ring->lock);
	return NULL;
}

/* Start one more worker.  Called locked. */
static int start_thread(dlf_ring *ring)
{
	size_t i = ring->stats.threads;
	dlf_worker *worker = &ring->workers[i];
	sigset_t all, before;
	int rc;

	worker->ring = ring;
	rc = dlf_io_init(&worker->io, &ring->cancel);
	if (rc)
		return rc;
	/* Signals are the program's business, not a worker's: Ctrl-C has to
	 * reach the thread that waits for a delivery. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&ring->threads[i], NULL, work, worker);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc) {
		dlf_io_free(&worker->io);
		return -rc;
	}
	ring->stats.threads++;
	dlf_count(DLF_COUNT_RING_THREADS, 1);
	return 0;
}

/* As many workers as there are tasks to run, up to the limit.  Fewer than asked
 * for will do, none will not.  Called locked. */
static int start_threads(dlf_ring *ring, size_t tasks)
{
	while (ring->stats.threads < ring->max_threads && tasks--) {
		int rc = start_thread(ring);
		if (rc)
			return ring->stats.threads ? 0 : rc;
	}
	return 0;
}

static void charge(dlf_ring *ring, size_t bytes)
{
	ring->stats.in_flight += bytes;
	if (ring->stats.in_flight > ring->stats.peak)
		ring->stats.peak = ring->stats.in_flight;
}

static int fits(const dlf_ring *ring, size_t bytes)
{
	return bytes <= ring->budget &&
	       ring->stats.in_flight <= ring->budget - bytes;
}

int dlf_ring_submit(dlf_ring *ring, dlf_job *job)
{
	int rc;

	pthread_mutex_lock(&ring->lock);
	if (ring->oldest && !fits(ring, job->bytes)) {
		rc = DLF_EBUDGET;
		goto out;
	}
	rc = is_cancelled(ring) ? DLF_ECANCELLED : start_threads(ring, job->tasks);
	if (rc)
		goto out;
	charge(ring, job->bytes);
	job->started = job->finished = 0;
	job->next = NULL;
	if (ring->newest)
		ring->newest->next = job;
	else
		ring->oldest = job;
	ring->newest = job;
	if (!ring->unstarted)
		ring->unstarted = job;
	ring->stats.queued++;
	if (job->tasks > 1)
		pthread_cond_broadcast(&ring->work);
	else
		pthread_cond_signal(&ring->work);
out:
	pthread_mutex_unlock(&ring->lock);
	return rc;
}

static struct timespec deadline(uint64_t begin, int timeout_ms)
{
	uint64_t end = begin + (uint64_t)timeout_ms * 1000000u;

	return (struct timespec){(time_t)(end / 1000000000u),
				 (long)(end % 1000000000u)};
}

int dlf_ring_next(dlf_ring *ring, int timeout_ms, dlf_job **out)
{
	uint64_t begin = dlf_now_ns();
	struct timespec until = deadline(begin, timeout_ms);
	dlf_job *job;
	int rc = 0;

	pthread_mutex_lock(&ring->lock);
	while ((job = ring->oldest) && job->finished < job->tasks && !rc &&
	       !is_cancelled(ring))
		rc = -pthread_cond_timedwait(&ring->done, &ring->lock, &until);
	ring->stats.stall_ns += dlf_now_ns() - begin;
	if (!job) {
		rc = DLF_EEMPTY;
	} else if (is_cancelled(ring)) {
		rc = DLF_ECANCELLED;
	} else if (job->finished == job->tasks) {
		rc = 0;
		ring->oldest = job->next;
		if (!ring->oldest)
			ring->newest = NULL;
		ring->stats.in_flight -= job->bytes;
		ring->stats.queued--;
		ring->stats.delivered++;
		pthread_cond_broadcast(&ring->room);
		*out = job;
	}
	pthread_mutex_unlock(&ring->lock);
	return rc;
}

int dlf_ring_charge(dlf_ring *ring, dlf_job *job, size_t bytes)
{
	int rc = 0;

	pthread_mutex_lock(&ring->lock);
	/* The oldest job never waits, so that a job larger than the budget, and
	 * any job in its turn, gets through. */
	while (!is_cancelled(ring) && job != ring->oldest && !fits(ring, bytes))
		pthread_cond_wait(&ring->room, &ring->lock);
	if (is_cancelled(ring)) {
		rc = DLF_ECANCELLED;
	} else {
		charge(ring, bytes);
		job->bytes += bytes;
	}
	pthread_mutex_unlock(&ring->lock);
	return rc;
}

void dlf_ring_uncharge(dlf_ring *ring, dlf_job *job, size_t bytes)
{
	pthread_mutex_lock(&ring->lock);
	ring->stats.in_flight -= bytes;
	job->bytes -= bytes;
	pthread_cond_broadcast(&ring->room);
	pthread_mutex_unlock(&ring->lock);
}

void dlf_ring_cancel(dlf_ring *ring)
{
	pthread_mutex_lock(&ring->lock);
	atomic_store(&ring->cancel, 1);
	pthread_cond_broadcast(&ring->work);
	pthread_cond_broadcast(&ring->room);
	pthread_cond_broadcast(&ring->done);
	pthread_mutex_unlock(&ring->lock);
}

void dlf_ring_get_stats(dlf_ring *ring, dlf_ring_stats *out)
{
	pthread_mutex_lock(&ring->lock);
	*out = ring->stats;
	pthread_mutex_unlock(&ring->lock);
}

int dlf_ring_await(dlf_ring *ring, int timeout_ms)
{
	struct timespec until = deadline(dlf_now_ns(), timeout_ms);
	int rc = 0;

	pthread_mutex_lock(&ring->lock);
	while (ring->running && !rc)
		rc = -pthread_cond_timedwait(&ring->done, &ring->lock, &until);
	rc = ring->running ? -ETIMEDOUT : 0;
	pthread_mutex_unlock(&ring->lock);
	return rc;
}

void dlf_ring_free(dlf_ring *ring)
{
	dlf_ring_cancel(ring);
	for (size_t i = 0; i < ring->stats.threads; i++) {
		dlf_worker *worker = &ring->workers[i];
		pthread_join(ring->threads[i], NULL);
		dlf_count(DLF_COUNT_RING_THREADS, -1);
		if (worker->scratch)
			worker->free_scratch(worker->scratch);
		dlf_io_free(&worker->io);
	}
	while (ring->oldest) {
		dlf_job *job = ring->oldest;
		ring->oldest = job->next;
		job->free(job);
	}
	pthread_cond_destroy(&ring->work);
	pthread_cond_destroy(&ring->done);
	pthread_cond_destroy(&ring->room);
	pthread_mutex_destroy(&ring->lock);
	free(ring->threads);
	free(ring->workers);
	free(ring);
	dlf_count(DLF_COUNT_RINGS, -1);
}
