/* SPDX-License-Identifier: Apache-2.0 */
#include "dlf_write.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dlf_crc.h"
#include "dlf_pool.h"

#define BUFFER ((size_t)2 << 20)
#define BLOCK ((size_t)1 << 20) /* one system call's worth */
/* What is filled and then checksummed at a time, to be found in cache. */
#define PART (8 * DLF_FILL_CHUNK)
/* Blocks end on multiples of this in the file even where nothing demands it:
 * whole pages spare the page cache a read or a second visit. */
#define PAGE ((size_t)4096)
#define MAX_ALIGN ((size_t)65536)

/* The buffer's end keeps the file's first blocks, which are written last, as
 * the head holds the checksum. */
#define STAGE (BUFFER - DLF_WRITE_HEAD_MAX)

_Static_assert(MAX_ALIGN <= DLF_WRITE_HEAD_MAX,
	       "the head, rounded up to whole blocks, fits the front");
_Static_assert(BLOCK + DLF_WRITE_HEAD_MAX + 2 * MAX_ALIGN <= STAGE,
	       "a block fits the stage, with head, remainder and padding");
_Static_assert(BLOCK % PART == 0, "parts make up whole blocks");

struct dlf_writer {
	dlf_pool *pool;
	atomic_int cancel;
	_Atomic uint64_t bytes;
};

/* A file being written.  stage[0..used) goes to [pos, pos + used); bytes before
 * pos are written, but for the front. */
typedef struct out_file {
	dlf_writer *writer;
	const dlf_write_job *job;
	dlf_write_result *result;
	dlf_fault *fault;
	int fd;
	size_t grain; /* blocks begin and end on multiples of it */
	unsigned char *stage;
	unsigned char *front;
	size_t front_len; /* of the file's first bytes, whole grains */
	uint64_t pos;
	size_t used;
} out_file;

int dlf_writer_new(dlf_writer **out)
{
	dlf_writer *writer = calloc(1, sizeof(*writer));

	if (!writer)
		return -ENOMEM;
	if (dlf_pool_new(SIZE_MAX, &writer->pool)) {
		free(writer);
		return -ENOMEM;
	}
	*out = writer;
	return 0;
}

void dlf_writer_free(dlf_writer *writer)
{
	dlf_pool_unref(writer->pool);
	free(writer);
}

void dlf_writer_cancel(dlf_writer *writer)
{
	atomic_store_explicit(&writer->cancel, 1, memory_order_relaxed);
}

uint64_t dlf_writer_bytes(const dlf_writer *writer)
{
	return atomic_load_explicit(&writer->bytes, memory_order_relaxed);
}

static int wants_crc(const dlf_write_job *job)
{
	return job->crc_in_head != DLF_NO_CRC || job->crc_in_tail != DLF_NO_CRC;
}

static void fall_back(out_file *out, const char *reason, int err)
{
	out->result->direct = 0;
	out->result->fallback_reason = reason;
	out->result->fallback_errno = err;
}

/* Create the file and lock it.  Who takes us for dead in between locks and
 * unlinks it; then it is made again. */
static int open_temp(const char *path, int extra)
{
	const int flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | extra;
	struct stat st;

	for (;;) {
		int fd = open(path, flags, 0666);
		if (fd < 0 && errno == EINTR)
			continue;
		if (fd < 0)
			return -errno;
		flock(fd, LOCK_EX); /* not every file system has it */
		if (fstat(fd, &st) || st.st_nlink)
			return fd;
		close(fd);
	}
}

/* Take the alignment from statx's answer, or turn O_DIRECT off again. */
static void settle_direct(out_file *out)
{
	size_t align = PAGE;
#ifdef STATX_DIOALIGN
	struct statx st;

	if (!statx(out->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &st) &&
	    st.stx_mask & STATX_DIOALIGN) {
		size_t mem = st.stx_dio_mem_align;
		align = st.stx_dio_offset_align;
		if (!mem || mem > PAGE || !align || align > MAX_ALIGN ||
		    align & (align - 1)) {
			fcntl(out->fd, F_SETFL, 0);
			fall_back(out, "the file system does not offer "
				  "O_DIRECT for this file", 0);
			return;
		}
	}
#endif
	out->grain = align > PAGE ? align : PAGE;
}

static int create(out_file *out)
{
	const dlf_write_job *job = out->job;
	int fd = -EINVAL;

	out->grain = PAGE;
	out->result->direct = !!(job->flags & DLF_WRITE_DIRECT);
	if (out->result->direct) {
		fd = open_temp(job->temp_path, O_DIRECT);
		if (fd == -EINVAL || fd == -EOPNOTSUPP) {
			fall_back(out, "the file system refuses O_DIRECT "
				  "at open", -fd);
			/* some kernels refuse only once the file exists */
			unlink(job->temp_path);
		}
	}
	if (!out->result->direct)
		fd = open_temp(job->temp_path, 0);
	if (fd < 0)
		return dlf_fail(out->fault, fd, 0, "cannot be created");
	out->fd = fd;
	if (out->result->direct)
		settle_direct(out);
	return 0;
}

/* Ask for the whole room at once: contiguous where possible, and a full disk
 * shows before the work rather than after it.  (Nothing at all is EINVAL.) */
static int reserve(out_file *out, uint64_t total)
{
	int rc;

	do
		rc = fallocate(out->fd, 0, 0, (off_t)total) ? -errno : 0;
	while (rc == -EINTR);
	if (rc && rc != -EOPNOTSUPP && rc != -ENOSYS && rc != -EINVAL)
		return dlf_fail(out->fault, rc, 0, "room cannot be reserved");
	return 0;
}

static int write_all(out_file *out, const unsigned char *from, size_t len,
		     uint64_t offset)
{
	dlf_writer *writer = out->writer;

	while (len) {
		if (atomic_load_explicit(&writer->cancel, memory_order_relaxed))
			return dlf_fail(out->fault, DLF_ECANCELLED, offset,
					"cancelled");
		ssize_t n = pwrite(out->fd, from, len, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EINVAL && out->result->direct) {
			fcntl(out->fd, F_SETFL, 0);
			fall_back(out, "the file system refuses O_DIRECT "
				  "writes", EINVAL);
			continue;
		}
		if (n < 0)
			return dlf_fail(out->fault, -errno, offset,
					"writing failed");
		size_t done = (size_t)n;
		/* A short direct write may end between blocks: go on from the
		 * last whole one. */
		if (out->result->direct && done < len)
			done -= done % out->grain;
		if (!done)
			return dlf_fail(out->fault, -EIO, offset,
					"the device accepts no more bytes");
		atomic_fetch_add_explicit(&writer->bytes, done,
					  memory_order_relaxed);
		from += done;
		len -= done;
		offset += done;
	}
	return 0;
}

/* Write the stage's whole grains and move what remains to its start. */
static int flush(out_file *out)
{
	size_t whole = out->used - out->used % out->grain, skip = 0;
	int rc;

	if (!whole)
		return 0;
	if (!out->pos) {
		if (whole < out->front_len)
			return 0;
		skip = out->front_len;
		memcpy(out->front, out->stage, skip);
	}
	rc = write_all(out, out->stage + skip, whole - skip, out->pos + skip);
	if (rc)
		return rc;
	memmove(out->stage, out->stage + whole, out->used - whole);
	out->used -= whole;
	out->pos += whole;
	return 0;
}

static int append(out_file *out, const unsigned char *from, size_t len)
{
	while (len) {
		size_t room = STAGE - MAX_ALIGN - out->used;
		size_t part = len < room ? len : room;

		memcpy(out->stage + out->used, from, part);
		out->used += part;
		from += part;
		len -= part;
		if (len) {
			int rc = flush(out);
			if (rc)
				return rc;
		}
	}
	return 0;
}

/* Fill, checksum and stage the payload.  Its last block stays in the stage, so
 * that the tail goes out with it. */
static int append_payload(out_file *out)
{
	const dlf_write_job *job = out->job;
	uint32_t *crc = &out->result->crc;
	size_t part;

	for (uint64_t done = 0; done < job->payload_len; done += part) {
		unsigned char *at;
		int rc = done % BLOCK ? 0 : flush(out);

		if (rc)
			return rc;
		at = out->stage + out->used;
		part = job->payload_len - done < PART
			       ? (size_t)(job->payload_len - done)
			       : PART;
		dlf_fill(at, part, job->seed, job->stream, done, job->kind);
		if (wants_crc(job))
			*crc = dlf_crc32(*crc, at, part);
		out->used += part;
	}
	return 0;
}

static void store_crc(unsigned char *at, uint32_t crc)
{
	for (int i = 0; i < 4; i++)
		at[i] = (unsigned char)(crc >> 8 * i);
}

static int append_tail(out_file *out)
{
	const dlf_write_job *job = out->job;
	unsigned char crc[4];
	size_t at = job->crc_in_tail;
	int rc;

	if (at == DLF_NO_CRC)
		return append(out, job->tail, job->tail_len);
	store_crc(crc, out->result->crc);
	rc = append(out, job->tail, at);
	rc = rc ? rc : append(out, crc, sizeof(crc));
	at += sizeof(crc);
	return rc ? rc : append(out, job->tail + at, job->tail_len - at);
}

/* Write what is staged, padded to a block under O_DIRECT, then the front. */
static int finish(out_file *out, uint64_t total)
{
	const dlf_write_job *job = out->job;
	int small = !out->pos; /* the stage holds all, the head too */
	unsigned char *head = small ? out->stage : out->front;
	size_t len = out->used;
	int rc;

	if (job->crc_in_head != DLF_NO_CRC)
		store_crc(head + job->crc_in_head, out->result->crc);
	if (out->result->direct) {
		len = (len + out->grain - 1) / out->grain * out->grain;
		memset(out->stage + out->used, 0, len - out->used);
	}
	rc = write_all(out, out->stage, len, out->pos);
	if (!rc && !small)
		rc = write_all(out, out->front, out->front_len, 0);
	if (rc)
		return rc;
	if (out->pos + len != total && ftruncate(out->fd, (off_t)total))
		return dlf_fail(out->fault, -errno, total, "truncating failed");
	if (job->flags & DLF_WRITE_SYNC && fsync(out->fd))
		return dlf_fail(out->fault, -errno, total, "fsync failed");
	return 0;
}

static int check_job(const dlf_write_job *job, dlf_fault *fault)
{
	size_t head = job->head_len, tail = job->tail_len;

	if (head > DLF_WRITE_HEAD_MAX || job->crc_from > head ||
	    (job->crc_in_head != DLF_NO_CRC &&
	     (head < 4 || job->crc_in_head > head - 4)) ||
	    (job->crc_in_tail != DLF_NO_CRC &&
	     (tail < 4 || job->crc_in_tail > tail - 4)) ||
	    tail > INT64_MAX / 4 || job->payload_len > INT64_MAX / 4)
		return dlf_fail(fault, -EINVAL, 0, "cannot be laid out");
	return 0;
}

static int write_contents(out_file *out)
{
	const dlf_write_job *job = out->job;
	uint64_t total = job->head_len + job->payload_len + job->tail_len;
	int rc = reserve(out, total);

	if (job->crc_in_head != DLF_NO_CRC)
		out->front_len = (job->head_len + out->grain - 1) / out->grain *
				 out->grain;
	if (wants_crc(job))
		out->result->crc = dlf_crc32(0, job->head + job->crc_from,
					     job->head_len - job->crc_from);
	rc = rc ? rc : append(out, job->head, job->head_len);
	rc = rc ? rc : append_payload(out);
	rc = rc ? rc : append_tail(out);
	return rc ? rc : finish(out, total);
}

int dlf_write_file(dlf_writer *writer, const dlf_write_job *job,
		   dlf_write_result *result, dlf_fault *fault)
{
	out_file out = {.writer = writer, .job = job, .result = result,
			.fault = fault};
	dlf_buf *buf;
	int rc = check_job(job, fault);

	memset(result, 0, sizeof(*result));
	if (rc)
		return rc;
	if (dlf_pool_get(writer->pool, BUFFER, &buf))
		return dlf_fail(fault, -ENOMEM, 0, "out of memory");
	out.stage = buf->data;
	out.front = buf->data + STAGE;
	rc = create(&out);
	if (!rc) {
		/* the lock has to last until the file has its final name */
		int lock = fcntl(out.fd, F_DUPFD_CLOEXEC, 0);
		rc = write_contents(&out);
		/* Linux closes the descriptor even where it reports EINTR */
		if (close(out.fd) && errno != EINTR && !rc)
			rc = dlf_fail(fault, -errno, 0, "closing failed");
		if (!rc && rename(job->temp_path, job->final_path))
			rc = dlf_fail(fault, -errno, 0, "renaming failed");
		if (rc)
			unlink(job->temp_path);
		close(lock);
	}
	dlf_buf_unref(buf);
	return rc;
}
