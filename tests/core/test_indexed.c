/* SPDX-License-Identifier: Apache-2.0
 *
 * Indexed binary files: every sample is the bytes that its index names, read by
 * several threads in any order; a bad index takes only its own file along.
 */
#include "dlf_indexed.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "dlf_batch.h"
#include "dlf_index.h"

enum { FILES = 4, EACH = 30, BYTES = 40000, MOST = 64, FOREVER = 60000 };
enum damage { WHOLE, NO_INDEX, HALF_INDEX, BEYOND, WRAPS, CUT, DAMAGES };

static const int codes[DAMAGES] = {0, -2, DLF_EFORMAT, DLF_ETRUNCATED,
				   DLF_ETRUNCATED, DLF_ETRUNCATED};

/* A data set on disk, and where its samples lie. */
struct set {
	dlf_plan plan;
	dlf_field field;
	unsigned char data[FILES][BYTES];
	uint64_t at[FILES][EACH], size[FILES][EACH];
	enum damage damage[FILES];
	char root[64], names[FILES * 8];
	uint64_t offsets[FILES];
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

static void write_to(const struct set *s, int file, const char *ending,
		     const void *bytes, size_t size)
{
	char path[128];

	snprintf(path, sizeof(path), "%s%s%s", s->root,
		 s->names + s->offsets[file], ending);
	unlink(path);
	if (!bytes)
		return;
	FILE *f = fopen(path, "wb");
	CHECK_EQ(fwrite(bytes, 1, size, f), size);
	fclose(f);
}

static void write_set_file(const struct set *s, int file)
{
	uint64_t at[EACH], size[EACH];
	size_t bytes = BYTES, entries = sizeof(at);
	size_t hurt = draw(EACH);

	memcpy(at, s->at[file], sizeof(at));
	memcpy(size, s->size[file], sizeof(size));
	if (s->damage[file] == HALF_INDEX)
		entries -= 1 + draw(7);
	if (s->damage[file] == BEYOND)
		size[hurt] = BYTES - at[hurt] + 1;
	if (s->damage[file] == WRAPS)
		at[hurt] = UINT64_MAX - draw(BYTES);
	if (s->damage[file] == CUT) {
		bytes = BYTES - 1;
		at[hurt] = BYTES - size[hurt];
	}
	write_to(s, file, "", s->data[file], bytes);
	write_to(s, file, ".off.idx", at, entries);
	write_to(s, file, ".sz.idx", s->damage[file] == NO_INDEX ? NULL : size,
		 sizeof(size));
}

static void make_set(struct set *s, int round)
{
	static const uint64_t usual[] = {1, 60, 512, 1000, BYTES / EACH};
	uint64_t size = usual[draw(5)];
	int regular = (int)draw(2);

	memset(s, 0, sizeof(*s));
	s->field = (dlf_field){.descr = "|u1", .descr_len = 3, .itemsize = 1,
			       .ndim = 1, .shape = {size}, .sample_bytes = size};
	snprintf(s->root, sizeof(s->root), "%s/", folder);
	for (int f = 0; f < FILES; f++) {
		s->offsets[f] = (uint64_t)f * 8;
		s->names[f * 8] = (char)('a' + f);
		s->damage[f] = draw(4) ? WHOLE : (enum damage)draw(DAMAGES);
		for (int i = 0; i < BYTES; i++)
			s->data[f][i] = (unsigned char)draw(256);
		for (uint64_t i = 0; i < EACH; i++) {
			s->size[f][i] = draw(8) || regular ? size : draw(5000);
			s->at[f][i] = regular ? i * size
					      : draw(BYTES - s->size[f][i]);
		}
		write_set_file(s, f);
	}
	s->plan = (dlf_plan){
		.container = &dlf_indexed_container, .direct = round % 2,
		.ragged = round / 2 % 2, .samples_per_file = EACH,
		.root = s->root, .names = s->names, .offsets = s->offsets,
		.n_files = FILES, .fields = &s->field, .n_fields = 1,
	};
	CHECK_EQ(dlf_plan_new_tables(&s->plan), 0);
}

static void drop_set(struct set *s)
{
	for (int f = 0; f < FILES; f++) {
		write_to(s, f, "", NULL, 0);
		write_to(s, f, ".off.idx", NULL, 0);
		write_to(s, f, ".sz.idx", NULL, 0);
	}
	dlf_plan_free_tables(&s->plan);
}

static void check_batch(struct set *s, dlf_batch *batch)
{
	for (size_t t = 0; t < batch->job.tasks; t++) {
		const dlf_batch_task *task = &batch->tasks[t];
		CHECK_EQ(task->fault.code, codes[s->damage[task->file]]);
	}
	dlf_batch_compact(batch);
	for (size_t i = 0; i < batch->n; i++) {
		uint64_t file = batch->samples[i] / EACH;
		uint64_t index = batch->samples[i] % EACH;
		uint64_t size = s->size[file][index];
		const dlf_loose *loose = batch->loose[i];
		const unsigned char *got = loose ? loose->data
						 : batch->buf->data +
							   i * s->field.sample_bytes;

		CHECK(!loose || loose->nbytes == size);
		CHECK(loose || size == s->field.sample_bytes);
		CHECK(!memcmp(got, s->data[file] + s->at[file][index], size));
	}
}

static dlf_batch *submit(struct set *s, dlf_ring *ring, dlf_pool *pool)
{
	int64_t ids[MOST], first = (int64_t)draw(FILES * EACH);
	int in_turn = draw(3) == 0;
	size_t n = 1 + draw(MOST);
	dlf_batch *batch;

	for (size_t i = 0; i < n; i++)
		ids[i] = in_turn ? (first + (int64_t)i) % (FILES * EACH)
				 : (int64_t)draw(FILES * EACH);
	CHECK_EQ(dlf_batch_new(&s->plan, pool, ids, n, &batch), 0);
	CHECK_EQ(dlf_ring_submit(ring, &batch->job), 0);
	return batch;
}

/* One ring for all sets: what its threads keep must be told apart. */
static void every_sample_is_what_its_index_names(void)
{
	enum { AT_ONCE = 5 };
	dlf_pool *pool;
	dlf_ring *ring;
	dlf_job *job;
	struct set *s = malloc(sizeof(*s));

	CHECK_EQ(dlf_pool_new((size_t)64 << 20, &pool), 0);
	CHECK_EQ(dlf_ring_new(3, (size_t)1 << 30, &ring), 0);
	for (int round = 0; round < 60; round++) {
		dlf_batch *batches[AT_ONCE];

		make_set(s, round);
		for (int i = 0; i < AT_ONCE; i++)
			batches[i] = submit(s, ring, pool);
		for (int i = 0; i < AT_ONCE; i++) {
			CHECK_EQ(dlf_ring_next(ring, FOREVER, &job), 0);
			CHECK(job == &batches[i]->job);
			check_batch(s, batches[i]);
			job->free(job);
		}
		drop_set(s);
	}
	dlf_ring_free(ring);
	dlf_pool_unref(pool);
	free(s);
}

/* What a file holds is learned in the order of its entries, a block at a time. */
static void tables_of_many_samples_are_as_the_index_says(void)
{
	enum { N = 20000 };
	static uint64_t at[N], size[N];
	static unsigned char data[4096], block[DLF_INDEX_BLOCK];
	struct set *s = calloc(1, sizeof(*s));
	dlf_index *index;
	dlf_file file;
	dlf_fault fault;
	dlf_io io;
	char path[128];

	snprintf(s->root, sizeof(s->root), "%s/", folder);
	s->names[0] = 'f';
	snprintf(path, sizeof(path), "%sf", s->root);
	CHECK_EQ(dlf_io_init(&io, NULL), 0);
	write_to(s, 0, "", data, sizeof(data));
	for (int round = 0; round < 20; round++) {
		uint64_t odd = draw(2 * N), unlike = draw(2) ? 7 : 0;

		for (uint64_t i = 0; i < N; i++) {
			size[i] = i == odd ? 1 : 2;
			at[i] = i < odd + unlike ? i % 50 * 2 : draw(4000);
		}
		write_to(s, 0, ".off.idx", at, sizeof(at));
		write_to(s, 0, ".sz.idx", size, sizeof(size));
		dlf_fault_clear(&fault);
		CHECK_EQ(dlf_file_open(&file, &io, path, 0, &fault), 0);
		CHECK_EQ(dlf_index_read(path, &file, &io, 0, block, &index,
					&fault), 0);
		CHECK_EQ(index->samples, N);
		CHECK(dlf_index_fits(index, &file));
		for (uint64_t i = 0; i < N; i++) {
			uint64_t got_at, got_size;
			dlf_index_at(index, i, &got_at, &got_size);
			CHECK_EQ(got_at, at[i]);
			CHECK_EQ(got_size, size[i]);
		}
		dlf_index_free(index);
		dlf_file_close(&file);
	}
	write_to(s, 0, "", NULL, 0);
	write_to(s, 0, ".off.idx", NULL, 0);
	write_to(s, 0, ".sz.idx", NULL, 0);
	dlf_io_free(&io);
	free(s);
}

void test_indexed(void)
{
	strcpy(folder, "test_indexed.XXXXXX");
	CHECK(mkdtemp(folder) != NULL);
	every_sample_is_what_its_index_names();
	tables_of_many_samples_are_as_the_index_says();
	CHECK_EQ(rmdir(folder), 0);
}
