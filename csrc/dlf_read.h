/* SPDX-License-Identifier: Apache-2.0
 *
 * One range of one file into one buffer, as a job of the ring.
 */
#ifndef DLF_READ_H
#define DLF_READ_H

#include "dlf_pool.h"
#include "dlf_ring.h"

typedef struct dlf_read {
	dlf_job job;         /* first: the ring's view of it */
	dlf_pool *pool;
	char *path;
	uint64_t offset;
	int64_t length;      /* -1: to the end of the file */
	int direct;
	dlf_store *store;    /* where the path leads; NULL: it is local */
	dlf_hint known;      /* of the file */
	int checksum;        /* take the CRC-32 of the range */
	dlf_buf *buf;        /* once delivered: the bytes, at data[0..size) */
	unsigned char *data; /* 64-byte aligned, inside buf */
	size_t size;
	uint32_t crc;
	dlf_fault fault;
} dlf_read;

/* -ENOMEM.  Freed by its job.free. */
int dlf_read_new(dlf_pool *pool, const char *path, uint64_t offset,
		 int64_t length, int direct, int checksum, dlf_read **out);

#endif
