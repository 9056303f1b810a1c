/* SPDX-License-Identifier: Apache-2.0
 *
 * The ring: deliveries in order, within the budget, whatever the threads do; and
 * nothing left behind however it ends.
 */
#include "dlf_ring.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

enum { FOREVER = 20000 }; /* ms: much longer than any test takes */

/* What a job does, and what became of it. */
struct job {
	dlf_job job;
	int number;
	size_t charge;         /* asked for while running */
	int hold;              /* keep running until the gate opens */
	atomic_int *gate;
	atomic_int runs;
	atomic_int rc;         /* of the charge */
	atomic_int entered;    /* tasks that reached the gate */
};

static atomic_int alive;

static void run(dlf_job *base, size_t task, dlf_worker *worker)
{
	struct job *job = (struct job *)base;

	CHECK(task < base->tasks);
	atomic_fetch_add(&job->entered, 1);
	if (job->charge) {
		int rc = dlf_ring_charge(worker->ring, base, job->charge);
		atomic_store(&job->rc, rc);
	}
	while (job->hold && !atomic_load(job->gate) &&
	       !atomic_load(worker->io.cancel))
		sched_yield();
	atomic_fetch_add(&job->runs, 1);
}

static void free_job(dlf_job *job)
{
	atomic_fetch_sub(&alive, 1);
	free(job);
}

static struct job *new_job(int number, size_t tasks, size_t bytes)
{
	struct job *job = calloc(1, sizeof(*job));

	job->job.run = run;
	job->job.free = free_job;
	job->job.tasks = tasks;
	job->job.bytes = bytes;
	job->number = number;
	atomic_fetch_add(&alive, 1);
	return job;
}

static dlf_ring *new_ring(size_t threads, size_t budget)
{
	dlf_ring *ring = NULL;

	CHECK_EQ(dlf_ring_new(threads, budget, &ring), 0);
	return ring;
}

static struct job *next(dlf_ring *ring)
{
	dlf_job *job = NULL;

	CHECK_EQ(dlf_ring_next(ring, FOREVER, &job), 0);
	return (struct job *)job;
}

static dlf_ring_stats stats_of(dlf_ring *ring)
{
	dlf_ring_stats stats;

	dlf_ring_get_stats(ring, &stats);
	return stats;
}

/* The ring must have nothing left to do for this to be exact. */
static void close_ring(dlf_ring *ring)
{
	dlf_ring_free(ring);
	CHECK_EQ(atomic_load(&alive), 0);
}

static void deliveries_come_in_order(void)
{
	enum { JOBS = 3000, BUDGET = 1000 };
	static const size_t threads[] = {1, 2, 4, 9};

	for (size_t t = 0; t < 4; t++) {
		dlf_ring *ring = new_ring(threads[t], BUDGET);
		int submitted = 0, delivered = 0;

		while (delivered < JOBS) {
			struct job *job = NULL;
			int rc = DLF_EBUDGET;

			if (submitted < JOBS) {
				size_t tasks = 1 + (size_t)submitted * 7 % 5;
				size_t bytes = (size_t)submitted * 31 % 400;
				job = new_job(submitted, tasks, bytes);
				rc = dlf_ring_submit(ring, &job->job);
			}
			if (!rc) {
				submitted++;
				continue;
			}
			CHECK_EQ(rc, DLF_EBUDGET);
			if (job)
				free_job(&job->job);
			job = next(ring);
			CHECK_EQ(job->number, delivered++);
			CHECK_EQ(atomic_load(&job->runs), job->job.tasks);
			CHECK(stats_of(ring).in_flight <= BUDGET);
			free_job(&job->job);
		}
		CHECK_EQ(stats_of(ring).delivered, JOBS);
		CHECK_EQ(stats_of(ring).in_flight, 0);
		CHECK_EQ(stats_of(ring).queued, 0);
		CHECK(stats_of(ring).peak <= BUDGET);
		CHECK(stats_of(ring).threads <= threads[t]);
		close_ring(ring);
	}
}

static void an_empty_ring_says_so(void)
{
	dlf_ring *ring = new_ring(2, 100);
	dlf_job *job = NULL;

	CHECK_EQ(dlf_ring_new(0, 100, &ring), -EINVAL);
	CHECK_EQ(dlf_ring_next(ring, FOREVER, &job), DLF_EEMPTY);
	CHECK_EQ(stats_of(ring).threads, 0); /* none before the first job */
	close_ring(ring);
}

static void waiting_ends_with_the_time_given(void)
{
	dlf_ring *ring = new_ring(1, 100);
	struct job *job = new_job(0, 1, 10);
	atomic_int gate;
	dlf_job *out = NULL;

	atomic_init(&gate, 0);
	job->hold = 1;
	job->gate = &gate;
	CHECK_EQ(dlf_ring_submit(ring, &job->job), 0);
	CHECK_EQ(dlf_ring_next(ring, 1, &out), -ETIMEDOUT);
	CHECK_EQ(dlf_ring_next(ring, 0, &out), -ETIMEDOUT);
	CHECK(out == NULL);
	atomic_store(&gate, 1);
	CHECK(next(ring) == job);
	free_job(&job->job);
	close_ring(ring);
}

static void the_budget_holds_back_and_a_lone_job_passes(void)
{
	dlf_ring *ring = new_ring(2, 100);
	struct job *large = new_job(0, 1, 1000), *small = new_job(1, 1, 60),
		   *other = new_job(2, 1, 60);

	CHECK_EQ(dlf_ring_submit(ring, &large->job), 0);
	CHECK_EQ(dlf_ring_submit(ring, &small->job), DLF_EBUDGET);
	free_job(&next(ring)->job);
	CHECK_EQ(dlf_ring_submit(ring, &small->job), 0);
	CHECK_EQ(dlf_ring_submit(ring, &other->job), DLF_EBUDGET);
	CHECK_EQ(stats_of(ring).in_flight, 60);
	free_job(&next(ring)->job);
	CHECK_EQ(dlf_ring_submit(ring, &other->job), 0);
	free_job(&next(ring)->job);
	CHECK_EQ(stats_of(ring).peak, 1000);
	close_ring(ring);
}

/* Jobs that learn their size only when they run. */
static void a_later_charge_waits_for_room(void)
{
	enum { JOBS = 200, BUDGET = 100, EACH = 40 };
	dlf_ring *ring = new_ring(4, BUDGET);
	int submitted = 0;

	for (int delivered = 0; delivered < JOBS; delivered++) {
		while (submitted < JOBS && submitted < delivered + 8) {
			struct job *job = new_job(submitted, 1, 0);
			job->charge = EACH;
			if (dlf_ring_submit(ring, &job->job)) {
				free_job(&job->job);
				break;
			}
			submitted++;
		}
		struct job *job = next(ring);
		CHECK_EQ(job->number, delivered);
		CHECK_EQ(atomic_load(&job->rc), 0);
		CHECK_EQ(job->job.bytes, EACH);
		free_job(&job->job);
	}
	/* only the oldest does not wait for room */
	CHECK(stats_of(ring).peak <= BUDGET + EACH);
	CHECK_EQ(stats_of(ring).in_flight, 0);
	close_ring(ring);
}

static void what_is_given_back_makes_room(void)
{
	dlf_ring *ring = new_ring(2, 100);
	struct job *first = new_job(0, 1, 90), *second = new_job(1, 1, 0);
	atomic_int gate;

	atomic_init(&gate, 0);
	first->hold = 1;
	first->gate = &gate;
	second->charge = 50;
	atomic_store(&second->rc, 12345);
	CHECK_EQ(dlf_ring_submit(ring, &first->job), 0);
	CHECK_EQ(dlf_ring_submit(ring, &second->job), 0);
	while (!atomic_load(&first->entered) || !atomic_load(&second->entered))
		sched_yield();
	for (int i = 0; i < 1000; i++)
		sched_yield();
	CHECK_EQ(atomic_load(&second->rc), 12345); /* it waits */
	dlf_ring_uncharge(ring, &first->job, 60);
	while (atomic_load(&second->rc) == 12345)
		sched_yield();
	CHECK_EQ(atomic_load(&second->rc), 0);
	CHECK_EQ(stats_of(ring).in_flight, 80);
	atomic_store(&gate, 1);
	free_job(&next(ring)->job);
	free_job(&next(ring)->job);
	CHECK_EQ(stats_of(ring).in_flight, 0);
	close_ring(ring);
}

/* The oldest never waits: neither for room that only its own delivery would make,
 * nor behind jobs that hold what it needs. */
static void the_oldest_job_always_gets_through(void)
{
	dlf_ring *ring = new_ring(3, 100);
	atomic_int gate;

	atomic_init(&gate, 0);
	for (int i = 0; i < 4; i++) {
		struct job *job = new_job(i, 1, 0);
		job->gate = &gate;
		job->hold = i == 0; /* until all are submitted */
		job->charge = i ? 500 : 0;
		CHECK_EQ(dlf_ring_submit(ring, &job->job), 0);
	}
	atomic_store(&gate, 1);
	for (int i = 0; i < 4; i++) {
		struct job *job = next(ring);
		CHECK_EQ(job->number, i);
		CHECK_EQ(atomic_load(&job->rc), 0);
		free_job(&job->job);
	}
	close_ring(ring);
}

static void the_tasks_of_a_job_run_on_many_threads(void)
{
	dlf_ring *ring = new_ring(4, 100);
	struct job *job = new_job(0, 4, 10);
	atomic_int gate;

	atomic_init(&gate, 0);
	job->hold = 1;
	job->gate = &gate;
	CHECK_EQ(dlf_ring_submit(ring, &job->job), 0);
	while (atomic_load(&job->entered) < 4) /* all at once, or never */
		sched_yield();
	atomic_store(&gate, 1);
	CHECK_EQ(atomic_load(&next(ring)->runs), 4);
	free_job(&job->job);
	close_ring(ring);
}

static void *cancel_ring(void *arg)
{
	dlf_ring_cancel(arg);
	return NULL;
}

static void cancelling_wakes_everybody(void)
{
	dlf_ring *ring = new_ring(3, 100);
	struct job *running = new_job(0, 1, 90), *waiting = new_job(1, 1, 0),
		   *queued = new_job(2, 1, 0), *late = new_job(3, 1, 0);
	atomic_int never;
	pthread_t thread;
	dlf_job *out = NULL;

	atomic_init(&never, 0);
	running->hold = waiting->hold = 1;
	running->gate = waiting->gate = &never;
	waiting->charge = 50;
	CHECK_EQ(dlf_ring_submit(ring, &running->job), 0);
	CHECK_EQ(dlf_ring_submit(ring, &waiting->job), 0);
	CHECK_EQ(dlf_ring_submit(ring, &queued->job), 0);
	while (!atomic_load(&running->entered) ||
	       !atomic_load(&waiting->entered))
		sched_yield();
	pthread_create(&thread, NULL, cancel_ring, ring);
	CHECK_EQ(dlf_ring_next(ring, FOREVER, &out), DLF_ECANCELLED);
	pthread_join(thread, NULL);
	CHECK_EQ(dlf_ring_submit(ring, &late->job), DLF_ECANCELLED);
	free_job(&late->job);
	CHECK_EQ(dlf_ring_next(ring, FOREVER, &out), DLF_ECANCELLED);
	CHECK_EQ(dlf_ring_charge(ring, &queued->job, 1), DLF_ECANCELLED);
	close_ring(ring);
}

/* At every stage of the work. */
static void a_ring_can_be_freed_at_any_time(void)
{
	for (int round = 0; round < 300; round++) {
		dlf_ring *ring = new_ring(1 + (size_t)round % 4, 1000);

		for (int i = 0; i < round % 20; i++) {
			struct job *job = new_job(i, 1 + (size_t)i % 3, 20);
			job->charge = (size_t)(i % 4) * 200;
			if (dlf_ring_submit(ring, &job->job))
				free_job(&job->job);
		}
		for (int i = 0; i < round % 5 && i < round % 20; i++)
			free_job(&next(ring)->job);
		close_ring(ring);
	}
}

/* Where no thread can be started, the job stays the caller's; where some can,
 * they do.  In a child without privileges, since root has no limit. */
static void a_lack_of_threads_is_reported(void)
{
	int status;

	fflush(NULL);
	pid_t child = fork();
	if (!child) {
		struct rlimit none = {0, 0};
		check_failures = 0;
		dlf_ring *ring = new_ring(2, 100);
		struct job *job = new_job(0, 1, 10);

		if (setgid(65534) || setuid(65534))
			_exit(77);
		setrlimit(RLIMIT_NPROC, &none);
		int rc = dlf_ring_submit(ring, &job->job);
		CHECK_EQ(rc, -EAGAIN);
		CHECK_EQ(stats_of(ring).queued, 0);
		CHECK_EQ(stats_of(ring).in_flight, 0);
		free_job(&job->job);
		close_ring(ring);
		_exit(check_failures != 0);
	}
	waitpid(child, &status, 0);
	CHECK(WIFEXITED(status));
	CHECK(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 77);
}

void test_ring(void)
{
	atomic_init(&alive, 0);
	deliveries_come_in_order();
	an_empty_ring_says_so();
	waiting_ends_with_the_time_given();
	the_budget_holds_back_and_a_lone_job_passes();
	a_later_charge_waits_for_room();
	what_is_given_back_makes_room();
	the_oldest_job_always_gets_through();
	the_tasks_of_a_job_run_on_many_threads();
	cancelling_wakes_everybody();
	a_ring_can_be_freed_at_any_time();
	a_lack_of_threads_is_reported();
}
