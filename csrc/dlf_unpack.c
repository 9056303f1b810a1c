/* SPDX-License-Identifier: Apache-2.0 */
#include "dlf_unpack.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define BLOCK ((size_t)256 << 10)

typedef struct unpacking {
	z_stream z;
	dlf_file *file;
	dlf_io *io;
	const dlf_memory *memory;
	unsigned char *block;
	uint64_t read;         /* of the file */
	dlf_buf *buf;
	uint64_t size;         /* unpacked so far */
	uint64_t most;
} unpacking;

static uint64_t most_of(uint64_t packed)
{
	uint64_t most = DLF_UNPACK_NEVER;

	if (packed < DLF_UNPACK_NEVER / DLF_UNPACK_RATIO)
		most = packed * DLF_UNPACK_RATIO;
	return most > DLF_UNPACK_ALWAYS ? most : DLF_UNPACK_ALWAYS;
}

/* Twice the memory. */
static int grow(unpacking *u, dlf_fault *fault)
{
	uint64_t room = u->buf ? 2 * (uint64_t)u->buf->capacity : 2 * BLOCK;
	dlf_buf *larger;
	int rc;

	if (u->size >= u->most)
		return dlf_fail(fault, DLF_EUNSUPPORTED, u->read,
				"unpacks to more than 64 MiB and 100 times its "
				"size, or to more than 4 GiB: a bomb?");
	rc = dlf_memory_get(u->memory, room < u->most ? room : u->most, &larger);
	if (rc)
		return dlf_fail(fault, rc, u->read, "out of memory");
	if (u->buf) {
		memcpy(larger->data, u->buf->data, u->size);
		dlf_memory_put(u->memory, u->buf);
	}
	u->buf = larger;
	return 0;
}

static int refill(unpacking *u, dlf_fault *fault)
{
	uint64_t left = u->file->size - u->read;
	size_t part = left < BLOCK ? (size_t)left : BLOCK;
	int rc;

	if (!part)
		return dlf_fail(fault, DLF_ETRUNCATED, u->read,
				"the file ends inside its compressed data");
	rc = dlf_file_read(u->file, u->io, u->read, u->block, part, NULL, fault);
	u->read += part;
	u->z.next_in = u->block;
	u->z.avail_in = (uInt)part;
	return rc;
}

/* Until the output is full, the input used up, or a stream has ended. */
static int step(unpacking *u, int *ended, dlf_fault *fault)
{
	uint64_t room = u->buf->size - u->size;
	int ret;

	u->z.next_out = u->buf->data + u->size;
	u->z.avail_out = room < INT_MAX ? (uInt)room : INT_MAX;
	ret = inflate(&u->z, Z_NO_FLUSH);
	u->size = (uint64_t)(u->z.next_out - u->buf->data);
	if (ret == Z_MEM_ERROR)
		return dlf_fail(fault, -ENOMEM, u->read, "out of memory");
	if (ret != Z_OK && ret != Z_BUF_ERROR && ret != Z_STREAM_END)
		return dlf_fail(fault, DLF_EFORMAT, u->read - u->z.avail_in,
				"the compressed data are corrupt");
	*ended = ret == Z_STREAM_END;
	return 0;
}

/* Streams may follow one another, as in files that were put together. */
static int unpack(unpacking *u, dlf_fault *fault)
{
	int ended = 0, rc = 0;

	while (!rc && !(ended && !u->z.avail_in && u->read == u->file->size)) {
		if (ended)
			inflateReset(&u->z);
		if (!u->z.avail_in)
			rc = refill(u, fault);
		if (!rc && (!u->buf || u->size == u->buf->size))
			rc = grow(u, fault);
		ended = 0;
		if (!rc)
			rc = step(u, &ended, fault);
	}
	return rc;
}

int dlf_unpack_file(dlf_file *file, dlf_io *io, const dlf_memory *memory,
		    dlf_buf **out, uint64_t *size, dlf_fault *fault)
{
	unpacking u = {.file = file, .io = io, .memory = memory,
		       .most = most_of(file->size)};
	int rc;

	u.block = malloc(BLOCK);
	if (!u.block || inflateInit2(&u.z, MAX_WBITS + 32) != Z_OK) { /* 32: either */
		free(u.block);
		return dlf_fail(fault, -ENOMEM, 0, "out of memory");
	}
	rc = unpack(&u, fault);
	inflateEnd(&u.z);
	free(u.block);
	if (rc && u.buf)
		dlf_memory_put(memory, u.buf);
	*out = rc ? NULL : u.buf;
	*size = u.size;
	return rc;
}
