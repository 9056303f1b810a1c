/* SPDX-License-Identifier: Apache-2.0 */
#include "dlf_write.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "dlf_crc.h"

static char folder[64], temp_path[96], final_path[96];

static void make_folder(void)
{
	/* not /tmp, which often refuses O_DIRECT */
	strcpy(folder, "test_write.XXXXXX");
	CHECK(mkdtemp(folder) != NULL);
	snprintf(temp_path, sizeof(temp_path), "%s/.a.tmp", folder);
	snprintf(final_path, sizeof(final_path), "%s/a", folder);
}

static int entries(void)
{
	DIR *dir = opendir(folder);
	int count = 0;

	while (readdir(dir))
		count++;
	closedir(dir);
	return count - 2; /* . and .. */
}

static unsigned char *slurp(const char *path, size_t *len)
{
	FILE *file = fopen(path, "rb");
	struct stat st;

	*len = 0;
	if (!file)
		return NULL;
	fstat(fileno(file), &st);
	unsigned char *bytes = malloc((size_t)st.st_size + 1);
	*len = fread(bytes, 1, (size_t)st.st_size, file);
	fclose(file);
	return bytes;
}

static uint32_t load32(const unsigned char *at)
{
	return at[0] | at[1] << 8 | at[2] << 16 | (uint32_t)at[3] << 24;
}

/* Head and tail are counting bytes, the crc is 2 bytes from the start of each,
 * and the head counts into it from byte 10. */
static dlf_write_job job_of(size_t head_len, uint64_t payload_len,
			    size_t tail_len, int flags)
{
	static unsigned char bytes[4 << 20];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (unsigned char)(i * 7 + i / 251);
	return (dlf_write_job){
		.temp_path = temp_path, .final_path = final_path,
		.head = bytes, .head_len = head_len,
		.tail = bytes, .tail_len = tail_len,
		.payload_len = payload_len, .seed = 5, .stream = 9,
		.kind = DLF_FILL_F32,
		.crc_from = head_len < 10 ? 0 : 10,
		.crc_in_head = head_len < 10 ? DLF_NO_CRC : 2,
		.crc_in_tail = tail_len < 10 ? DLF_NO_CRC : 2,
		.flags = flags,
	};
}

static int wants_crc(const dlf_write_job *job)
{
	return job->crc_in_head != DLF_NO_CRC || job->crc_in_tail != DLF_NO_CRC;
}

static void check_contents(const dlf_write_job *job, uint32_t crc)
{
	size_t payload = (size_t)job->payload_len, head = job->head_len, len;
	unsigned char *got = slurp(final_path, &len);
	unsigned char *want = malloc(payload + 1);
	uint32_t expected = dlf_crc32(0, job->head + job->crc_from,
				      head - job->crc_from);

	CHECK(got != NULL);
	CHECK_EQ(len, head + payload + job->tail_len);
	if (got && len == head + payload + job->tail_len) {
		unsigned char *tail = got + head + payload;

		dlf_fill(want, payload, job->seed, job->stream, 0, job->kind);
		expected = dlf_crc32(expected, want, payload);
		CHECK_EQ(crc, wants_crc(job) ? expected : 0);
		CHECK(!memcmp(got + head, want, payload));
		if (job->crc_in_head != DLF_NO_CRC) {
			CHECK_EQ(load32(got + 2), expected);
			memcpy(got + 2, job->head + 2, 4);
		}
		if (job->crc_in_tail != DLF_NO_CRC) {
			CHECK_EQ(load32(tail + 2), expected);
			memcpy(tail + 2, job->tail + 2, 4);
		}
		CHECK(!memcmp(got, job->head, head));
		CHECK(!memcmp(tail, job->tail, job->tail_len));
	}
	free(want);
	free(got);
}

static void check_written(dlf_writer *writer, const dlf_write_job *job)
{
	dlf_write_result result;
	dlf_fault fault;

	CHECK_EQ(dlf_write_file(writer, job, &result, &fault), 0);
	CHECK_EQ(result.direct,
		 job->flags & DLF_WRITE_DIRECT && !result.fallback_reason);
	check_contents(job, result.crc);
}

/* Sizes around every boundary: block, page, staging buffer, nothing at all. */
static void test_layouts(dlf_writer *writer)
{
	static const size_t heads[] = {0, 10, 183, 4095, 4096, 4097, 65536};
	static const uint64_t payloads[] = {0, 1, 4096, 1 << 20, (1 << 20) + 4,
					    (3 << 20) - 183, (3 << 20) + 4000};
	static const size_t tails[] = {0, 10, 4096, 3 << 20};

	for (int i = 0; i < 7 * 7 * 4; i++) {
		dlf_write_job job = job_of(heads[i % 7], payloads[i / 7 % 7],
					   tails[i / 49], 0);

		check_written(writer, &job);
		job.flags = DLF_WRITE_DIRECT;
		check_written(writer, &job);
	}
	CHECK_EQ(entries(), 1);
}

static void test_counts_bytes(dlf_writer *writer)
{
	uint64_t before = dlf_writer_bytes(writer);
	dlf_write_job job = job_of(4096, 5 << 20, 100, DLF_WRITE_SYNC);
	dlf_write_result result;

	CHECK_EQ(dlf_write_file(writer, &job, &result, NULL), 0);
	CHECK_EQ(dlf_writer_bytes(writer) - before, 4096 + (5 << 20) + 100);
}

/* Whatever goes wrong, the old file stays and no temporary one does. */
static void check_refused(dlf_writer *writer, const dlf_write_job *job, int rc)
{
	size_t before_len, after_len;
	unsigned char *before = slurp(final_path, &before_len), *after;
	int count = entries();
	dlf_write_result result;
	dlf_fault fault = {0};

	CHECK_EQ(dlf_write_file(writer, job, &result, &fault), rc);
	CHECK_EQ(fault.code, rc);
	CHECK(fault.what && fault.what[0]);
	CHECK_EQ(entries(), count);
	after = slurp(final_path, &after_len);
	CHECK_EQ(after_len, before_len);
	if (before_len == after_len && before_len)
		CHECK(!memcmp(before, after, before_len));
	free(before);
	free(after);
}

static void test_refusals(dlf_writer *writer)
{
	dlf_write_job job = job_of(4096, 5 << 20, 100, 0);
	struct rlimit saved, small;
	char missing[96];

	job.head_len = DLF_WRITE_HEAD_MAX + 1;
	check_refused(writer, &job, -EINVAL);
	job = job_of(4096, 5 << 20, 100, 0);
	job.crc_in_tail = 97;
	check_refused(writer, &job, -EINVAL);
	job = job_of(4096, UINT64_MAX, 100, 0);
	check_refused(writer, &job, -EINVAL);

	job = job_of(4096, 5 << 20, 100, 0);
	snprintf(missing, sizeof(missing), "%s/no/a", folder);
	job.temp_path = missing;
	check_refused(writer, &job, -ENOENT);
	job = job_of(4096, 5 << 20, 100, 0);
	job.final_path = missing;
	check_refused(writer, &job, -ENOENT);

	/* the kernel itself refuses to make the file that long */
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &saved);
	small = saved;
	small.rlim_cur = 2 << 20;
	setrlimit(RLIMIT_FSIZE, &small);
	for (int flags = 0; flags < 2; flags++) {
		job = job_of(4096, 5 << 20, 100, flags);
		check_refused(writer, &job, -EFBIG);
	}
	setrlimit(RLIMIT_FSIZE, &saved);
}

static void test_taken_name(dlf_writer *writer)
{
	dlf_write_job job = job_of(4096, 5 << 20, 100, DLF_WRITE_DIRECT);
	int fd = open(temp_path, O_CREAT | O_WRONLY, 0600);

	check_refused(writer, &job, -EEXIST);
	CHECK_EQ(access(temp_path, F_OK), 0);
	close(fd);
	unlink(temp_path);
}

static void *cancel_soon(void *arg)
{
	dlf_writer *writer = arg;

	while (dlf_writer_bytes(writer) < 8 << 20)
		sched_yield();
	dlf_writer_cancel(writer);
	return NULL;
}

static void test_cancel(void)
{
	dlf_write_job job = job_of(4096, (uint64_t)2 << 30, 100, 0);
	dlf_writer *writer;
	pthread_t thread;

	job.final_path = "never";
	CHECK_EQ(dlf_writer_new(&writer), 0);
	CHECK_EQ(pthread_create(&thread, NULL, cancel_soon, writer), 0);
	check_refused(writer, &job, DLF_ECANCELLED);
	pthread_join(thread, NULL);
	CHECK(dlf_writer_bytes(writer) < (uint64_t)2 << 30);
	check_refused(writer, &job, DLF_ECANCELLED);
	dlf_writer_free(writer);
}

void test_write(void)
{
	dlf_writer *writer;

	make_folder();
	CHECK_EQ(dlf_writer_new(&writer), 0);
	test_layouts(writer);
	test_counts_bytes(writer);
	test_refusals(writer);
	test_taken_name(writer);
	test_cancel();
	dlf_writer_free(writer);
	unlink(final_path);
	CHECK_EQ(rmdir(folder), 0);
}
