/* SPDX-License-Identifier: Apache-2.0
 *
 * Descriptions of HDF5 files: a good one gives every sample, and one with any word
 * changed an error, or samples that still lie inside the file.
 */
#include "dlf_hdf5.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "check.h"
#include "dlf_batch.h"

enum { SAMPLES = 6, ROWS = 5, COLUMNS = 4, FOREVER = 60000 };

/* A file of `x`, int16 (6, 5, 4) in chunks of (4, 3, 4), one of which was never
 * written, and `y`, int64 (6,), contiguous. */
static int16_t x[SAMPLES][ROWS][COLUMNS];
static const int16_t fill = 777;
static const uint64_t chunk[3] = {4, 3, 4};
static char path[64];
static uint64_t words[200];
static size_t n_words;

static void add(uint64_t word)
{
	words[n_words++] = word;
}

static void add_dtype(const char *descr)
{
	memset(words + n_words, 0, DLF_DESCR_MAX);
	memcpy(words + n_words, descr, strlen(descr));
	n_words += DLF_DESCR_MAX / sizeof(*words);
}

/* Chunk number i, packed, as it lies in the file. */
static size_t pack(int i, int deflated, unsigned char *out)
{
	int16_t raw[4][3][4];
	unsigned char shuffled[sizeof(raw)];
	uLongf n = 1000;

	memset(raw, 0x55, sizeof(raw)); /* what lies outside the dataset */
	for (int s = i / 2 * 4; s < SAMPLES && s < i / 2 * 4 + 4; s++)
		for (int r = i % 2 * 3; r < ROWS && r < i % 2 * 3 + 3; r++)
			memcpy(raw[s % 4][r % 3], x[s][r], sizeof(raw[0][0]));
	if (!deflated) {
		memcpy(out, raw, sizeof(raw));
		return sizeof(raw);
	}
	for (size_t k = 0; k < sizeof(raw); k++)
		shuffled[k % 2 * 48 + k / 2] = ((unsigned char *)raw)[k];
	CHECK_EQ(compress2(out, &n, shuffled, sizeof(raw), 6), Z_OK);
	return n;
}

static void write_set(int deflated)
{
	unsigned char file[4096] = {0};
	struct stat st;
	size_t at = 100;
	uint64_t size[4], address[4];
	FILE *f = fopen(path, "wb");

	for (int s = 0; s < SAMPLES; s++)
		for (int i = 0; i < ROWS * COLUMNS; i++)
			x[s][i / COLUMNS][i % COLUMNS] = (int16_t)(
				s >= 4 && i >= 12 ? fill : s * 100 + i);
	for (int i = 0; i < 3; i++) {
		address[i] = at;
		at += size[i] = pack(i, deflated, file + at);
	}
	for (uint64_t s = 0; s < SAMPLES; s++)
		memcpy(file + 2000 + s * 8, &s, 8);
	CHECK_EQ(fwrite(file, 1, sizeof(file), f), sizeof(file));
	fclose(f);

	CHECK_EQ(stat(path, &st), 0);
	n_words = 0;
	add((uint64_t)st.st_size);
	add(st.st_ino);
	add((uint64_t)(st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec));
	add(SAMPLES);
	add(0);
	add(1); /* x */
	add(2);
	add(3);
	add(SAMPLES);
	add(ROWS);
	add(COLUMNS);
	add_dtype("<i2");
	add(1);
	add((uint64_t)fill);
	for (int d = 0; d < 3; d++)
		add(chunk[d]);
	add(deflated ? 0 : UINT64_MAX);
	add(deflated ? 1 : UINT64_MAX);
	add(UINT64_MAX);
	add(UINT64_MAX);
	add(3);
	for (uint64_t i = 0; i < 3; i++) {
		add(i);
		add(address[i]);
		add(size[i]);
		add(0);
	}
	add(0); /* y */
	add(8);
	add(1);
	add(SAMPLES);
	add_dtype("<i8");
	add(0);
	add(2000);
}

static int learn(dlf_task *task, dlf_table **table, dlf_fault *fault)
{
	return dlf_hdf5_describe(task->plan, words, n_words * sizeof(*words),
				 table, fault);
}

/* Read three samples of all; the code of the failure. */
static int read_some(const int64_t *samples, int ragged, int direct, int check)
{
	static const dlf_field fields[2] = {
		{.member = "x", .member_len = 1, .descr = "<i2", .descr_len = 3,
		 .itemsize = 2, .ndim = 2, .shape = {ROWS, COLUMNS},
		 .sample_bytes = sizeof(x[0])},
		{.member = "y", .member_len = 1, .descr = "<i8", .descr_len = 3,
		 .itemsize = 8, .sample_bytes = 8},
	};
	static const uint64_t offset = 0;
	dlf_plan plan = {.container = &dlf_hdf5_container, .direct = direct,
			 .verify = 1, .ragged = ragged,
			 .samples_per_file = SAMPLES, .root = "", .names = path,
			 .offsets = &offset, .n_files = 1, .fields = fields,
			 .n_fields = 2, .learn = learn};
	dlf_pool *pool;
	dlf_ring *ring;
	dlf_cache *cache;
	dlf_batch *batch;
	dlf_job *job;
	int code;

	CHECK_EQ(dlf_plan_new_tables(&plan), 0);
	CHECK_EQ(dlf_pool_new(1 << 20, &pool), 0);
	CHECK_EQ(dlf_cache_new(1 << 20, &cache), 0);
	CHECK_EQ(dlf_ring_new(1, 1 << 20, &ring), 0);
	for (int again = 0; again < 2; again++) {
		CHECK_EQ(dlf_batch_new(&plan, pool, samples, 3, &batch), 0);
		batch->cache = cache;
		CHECK_EQ(dlf_ring_submit(ring, &batch->job), 0);
		CHECK_EQ(dlf_ring_next(ring, FOREVER, &job), 0);
		code = batch->tasks[0].fault.code;
		for (size_t i = 0; i < 3 && check && !code && !ragged; i++) {
			CHECK(!memcmp(batch->buf->data + i * sizeof(x[0]),
				      x[samples[i]], sizeof(x[0])));
			CHECK(!memcmp(batch->buf->data + batch->offsets[1] +
					      i * 8,
				      &samples[i], 8));
		}
		job->free(job);
	}
	dlf_ring_free(ring);
	dlf_cache_free(cache);
	dlf_plan_free_tables(&plan);
	dlf_pool_unref(pool);
	return code;
}

static void test_good(void)
{
	static const int64_t wanted[][3] = {{0, 1, 2}, {5, 3, 4}, {2, 2, 5}};

	for (int i = 0; i < 24; i++) {
		write_set(i % 2);
		CHECK_EQ(read_some(wanted[i % 3], i / 6 % 2, i / 12, 1), 0);
	}
}

/* Every word replaced by every kind of other one. */
static void test_lies(int deflated)
{
	static const int64_t wanted[3] = {5, 0, 3};
	const uint64_t lies[] = {0, 1, 2, 3, 7, 33, 4095, 4097, 1u << 20,
				 UINT32_MAX, (uint64_t)1 << 32, INT64_MAX,
				 UINT64_MAX - 7, UINT64_MAX};
	long refused = 0;

	write_set(deflated);
	for (size_t w = 0; w < n_words; w++) {
		uint64_t truth = words[w];
		for (size_t k = 0; k < sizeof(lies) / sizeof(*lies); k++) {
			if (w == 4 && lies[k]) /* then the maker would read */
				continue;
			words[w] = lies[k];
			int code = read_some(wanted, 0, 0, 0);
			CHECK(code <= 0);
			refused += code != 0;
		}
		words[w] = truth;
	}
	CHECK(refused > 200);
	size_t all = n_words;
	for (n_words = 0; n_words < all; n_words++)
		CHECK_EQ(read_some(wanted, 0, 0, 0), DLF_EFORMAT);
	CHECK_EQ(read_some(wanted, 0, 0, 1), 0);
}

/* The file is not the one that was described. */
static void test_other_file(void)
{
	static const int64_t wanted[3] = {0, 1, 2};

	for (size_t w = 0; w < 3; w++) {
		write_set(0);
		words[w]++;
		CHECK_EQ(read_some(wanted, 0, 0, 0), DLF_ECHANGED);
	}
}

void test_hdf5(void)
{
	snprintf(path, sizeof(path), "/tmp/dlf_hdf5_XXXXXX");
	int fd = mkstemp(path);

	CHECK(fd >= 0);
	close(fd);
	test_good();
	test_lies(0);
	test_lies(1);
	test_other_file();
	unlink(path);
}
