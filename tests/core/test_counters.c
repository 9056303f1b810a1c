/* SPDX-License-Identifier: Apache-2.0
 *
 * The counters say what is alive in this process: no more, no less, and nothing of
 * what a child inherits.
 */
#include "dlf_counters.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "dlf_cache.h"
#include "dlf_file.h"
#include "dlf_ring.h"

enum { PAGE = 4096 };

static int are(int64_t rings, int64_t threads, int64_t caches, int64_t lent,
	       int64_t bytes, int64_t files)
{
	return dlf_counted(DLF_COUNT_RINGS) == rings &&
	       dlf_counted(DLF_COUNT_RING_THREADS) == threads &&
	       dlf_counted(DLF_COUNT_CACHES) == caches &&
	       dlf_counted(DLF_COUNT_BUFFERS_LENT) == lent &&
	       dlf_counted(DLF_COUNT_BUFFER_BYTES) == bytes &&
	       dlf_counted(DLF_COUNT_OPEN_FILES) == files;
}

static void run(dlf_job *job, size_t task, dlf_worker *worker)
{
	(void)job;
	(void)task;
	(void)worker;
}

static void free_job(dlf_job *job)
{
	free(job);
}

/* In a child: what it makes counts, what it was given does not. */
static int counts_afresh(dlf_buf *buf, dlf_file *file)
{
	dlf_pool *pool;
	dlf_buf *mine;

	if (!are(0, 0, 0, 0, 0, 0) || dlf_pool_new(PAGE, &pool) ||
	    dlf_pool_get(pool, 1, &mine) || !are(0, 0, 0, 1, PAGE, 0))
		return 0;
	dlf_buf_unref(buf);
	dlf_file_close(file);
	if (!are(0, 0, 0, 1, PAGE, 0))
		return 0;
	dlf_buf_unref(mine);
	dlf_pool_unref(pool);
	return are(0, 0, 0, 0, 0, 0);
}

void test_counters(void)
{
	dlf_job *job = calloc(1, sizeof(*job)), *out;
	dlf_pool *pool;
	dlf_ring *ring;
	dlf_cache *cache;
	dlf_buf *bufs[2];
	dlf_file file;
	dlf_io io;
	int status;

	CHECK(are(0, 0, 0, 0, 0, 0));
	CHECK_EQ(dlf_pool_new(2 * PAGE, &pool), 0);
	CHECK_EQ(dlf_pool_get(pool, 1, &bufs[0]), 0);
	CHECK_EQ(dlf_pool_get(pool, PAGE + 1, &bufs[1]), 0);
	CHECK(are(0, 0, 0, 2, 3 * PAGE, 0));
	CHECK(dlf_pool_get(pool, (size_t)1 << 60, &bufs[1]) < 0);
	CHECK(are(0, 0, 0, 2, 3 * PAGE, 0));
	CHECK_EQ(dlf_ring_new(3, PAGE, &ring), 0);
	CHECK_EQ(dlf_cache_new(PAGE, &cache), 0);
	CHECK(are(1, 0, 1, 2, 3 * PAGE, 0));
	*job = (dlf_job){.run = run, .free = free_job, .tasks = 2};
	CHECK_EQ(dlf_ring_submit(ring, job), 0);
	CHECK(are(1, 2, 1, 2, 3 * PAGE, 0));
	CHECK_EQ(dlf_ring_next(ring, 20000, &out), 0);
	free(out);

	CHECK_EQ(dlf_io_init(&io, NULL), 0);
	CHECK(dlf_file_open(&file, &io, "/", 0, NULL) < 0);
	CHECK(dlf_file_open(&file, &io, "no such file", 0, NULL) < 0);
	CHECK(are(1, 2, 1, 2, 3 * PAGE, 0));
	CHECK_EQ(dlf_file_open(&file, &io, "/proc/self/maps", 0, NULL), 0);
	CHECK(are(1, 2, 1, 2, 3 * PAGE, 1));

	fflush(NULL);
	pid_t child = fork();
	if (!child)
		_exit(!counts_afresh(bufs[0], &file));
	CHECK(child > 0);
	waitpid(child, &status, 0);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	CHECK(are(1, 2, 1, 2, 3 * PAGE, 1));

	dlf_file_close(&file);
	dlf_io_free(&io);
	dlf_ring_free(ring);
	dlf_cache_free(cache);
	CHECK(are(0, 0, 0, 2, 3 * PAGE, 0));
	dlf_buf_unref(bufs[0]); /* too much is mapped to keep it */
	CHECK(are(0, 0, 0, 1, 2 * PAGE, 0));
	dlf_buf_unref(bufs[1]); /* not so any more */
	CHECK(are(0, 0, 0, 0, 2 * PAGE, 0));
	dlf_pool_unref(pool);
	CHECK(are(0, 0, 0, 0, 0, 0));
}
