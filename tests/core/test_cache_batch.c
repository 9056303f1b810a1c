/* SPDX-License-Identifier: Apache-2.0
 *
 * Batches through a cache: the same samples and the same faults as without, but
 * every file is opened once, however its samples are spread over the batches.
 */
#include "dlf_batch.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache_use.h"
#include "check.h"
#include "sample_files.h"

enum {
	ALL = FILES * EACH,
	BATCH = 4,           /* so that files end inside batches */
	BATCHES = (ALL + BATCH - 1) / BATCH,
	THREADS = 4,
	FOREVER = 20000,     /* ms: much longer than any test takes */
};

#define PLENTY ((size_t)64 << 20)

static char folder[32];
static dlf_pool *pool;

/* ---- passes over them ---- */

static void shuffle(int64_t *ids, int shuffled)
{
	for (int i = 0; i < ALL; i++) {
		int j = shuffled ? (int)draw((uint64_t)i + 1) : i;
		ids[i] = ids[j];
		ids[j] = i;
	}
}

static const unsigned char *sample(const set *s, const dlf_batch *batch,
				   size_t i, size_t f)
{
	const dlf_loose *loose = batch->loose[i * s->plan.n_fields + f];

	return loose ? loose->data
		     : batch->buf->data + batch->offsets[f] +
			       i * s->fields[f].sample_bytes;
}

/* The faults of a batch, which must be those of file `bad` and of that code. */
static int check_batch(const set *s, dlf_batch *batch, uint64_t bad, int code)
{
	int faults = 0;

	for (size_t t = 0; t < batch->job.tasks; t++) {
		int fails = batch->tasks[t].file == bad;
		CHECK_EQ(batch->tasks[t].fault.code, fails ? code : 0);
		faults += fails;
	}
	dlf_batch_compact(batch);
	for (size_t i = 0; i < batch->n; i++)
		for (size_t f = 0; f < s->plan.n_fields; f++)
			CHECK(is_sample(&s->arrays[batch->samples[i] / EACH][f],
					s->plan.axis, batch->samples[i] % EACH,
					sample(s, batch, i, f)));
	return faults;
}

typedef struct pass {
	size_t budget;
	dlf_cache *cache;
	int shuffled;
	uint64_t bad;        /* FILES: none */
	int code;            /* of its faults */
	/* what came out */
	uint64_t opened;
	size_t tasks;
	int faults;
} pass;

static void take(pass *p, const set *s, dlf_ring *ring)
{
	dlf_job *job = NULL;

	CHECK_EQ(dlf_ring_next(ring, FOREVER, &job), 0);
	p->tasks += job->tasks;
	p->faults += check_batch(s, (dlf_batch *)job, p->bad, p->code);
	job->free(job);
}

/* Every sample once, with as many batches in flight as the budget allows. */
static void read_all(pass *p, const set *s)
{
	int64_t ids[ALL];
	int submitted = 0, taken = 0;
	dlf_ring_stats stats;
	dlf_ring *ring;

	shuffle(ids, p->shuffled);
	CHECK_EQ(dlf_ring_new(THREADS, p->budget, &ring), 0);
	while (taken < BATCHES) {
		int first = submitted * BATCH, left = ALL - first, rc = 0;
		dlf_batch *batch;

		if (submitted < BATCHES) {
			CHECK_EQ(dlf_batch_new(&s->plan, pool, ids + first,
					       left < BATCH ? (size_t)left
							    : BATCH,
					       &batch), 0);
			batch->cache = p->cache;
			rc = dlf_ring_submit(ring, &batch->job);
			if (rc)
				batch->job.free(&batch->job);
			else
				submitted++;
		}
		if (rc || submitted == BATCHES) {
			take(p, s, ring);
			taken++;
		}
	}
	dlf_ring_get_stats(ring, &stats);
	CHECK_EQ(stats.in_flight, 0);
	p->opened = stats.io.files;
	dlf_ring_free(ring);
}

static void every_file_is_opened_once(void)
{
	for (int i = 0; i < 2 * VARIANTS; i++) {
		pass without = {.budget = PLENTY, .bad = FILES,
				.shuffled = i % 2},
		     with = without;
		set s;

		make_set(&s, folder, i / 2, 5);
		read_all(&without, &s);
		CHECK_EQ(without.opened, without.tasks);
		CHECK(without.tasks > FILES);

		with.cache = new_cache(PLENTY);
		read_all(&with, &s);
		CHECK_EQ(with.opened, FILES);
		dlf_cache_stats stats = stats_of(with.cache);
		CHECK_EQ(stats.misses, FILES);
		CHECK_EQ(stats.hits, with.tasks - FILES);
		CHECK_EQ(stats.bytes, 0); /* nobody wants them any more */
		dlf_cache_free(with.cache);
		drop_set(&s);
	}
	CHECK_EQ(lent_by(pool), 0);
}

static void a_cache_of_any_size_will_do(void)
{
	for (int i = 0; i < VARIANTS; i++) {
		set s;

		make_set(&s, folder, i, 50); /* 3 pages for x, 1 for y */
		for (size_t pages = 0; pages < 30; pages += 1 + draw(9)) {
			pass p = {.budget = PAGE * draw(20), .bad = FILES,
				  .cache = new_cache(pages * PAGE),
				  .shuffled = 1};
			read_all(&p, &s);
			CHECK(stats_of(p.cache).peak <= pages * PAGE);
			dlf_cache_free(p.cache);
		}
		drop_set(&s);
	}
	CHECK_EQ(lent_by(pool), 0);
}

/* Flip a bit of the last byte of the last array; once more mends it. */
static void damage(const set *s, uint64_t file)
{
	const struct array *a = &s->arrays[file][s->plan.n_fields - 1];
	unsigned char bytes[20000];
	FILE *f = fopen(path_of(s, file), "r+b");
	size_t at = fread(bytes, 1, sizeof(bytes), f) - a->nbytes;

	while (memcmp(bytes + at, a->bytes, a->nbytes - 1))
		at--;
	at += a->nbytes - 1;
	fseek(f, (long)at, SEEK_SET);
	fputc(bytes[at] ^ 1, f);
	fclose(f);
}

static void every_batch_reports_the_fault_of_a_bad_file(void)
{
	for (int round = 0; round < 20; round++) {
		pass p = {.budget = PLENTY, .bad = (uint64_t)round % FILES,
			  .shuffled = 1};
		set s;

		make_set(&s, folder, 12, 5); /* stored, with checksums */
		p.cache = new_cache(PLENTY);
		if (round % 2) {
			damage(&s, p.bad);
			p.code = DLF_ECHECKSUM;
		} else {
			unlink(path_of(&s, p.bad));
			p.code = -2; /* ENOENT */
		}
		read_all(&p, &s);
		CHECK(p.faults >= EACH / BATCH);
		dlf_cache_free(p.cache);
		drop_set(&s);
	}
	CHECK_EQ(lent_by(pool), 0);
}

/* ---- single batches ---- */

static int read_one(const set *s, dlf_ring *ring, dlf_cache *cache, int64_t id)
{
	dlf_batch *batch;
	dlf_job *job = NULL;

	CHECK_EQ(dlf_batch_new(&s->plan, pool, &id, 1, &batch), 0);
	batch->cache = cache;
	CHECK_EQ(dlf_ring_submit(ring, &batch->job), 0);
	CHECK_EQ(dlf_ring_next(ring, FOREVER, &job), 0);
	int code = batch->tasks[0].fault.code;
	if (!code)
		check_batch(s, batch, FILES, 0);
	job->free(job);
	return code;
}

static void what_the_cache_has_needs_no_file(void)
{
	for (int variant = 0; variant < VARIANTS; variant++) {
		dlf_cache *cache = new_cache(PLENTY);
		dlf_ring *ring;
		set s;

		make_set(&s, folder, variant, 5);
		CHECK_EQ(dlf_ring_new(2, PLENTY, &ring), 0);
		CHECK_EQ(read_one(&s, ring, cache, 1), 0);
		unlink(path_of(&s, 0));
		for (int64_t id = 0; id < EACH; id++)
			CHECK_EQ(read_one(&s, ring, cache, id),
				 id == EACH - 1 ? -2 : 0); /* that was all */
		dlf_ring_free(ring);
		dlf_cache_free(cache);
		drop_set(&s);
	}
}

static void an_array_that_fails_its_checksum_is_not_kept(void)
{
	dlf_cache *cache = new_cache(PLENTY);
	dlf_ring *ring;
	set s;

	make_set(&s, folder, 12, 5);
	CHECK_EQ(dlf_ring_new(2, PLENTY, &ring), 0);
	damage(&s, 0);
	for (int64_t id = 0; id < EACH; id++)
		CHECK_EQ(read_one(&s, ring, cache, id), DLF_ECHECKSUM);
	CHECK_EQ(stats_of(cache).bytes, 0);
	damage(&s, 0); /* which mends it */
	CHECK_EQ(read_one(&s, ring, cache, 0), 0);
	dlf_ring_free(ring);
	dlf_cache_free(cache);
	drop_set(&s);
}

/* Where samples can be read by themselves, a large array is not read whole. */
static void single_samples_of_a_large_array_are_read_alone(void)
{
	dlf_cache *cache = new_cache(PLENTY);
	dlf_ring_stats stats;
	dlf_ring *ring;
	set s;

	make_set(&s, folder, 2, 3000); /* NPY, C order, first axis */
	size_t sample_bytes = s.fields[0].sample_bytes;
	CHECK_EQ(dlf_ring_new(2, PLENTY, &ring), 0);
	CHECK_EQ(read_one(&s, ring, cache, 4), 0);
	dlf_ring_get_stats(ring, &stats);
	CHECK(stats.io.bytes >= sample_bytes);
	CHECK(stats.io.bytes < 2 * sample_bytes);
	CHECK_EQ(stats_of(cache).bytes, 0);
	dlf_ring_free(ring);
	dlf_cache_free(cache);
	drop_set(&s);
}

typedef struct reader {
	dlf_job job;
	dlf_cache *cache;
	const dlf_plan *plan;
	enum dlf_cache_found found;
} reader;

/* Wants the file that somebody else is about to load. */
static void run_reader(dlf_job *job, size_t task, dlf_worker *worker)
{
	reader *r = (reader *)job;
	dlf_cache_entry *entry;

	(void)task;
	while (!stats_of(r->cache).misses && !dlf_io_cancelled(&worker->io))
		sched_yield();
	r->found = dlf_cache_get(r->cache, r->plan, 0, &entry);
	if (r->found == DLF_CACHE_HIT)
		dlf_cache_release(r->cache, entry, 1);
}

static void free_reader(dlf_job *job)
{
	free(job);
}

/* Every job but the oldest is held back by the budget as soon as it asks for some;
 * whoever loads must not, for the oldest may be waiting for just that. */
static void loading_does_not_wait_for_the_budget(void)
{
	dlf_cache *cache = new_cache(PLENTY);
	reader *oldest = calloc(1, sizeof(*oldest));
	int64_t id = 0;
	dlf_batch *batch;
	dlf_ring *ring;
	dlf_job *job;
	set s;

	/* deflated, more than is read at once; samples in buffers of their own */
	make_set(&s, folder, 49, 4000);
	*oldest = (reader){{.run = run_reader, .free = free_reader, .tasks = 1},
			   cache, &s.plan, DLF_CACHE_NONE};
	CHECK_EQ(dlf_ring_new(2, 0, &ring), 0);
	CHECK_EQ(dlf_batch_new(&s.plan, pool, &id, 1, &batch), 0);
	batch->cache = cache;
	CHECK_EQ(dlf_ring_submit(ring, &oldest->job), 0);
	CHECK_EQ(dlf_ring_submit(ring, &batch->job), 0);
	CHECK_EQ(dlf_ring_next(ring, FOREVER, &job), 0);
	CHECK(job == &oldest->job);
	CHECK_EQ(oldest->found, DLF_CACHE_HIT);
	free(oldest);
	CHECK_EQ(dlf_ring_next(ring, FOREVER, &job), 0);
	check_batch(&s, batch, FILES, 0);
	job->free(job);
	dlf_ring_free(ring);
	dlf_cache_free(cache);
	drop_set(&s);
}

/* At every stage of the work. */
static void a_ring_freed_at_any_time_leaves_nothing_in_use(void)
{
	set s;

	make_set(&s, folder, 1, 50);
	for (int round = 0; round < 100; round++) {
		dlf_cache *cache = new_cache(PAGE * draw(50));
		dlf_ring *ring;

		CHECK_EQ(dlf_ring_new(THREADS, PLENTY, &ring), 0);
		for (int i = 0; i < round % 9; i++) {
			int64_t ids[BATCH];
			dlf_batch *batch;
			for (int k = 0; k < BATCH; k++)
				ids[k] = (int64_t)draw(ALL);
			CHECK_EQ(dlf_batch_new(&s.plan, pool, ids, BATCH,
					       &batch), 0);
			batch->cache = cache;
			CHECK_EQ(dlf_ring_submit(ring, &batch->job), 0);
		}
		dlf_ring_free(ring);
		dlf_cache_free(cache);
		CHECK_EQ(lent_by(pool), 0);
	}
	drop_set(&s);
}

void test_cache_batch(void)
{
	strcpy(folder, "test_cache.XXXXXX");
	CHECK(mkdtemp(folder) != NULL);
	CHECK_EQ(dlf_pool_new(PLENTY, &pool), 0);
	every_file_is_opened_once();
	a_cache_of_any_size_will_do();
	every_batch_reports_the_fault_of_a_bad_file();
	what_the_cache_has_needs_no_file();
	an_array_that_fails_its_checksum_is_not_kept();
	single_samples_of_a_large_array_are_read_alone();
	loading_does_not_wait_for_the_budget();
	a_ring_freed_at_any_time_leaves_nothing_in_use();
	dlf_pool_unref(pool);
	CHECK_EQ(rmdir(folder), 0);
}
