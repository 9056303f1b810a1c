/* SPDX-License-Identifier: Apache-2.0
 *
 * Batches: whatever the files' layout, every sample is at its place, equal to one
 * gathered item by item; and files that fail take only their own samples along.
 */
#include "dlf_batch.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "array_file.h"
#include "check.h"

enum { FILES = 5, FIELDS = 2, MOST = 24, FOREVER = 60000 };
enum damage { WHOLE, MISSING, FLIPPED, CUT, OTHER_COUNT, DAMAGES };

/* A data set on disk, and what its samples must be. */
struct set {
	dlf_plan plan;
	dlf_field fields[FIELDS];
	struct array arrays[FILES][FIELDS];
	enum damage damage[FILES];
	int deflated;
	dlf_cache *cache;
	char names[FILES * 8];
	uint64_t offsets[FILES];
	char root[64];
};

static char folder[32];
static uint64_t state = 1;

static uint64_t draw(uint64_t below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (state >> 20) % below;
}

static const struct { const char *descr; uint64_t itemsize; } dtypes[] = {
	{"|u1", 1}, {"<i2", 2}, {"<f4", 4}, {">f8", 8}, {"<c16", 16},
	{"|S3", 3}, {"|V7", 7},
};

/* ---- writing the files ---- */

static void write_file(const struct set *s, int file)
{
	size_t padding[FIELDS];
	char path[128];

	snprintf(path, sizeof(path), "%s%s", s->root,
		 s->names + s->offsets[file]);
	unlink(path);
	if (s->damage[file] == MISSING)
		return;
	for (size_t i = 0; i < FIELDS; i++)
		padding[i] = draw(2) * draw(5000);
	size_t size = write_array_file(path, &s->plan, s->arrays[file],
				       s->deflated, padding);
	if (s->damage[file] == CUT)
		CHECK_EQ(truncate(path, (off_t)size - 23), 0);
}

/* One byte of the first array's payload is not what its checksum says. */
static void flip_payload(const struct set *s, int file)
{
	char path[128];

	snprintf(path, sizeof(path), "%s%s", s->root,
		 s->names + s->offsets[file]);
	FILE *f = fopen(path, "r+b");
	char bytes[20000];
	size_t n = fread(bytes, 1, sizeof(bytes), f), at = 0;
	while (at + 9 < n && memcmp(bytes + at, "NUMPY", 5))
		at++;
	at += 7 + (unsigned char)bytes[at + 7] + 2; /* in front of the last \n */
	fseek(f, (long)at - 3, SEEK_SET);
	fputc('\t', f); /* a blank as good as the other to the parser */
	fclose(f);
}

/* ---- making data sets up ---- */

static void make_array(struct array *a, const struct set *s, uint64_t itemsize,
		       int axis, int ndim, const uint64_t *shape, uint64_t spf)
{
	a->ndim = ndim;
	a->fortran = draw(3) == 0;
	a->itemsize = itemsize;
	a->nbytes = itemsize;
	for (int d = 0; d < ndim; d++) {
		a->shape[d] = d == axis ? spf : shape[d];
		a->nbytes *= a->shape[d];
	}
	a->bytes = malloc(a->nbytes + 1);
	for (size_t i = 0; i < a->nbytes; i++)
		a->bytes[i] = (unsigned char)draw(s->deflated ? 4 : 256);
}

static void make_set(struct set *s, int round)
{
	int has_axis = draw(3) > 0, from_end = draw(2);
	int large = round % 10 == 0;
	uint64_t spf = has_axis ? 1 + draw(5) : 1;
	static const char *const members[] = {"x.npy", "label.npy"};

	memset(s, 0, sizeof(*s));
	s->plan.container = draw(3) ? &dlf_npz_container : &dlf_npy_container;
	s->plan.n_fields = s->plan.container == &dlf_npz_container ? 1 + draw(2) : 1;
	s->deflated = s->plan.container == &dlf_npz_container && draw(3) == 0;
	s->plan.direct = (int)draw(2);
	s->plan.verify = draw(4) > 0;
	s->plan.ragged = draw(4) == 0;
	s->plan.has_axis = has_axis;
	s->plan.samples_per_file = spf;
	s->plan.n_files = FILES;
	s->plan.fields = s->fields;
	snprintf(s->root, sizeof(s->root), "%s/", folder);
	for (int i = 0; i < FILES; i++) {
		s->offsets[i] = (uint64_t)i * 8;
		s->names[i * 8] = (char)('a' + i);
		s->damage[i] = draw(4) ? WHOLE : (enum damage)draw(DAMAGES);
		if (s->damage[i] == OTHER_COUNT && !has_axis)
			s->damage[i] = MISSING;
		if (s->damage[i] == FLIPPED &&
		    (s->plan.container == &dlf_npy_container || !s->plan.verify ||
		     s->deflated))
			s->damage[i] = CUT;
	}
	s->plan.root = s->root;
	s->plan.names = s->names;
	s->plan.offsets = s->offsets;
	s->plan.axis = from_end ? -1 : 0;
	for (size_t i = 0; i < s->plan.n_fields; i++) {
		dlf_field *field = &s->fields[i];
		size_t type = draw(sizeof(dtypes) / sizeof(dtypes[0]));
		int ndim = has_axis ? 1 + (int)draw(4) : (int)draw(4);
		int axis = !has_axis ? -1 : from_end ? ndim - 1 : 0;
		uint64_t shape[4];

		field->member = members[i];
		field->member_len = strlen(members[i]);
		field->descr = dtypes[type].descr;
		field->descr_len = strlen(field->descr);
		field->itemsize = dtypes[type].itemsize;
		field->sample_bytes = field->itemsize;
		for (int d = 0; d < ndim; d++) {
			shape[d] = large ? 20 + draw(50) : draw(9);
			if (large && ndim > 2 && d != 1)
				shape[d] = 7;
			if (d == axis)
				continue;
			field->shape[field->ndim++] = shape[d];
			field->sample_bytes *= shape[d];
		}
		for (int f = 0; f < FILES; f++) {
			uint64_t own[4], samples = spf;
			memcpy(own, shape, sizeof(own));
			if (draw(5) == 0 && ndim) /* of another size */
				own[draw((uint64_t)ndim)] += 1 + draw(3);
			if (s->damage[f] == OTHER_COUNT)
				samples++;
			make_array(&s->arrays[f][i], s, field->itemsize, axis,
				   ndim, own, samples);
		}
	}
	for (int f = 0; f < FILES; f++) {
		write_file(s, f);
		if (s->damage[f] == FLIPPED)
			flip_payload(s, f);
	}
}

static void drop_set(struct set *s)
{
	for (int f = 0; f < FILES; f++) {
		s->damage[f] = MISSING;
		write_file(s, f);
		for (size_t i = 0; i < s->plan.n_fields; i++)
			free(s->arrays[f][i].bytes);
	}
}

/* ---- what must come out ---- */

static int is_loose_shape(const struct set *s, const struct array *a,
			  const dlf_loose *loose)
{
	int axis = !s->plan.has_axis ? -1 : s->plan.axis < 0 ? a->ndim - 1 : 0;
	int ndim = 0;

	for (int d = 0; d < a->ndim; d++)
		if (d != axis && loose->shape[ndim++] != a->shape[d])
			return 0;
	return ndim == loose->ndim && (uintptr_t)loose->data % 64 == 0;
}

static void check_sample(const struct set *s, const dlf_batch *batch, size_t i)
{
	uint64_t spf = s->plan.samples_per_file;
	uint64_t file = batch->samples[i] / spf, index = batch->samples[i] % spf;

	for (size_t f = 0; f < s->plan.n_fields; f++) {
		const struct array *a = &s->arrays[file][f];
		const dlf_loose *loose = batch->loose[i * s->plan.n_fields + f];
		int axis = s->plan.has_axis ? s->plan.axis : -100;
		const unsigned char *got;

		if (loose) {
			CHECK(is_loose_shape(s, a, loose));
			got = loose->data;
		} else {
			CHECK(batch->buf != NULL);
			got = batch->buf->data + batch->offsets[f] +
			      i * s->fields[f].sample_bytes;
		}
		CHECK(is_sample(a, axis, index, got));
	}
}

static void check_batch(struct set *s, dlf_batch *batch, const int64_t *ids,
			size_t n)
{
	size_t good = 0;

	for (size_t t = 0; t < batch->job.tasks; t++) {
		const dlf_batch_task *task = &batch->tasks[t];
		CHECK_EQ(task->fault.code != 0, s->damage[task->file] != WHOLE);
	}
	dlf_batch_compact(batch);
	for (size_t i = 0; i < n; i++) {
		uint64_t file = (uint64_t)ids[i] / s->plan.samples_per_file;
		if (s->damage[file] != WHOLE)
			continue;
		CHECK_EQ(batch->samples[good], ids[i]);
		good++;
	}
	CHECK_EQ(batch->n, good);
	for (size_t i = 0; i < batch->n; i++)
		check_sample(s, batch, i);
}

/* Draw samples with repetitions, in any order. */
static void read_some(struct set *s, dlf_ring *ring, dlf_pool *pool)
{
	uint64_t total = FILES * s->plan.samples_per_file;
	size_t n = 1 + draw(MOST);
	int64_t ids[MOST];
	dlf_batch *batch;
	dlf_job *job;

	for (size_t i = 0; i < n; i++)
		ids[i] = (int64_t)draw(total);
	CHECK_EQ(dlf_batch_new(&s->plan, pool, ids, n, &batch), 0);
	batch->cache = s->cache;
	CHECK_EQ(dlf_ring_submit(ring, &batch->job), 0);
	CHECK_EQ(dlf_ring_next(ring, FOREVER, &job), 0);
	CHECK(job == &batch->job);
	check_batch(s, batch, ids, n);
	job->free(job);
}

static void every_sample_is_at_its_place(int cached)
{
	dlf_pool *pool;
	dlf_ring *ring;
	dlf_pool_stats stats;
	dlf_ring_stats ring_stats;

	CHECK_EQ(dlf_pool_new((size_t)64 << 20, &pool), 0);
	CHECK_EQ(dlf_ring_new(3, (size_t)1 << 20, &ring), 0);
	for (int round = 0; round < 150; round++) {
		struct set s;

		make_set(&s, round);
		if (cached)
			CHECK_EQ(dlf_cache_new((size_t)4096 << draw(8), &s.cache),
				 0);
		for (int i = 0; i < 4; i++)
			read_some(&s, ring, pool);
		dlf_cache_free(s.cache);
		drop_set(&s);
	}
	dlf_ring_get_stats(ring, &ring_stats);
	CHECK_EQ(ring_stats.in_flight, 0);
	dlf_ring_free(ring);
	dlf_pool_get_stats(pool, &stats);
	CHECK_EQ(stats.lent, 0);
	CHECK_EQ(stats.idle, stats.mapped);
	dlf_pool_unref(pool);
}

static void ids_outside_the_set_are_refused(void)
{
	static const int64_t bad[] = {-1, FILES, INT64_MIN, INT64_MAX};
	dlf_pool *pool;
	dlf_batch *batch;
	struct set s;

	CHECK_EQ(dlf_pool_new(0, &pool), 0);
	memset(&s, 0, sizeof(s));
	s.plan.n_files = FILES;
	s.plan.samples_per_file = 1;
	s.plan.fields = s.fields;
	s.plan.n_fields = 1;
	for (int i = 0; i < 4; i++)
		CHECK(dlf_batch_new(&s.plan, pool, &bad[i], 1, &batch) < 0);
	CHECK(dlf_batch_new(&s.plan, pool, bad, 0, &batch) < 0);
	/* a sample beyond all memory: an error, no overflow */
	s.fields[0].sample_bytes = SIZE_MAX / 2;
	CHECK(dlf_batch_new(&s.plan, pool, (int64_t[]){0, 1, 2}, 3, &batch) < 0);
	dlf_pool_unref(pool);
}

/* Batches in flight when the ring goes take their memory along. */
static void unread_batches_leave_nothing_behind(void)
{
	dlf_pool *pool;
	dlf_pool_stats stats;
	struct set s;

	make_set(&s, 0);
	CHECK_EQ(dlf_pool_new(0, &pool), 0);
	for (int round = 0; round < 50; round++) {
		dlf_ring *ring;
		int64_t ids[FILES] = {0, 1, 2, 3, 4};

		CHECK_EQ(dlf_ring_new(2, (size_t)1 << 30, &ring), 0);
		for (int i = 0; i < round % 7; i++) {
			dlf_batch *batch;
			CHECK_EQ(dlf_batch_new(&s.plan, pool, ids, FILES,
					       &batch), 0);
			CHECK_EQ(dlf_ring_submit(ring, &batch->job), 0);
		}
		dlf_ring_free(ring);
		dlf_pool_get_stats(pool, &stats);
		CHECK_EQ(stats.lent, 0);
		CHECK_EQ(stats.mapped, 0);
	}
	dlf_pool_unref(pool);
	drop_set(&s);
}

void test_batch(void)
{
	strcpy(folder, "test_batch.XXXXXX");
	CHECK(mkdtemp(folder) != NULL);
	every_sample_is_at_its_place(0);
	every_sample_is_at_its_place(1);
	ids_outside_the_set_are_refused();
	unread_batches_leave_nothing_behind();
	CHECK_EQ(rmdir(folder), 0);
}
