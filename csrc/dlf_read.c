/* SPDX-License-Identifier: Apache-2.0 */
#include "dlf_read.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static int read_range(dlf_read *read, dlf_file *file, dlf_worker *worker)
{
	uint64_t left = read->offset <= file->size ? file->size - read->offset
						   : 0;
	size_t skip = 0;
	int rc;

	if (read->offset > file->size ||
	    (read->length >= 0 && (uint64_t)read->length > left))
		return dlf_fail(&read->fault, DLF_ETRUNCATED, file->size,
				"the file ends before the range asked for");
	read->size = read->length < 0 ? left : (uint64_t)read->length;
	if (!file->size && read->length < 0 && !file->object && !file->cached &&
	    pread(file->fd, worker->io.stage, file->align, 0) > 0)
		return dlf_fail(&read->fault, DLF_EUNSUPPORTED, 0,
				"the file system does not tell the file's size, "
				"as in /proc");
	/* O_DIRECT goes straight to memory that agrees with the file modulo the
	 * alignment. */
	if (file->direct && read->offset % DLF_POOL_ALIGN % 64 == 0)
		skip = read->offset % DLF_POOL_ALIGN;
	rc = dlf_ring_charge(worker->ring, &read->job,
			     dlf_pool_capacity(read->size + skip));
	if (!rc)
		rc = dlf_pool_get(read->pool, read->size + skip, &read->buf);
	if (rc)
		return dlf_fail(&read->fault, rc, read->offset,
				rc == -ENOMEM ? "out of memory" : "cancelled");
	read->data = read->buf->data + skip;
	return dlf_file_read(file, &worker->io, read->offset, read->data,
			     read->size, read->checksum ? &read->crc : NULL,
			     &read->fault);
}

static void run(dlf_job *job, size_t task, dlf_worker *worker)
{
	dlf_read *read = (dlf_read *)job;
	dlf_file file;

	(void)task;
	dlf_fault_clear(&read->fault);
	dlf_io_use(&worker->io, read->store);
	if (dlf_file_open_known(&file, &worker->io, read->path,
				read->direct ? DLF_OPEN_DIRECT : 0, &read->known,
				&read->fault))
		return;
	read_range(read, &file, worker);
	dlf_file_close(&file);
}

static void read_free(dlf_job *job)
{
	dlf_read *read = (dlf_read *)job;

	if (read->buf)
		dlf_buf_unref(read->buf);
	free(read->path);
	free(read);
}

int dlf_read_new(dlf_pool *pool, const char *path, uint64_t offset,
		 int64_t length, int direct, int checksum, dlf_read **out)
{
	dlf_read *read = calloc(1, sizeof(*read));

	if (!read)
		return -ENOMEM;
	read->job.run = run;
	read->job.free = read_free;
	read->job.tasks = 1;
	read->pool = pool;
	read->known.size = UINT64_MAX;
	read->offset = offset;
	read->length = length;
	read->direct = direct;
	read->checksum = checksum;
	read->path = strdup(path);
	if (!read->path) {
		free(read);
		return -ENOMEM;
	}
	*out = read;
	return 0;
}
