/* SPDX-License-Identifier: Apache-2.0
 *
 * TFRecord: what is read of whole, cut and damaged records and files.  All that is
 * parsed lies in memory of its exact size, so that a sanitizer sees a byte too many.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "check.h"
#include "dlf_batch.h"
#include "dlf_crc.h"
#include "dlf_example.h"
#include "dlf_record.h"
#include "dlf_tfrecord.h"

enum { EACH = 6, IMAGE = 0x129, ROUNDS = 3000 };

/* image: IMAGE bytes; f: three floats, packed; i: three integers, one by one. */
static size_t make_example(unsigned char *out, unsigned char fill)
{
	static const unsigned char head[] = {
		0x0a, 0xe0, 0x02,                               /* features, 352 */
		0x0a, 0xb9, 0x02, 0x0a, 5, 'i', 'm', 'a', 'g', 'e',
		0x12, 0xaf, 0x02, 0x0a, 0xac, 0x02, 0x0a, 0xa9, 0x02};
	static const unsigned char tail[] = {
		0x0a, 21, 0x0a, 1, 'f', 0x12, 16, 0x12, 14, 0x0a, 12,
		0, 0, 0x80, 0x3f, 0, 0, 0, 0x40, 0, 0, 0x40, 0x40,
		0x0a, 12, 0x0a, 1, 'i', 0x12, 7, 0x1a, 5, 8, 1, 8, 0x80, 2};
	unsigned char *at = out;

	memcpy(at, head, sizeof(head));
	at += sizeof(head);
	memset(at, fill, IMAGE);
	at += IMAGE;
	memcpy(at, tail, sizeof(tail));
	at += sizeof(tail);
	/* the lengths above follow from the sizes; keep them honest */
	size_t inner = (size_t)(at - out) - 3;
	out[1] = (unsigned char)(inner & 127) | 128;
	out[2] = (unsigned char)(inner >> 7);
	return (size_t)(at - out);
}

static uint64_t draw(uint64_t below)
{
	static uint64_t state = 7;

	state = state * 6364136223846793005u + 1442695040888963407u;
	return (state >> 33) % below;
}

/* ---- examples ---- */

typedef struct seen {
	const dlf_bytes *bytes;
	int features;
	uint64_t sum;   /* over all that was found */
} seen;

static int see(void *ctx, const unsigned char *key, size_t key_size, dlf_span where,
	       dlf_fault *fault)
{
	seen *s = ctx;
	dlf_feature feature;
	int rc = dlf_feature_parse(s->bytes, where, &feature, fault);

	if (rc)
		return rc;
	s->features++;
	for (size_t i = 0; i < key_size; i++)
		s->sum = s->sum * 31 + key[i];
	s->sum = s->sum * 31 + feature.count;
	if (feature.value_size == UINT64_MAX)
		return 0;
	uint64_t n = feature.count * feature.value_size;
	unsigned char *values = malloc(n ? n : 1);
	rc = dlf_feature_values(s->bytes, &feature, values, fault);
	for (uint64_t i = 0; i < n && !rc; i++)
		s->sum = s->sum * 31 + values[i];
	free(values);
	return rc;
}

static int walk(const dlf_bytes *bytes, seen *s)
{
	dlf_fault fault;

	dlf_fault_clear(&fault);
	*s = (seen){.bytes = bytes};
	return dlf_example_walk(bytes, see, s, &fault);
}

static int walk_copy(const unsigned char *data, size_t n, seen *s)
{
	unsigned char *exact = malloc(n ? n : 1);
	dlf_bytes bytes = {.size = n, .head = exact, .head_size = n};

	memcpy(exact, data, n);
	int rc = walk(&bytes, s);
	free(exact);
	return rc;
}

static void cut_and_damaged_examples(void)
{
	unsigned char data[1024], bad[1024];
	size_t n = make_example(data, 9);
	seen s;

	CHECK_EQ(walk_copy(data, n, &s), 0);
	CHECK_EQ(s.features, 3);
	CHECK_EQ(walk_copy(data, 0, &s), 0);
	for (size_t cut = 1; cut < n; cut++)
		CHECK_EQ(walk_copy(data, cut, &s), DLF_EFORMAT);
	for (int round = 0; round < ROUNDS; round++) {
		memcpy(bad, data, n);
		for (uint64_t k = draw(4) + 1; k; k--)
			bad[draw(2) ? draw(30) : n - 1 - draw(40)] =
				(unsigned char)draw(256);
		int rc = walk_copy(bad, n, &s);
		CHECK(!rc || rc == DLF_EFORMAT || rc == DLF_EUNSUPPORTED);
	}
}

/* With a hole in the middle: the same, or that more is needed. */
static void examples_of_which_only_the_ends_are_at_hand(void)
{
	unsigned char data[1024];
	size_t n = make_example(data, 9), known = 0;
	seen whole, s;

	CHECK_EQ(walk_copy(data, n, &whole), 0);
	for (size_t head = 0; head < n; head += 3)
		for (size_t tail = head; tail <= n; tail += 5) {
			unsigned char *a = malloc(head + 1);
			unsigned char *b = malloc(n - tail + 1);
			dlf_bytes bytes = {n, a, head, b, tail};

			memcpy(a, data, head);
			memcpy(b, data + tail, n - tail);
			int rc = walk(&bytes, &s);
			CHECK(rc == DLF_EMORE || (!rc && s.sum == whole.sum));
			known += !rc;
			free(a);
			free(b);
		}
	CHECK(known > 0);
}

/* ---- files ---- */

static char path[64];

static size_t put_record(unsigned char *out, unsigned char fill)
{
	size_t n = make_example(out + DLF_RECORD_HEAD, fill);
	uint32_t crc = dlf_record_mask(dlf_crc32c(0, out + DLF_RECORD_HEAD, n));

	dlf_record_put(out, n);
	for (int i = 0; i < 4; i++)
		out[DLF_RECORD_HEAD + n + (size_t)i] = (unsigned char)(crc >> 8 * i);
	return n + DLF_RECORD_FRAME;
}

static size_t make_file(unsigned char *out)
{
	size_t n = 0;

	for (int i = 0; i < EACH; i++)
		n += put_record(out + n, (unsigned char)(i + 1));
	return n;
}

static void write_file(const unsigned char *data, size_t n)
{
	FILE *file = fopen(path, "wb");

	CHECK(file && fwrite(data, 1, n, file) == n);
	fclose(file);
}

static int scan_copy(const unsigned char *data, size_t n, uint64_t *count)
{
	unsigned char *exact = malloc(n ? n : 1);
	dlf_src src = dlf_src_memory(exact, n);
	dlf_records *records = NULL;
	dlf_fault fault;

	memcpy(exact, data, n);
	dlf_fault_clear(&fault);
	int rc = dlf_records_scan(&src, &records, &fault);
	*count = rc ? 0 : records->count;
	dlf_records_free(rc ? NULL : &records->base);
	free(exact);
	return rc;
}

static void cut_files_are_cut_and_no_less(void)
{
	unsigned char data[4096];
	size_t n = make_file(data), one = n / EACH;
	uint64_t count;

	for (size_t cut = 0; cut <= n; cut++) {
		int rc = scan_copy(data, cut, &count);
		if (cut % one)
			CHECK_EQ(rc, DLF_ETRUNCATED);
		else
			CHECK(!rc && count == cut / one);
	}
}

static void where_dlio_keeps_an_index(void)
{
	char out[PATH_MAX];

	CHECK(dlf_record_index_path("/d/train/a.tfrecord", out) &&
	      !strcmp(out, "/d/index/train/a.tfrecord.idx"));
	CHECK(dlf_record_index_path("/train/d/valid/07/a", out) &&
	      !strcmp(out, "/train/d/index/valid/a.idx"));
	CHECK(!dlf_record_index_path("/d/training/a", out));
	CHECK(!dlf_record_index_path("train", out));
}

/* ---- batches ---- */

#define FIELD(name, dtype, size, n, ...)                                       \
	{.member = name, .member_len = sizeof(name) - 1, .descr = dtype,       \
	 .descr_len = 3, .itemsize = size, .ndim = 1, .shape = {n},            \
	 .sample_bytes = (size) * (n)}
static const dlf_field fields[] = {
	FIELD("ii", "<i8", 8, 3), FIELD("bimage", "|u1", 1, IMAGE),
	FIELD("ff", "<f4", 4, 3)};

/* Read all samples, in an order of its own; how many are right. -1: wrong bytes. */
static int right_samples(dlf_plan *plan, dlf_ring *ring, dlf_pool *pool,
			 dlf_cache *cache)
{
	static const int64_t order[] = {4, 0, 1, 5, 2, 3};
	dlf_batch *batch;
	dlf_job *job;
	int right = 0;

	CHECK_EQ(dlf_batch_new(plan, pool, order, EACH, &batch), 0);
	batch->cache = cache;
	CHECK_EQ(dlf_ring_submit(ring, &batch->job), 0);
	CHECK_EQ(dlf_ring_next(ring, 10000, &job), 0);
	dlf_batch_compact(batch);
	for (size_t i = 0; i < batch->n && right >= 0; i++) {
		unsigned char fill = (unsigned char)(batch->samples[i] + 1);
		dlf_loose *loose = batch->loose[i * 3 + 1];
		const unsigned char *image =
			loose ? loose->data
			      : batch->buf->data + batch->offsets[1] + i * IMAGE;
		right = image[0] == fill && image[IMAGE - 1] == fill ? right + 1 : -1;
	}
	job->free(job);
	return right;
}

static void files_damaged_anywhere(int variant)
{
	static const uint64_t offsets[] = {0};
	unsigned char data[4096], bad[4096];
	size_t n = make_file(data);
	dlf_plan plan = {
		.container = &dlf_tfrecord_container, .verify = 1,
		.direct = variant & 1, .ragged = variant >> 1 & 1,
		.samples_per_file = EACH, .root = path, .names = "",
		.offsets = offsets, .n_files = 1, .fields = fields, .n_fields = 3};
	dlf_pool *pool;
	dlf_ring *ring;
	dlf_cache *cache = NULL;

	CHECK_EQ(dlf_pool_new(1 << 24, &pool), 0);
	CHECK_EQ(dlf_cache_new(1 << 24, &cache), 0);
	CHECK_EQ(dlf_ring_new(2, 1 << 24, &ring), 0);
	for (int round = 0; round < 300; round++) {
		uLongf packed = sizeof(bad);
		size_t size = n;
		memcpy(bad, data, n);
		if (variant & 4) {
			CHECK_EQ(compress(bad, &packed, data, n), Z_OK);
			size = packed;
		}
		if (round % 3 == 1)
			bad[draw(size)] ^= (unsigned char)(1 + draw(255));
		if (round % 3 == 2)
			size = draw(size);
		write_file(bad, size);
		CHECK_EQ(dlf_plan_new_tables(&plan), 0);
		int right = right_samples(&plan, ring, pool,
					  round & 1 ? cache : NULL);
		CHECK(right == 0 || right == EACH);
		CHECK(round % 3 || right == EACH);
		CHECK(round % 3 != 2 || right == 0);
		dlf_plan_free_tables(&plan);
	}
	dlf_ring_free(ring);
	dlf_cache_free(cache);
	dlf_pool_unref(pool);
}

void test_tfrecord(void)
{
	snprintf(path, sizeof(path), "/tmp/dlf_tfrecord_%d", (int)getpid());
	cut_and_damaged_examples();
	examples_of_which_only_the_ends_are_at_hand();
	cut_files_are_cut_and_no_less();
	where_dlio_keeps_an_index();
	for (int variant = 0; variant < 8; variant++)
		files_damaged_anywhere(variant);
	unlink(path);
}
