/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing generated files: a given head, a random payload, a given tail.
 *
 * The payload is filled, checksummed and written block by block while it is in
 * cache, so a file of any size costs one small buffer.  A file appears under
 * its final name whole or not at all: it is written under a temporary name,
 * which is locked (flock) meanwhile so that others can tell it from a dead
 * run's, and renamed at the end.
 */
#ifndef DLF_WRITE_H
#define DLF_WRITE_H

#include <stddef.h>
#include <stdint.h>

#include "dlf_error.h"
#include "dlf_fill.h"

/* What several threads share: buffers, a counter and the request to stop. */
typedef struct dlf_writer dlf_writer;

int dlf_writer_new(dlf_writer **out);
void dlf_writer_free(dlf_writer *writer); /* once no call is under way */

/* Make running and later calls return DLF_ECANCELLED; from any thread. */
void dlf_writer_cancel(dlf_writer *writer);

/* Bytes written so far by all calls, for a progress display. */
uint64_t dlf_writer_bytes(const dlf_writer *writer);

enum {
	DLF_WRITE_DIRECT = 1, /* O_DIRECT, where the file system has it */
	DLF_WRITE_SYNC = 2,   /* the contents are on the device at the rename */
};

#define DLF_WRITE_HEAD_MAX ((size_t)64 << 10)
#define DLF_NO_CRC SIZE_MAX

typedef struct dlf_write_job {
	const char *temp_path; /* created exclusively, in final_path's folder */
	const char *final_path;
	const unsigned char *head; /* at most DLF_WRITE_HEAD_MAX bytes */
	size_t head_len;
	const unsigned char *tail;
	size_t tail_len;
	uint64_t payload_len;
	uint64_t seed;   /* of the payload, see dlf_fill.h */
	uint64_t stream;
	enum dlf_fill_kind kind;
	/* The CRC-32 of head[crc_from..] followed by the payload is stored,
	 * little endian, at these offsets of head and tail; DLF_NO_CRC:
	 * nowhere. */
	size_t crc_from;
	size_t crc_in_head;
	size_t crc_in_tail;
	int flags;
} dlf_write_job;

typedef struct dlf_write_result {
	uint32_t crc; /* 0 where none was asked for */
	int direct;   /* O_DIRECT held to the end */
	const char *fallback_reason; /* why not; NULL: it did, or unasked */
	int fallback_errno;          /* 0 where the kernel gave none */
} dlf_write_result;

/* Write one file.  On failure nothing is left under temp_path and final_path is
 * as it was.  -EEXIST (temp_path is being written), DLF_ECANCELLED, -errno. */
int dlf_write_file(dlf_writer *writer, const dlf_write_job *job,
		   dlf_write_result *result, dlf_fault *fault);

#endif
