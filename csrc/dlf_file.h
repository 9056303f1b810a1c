/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading regular files at offsets, through the page cache or past it.
 *
 * O_DIRECT is asked of the file system, not assumed: alignment comes from
 * statx(STATX_DIOALIGN) where the kernel tells, and a refusal falls back to
 * buffered reads with the reason kept.
 */
#ifndef DLF_FILE_H
#define DLF_FILE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "dlf_error.h"
#include "dlf_src.h"

/* Latencies are counted in buckets of a quarter octave of microseconds: bucket b
 * covers [2^(b/4), 2^((b+1)/4)) us; the last one takes all that is slower. */
#define DLF_LATENCY_BUCKETS 96

typedef struct dlf_io_stats {
	uint64_t bytes;        /* delivered by the kernel */
	uint64_t direct_bytes; /* of these, by O_DIRECT */
	uint64_t staged_bytes; /* of these, through a staging block */
	uint64_t reads;        /* system calls that returned bytes */
	uint64_t files;        /* opened */
	uint64_t fallbacks;    /* files that O_DIRECT was refused for */
	const char *fallback_reason; /* of the last such; NULL: none */
	int fallback_errno;
	uint64_t core_samples;  /* read by the core */
	uint64_t maker_samples; /* by the plan's maker */
	uint64_t latency[DLF_LATENCY_BUCKETS];
} dlf_io_stats;

/* CLOCK_MONOTONIC. */
uint64_t dlf_now_ns(void);

void dlf_io_stats_add(dlf_io_stats *sum, const dlf_io_stats *more);

/* What one thread needs to read: a staging block, counters, and where to look
 * for a request to stop. */
typedef struct dlf_io {
	unsigned char *stage;
	const atomic_int *cancel; /* NULL: cannot be cancelled */
	int (*interrupted)(void); /* asked now and then; NULL: nobody to ask */
	uint64_t asked_ns;
	dlf_io_stats stats;
} dlf_io;

#define DLF_STAGE_SIZE ((size_t)1 << 20)

int dlf_io_init(dlf_io *io, const atomic_int *cancel);
void dlf_io_free(dlf_io *io);

/* Is reading to stop?  Cheap enough to be asked for every block. */
int dlf_io_cancelled(dlf_io *io);

typedef struct dlf_file {
	int fd;
	int direct;          /* O_DIRECT is on */
	uint32_t align;      /* what memory, offset and length must be multiples of */
	uint64_t size;
	uint64_t inode;
	int64_t mtime_sec;   /* to notice a change under our hands */
	uint32_t mtime_nsec;
	unsigned generation; /* of the process that opened it */
} dlf_file;

enum { DLF_OPEN_DIRECT = 1 };

/* Open for reading.  A directory is -EISDIR, other things that are no regular
 * file DLF_ENOTREGULAR; opening a FIFO does not block. */
int dlf_file_open(dlf_file *file, dlf_io *io, const char *path, int flags,
		  dlf_fault *fault);

/* Read exactly [offset, offset + len) to dst.  With crc not NULL, *crc is
 * continued over the bytes while they are in cache.  Direct reads go straight to
 * dst where dst and offset agree modulo the alignment, else through the stage.
 * DLF_ETRUNCATED (range beyond the size at opening), DLF_ECHANGED (the file
 * shrank since), DLF_ECANCELLED, -errno. */
int dlf_file_read(dlf_file *file, dlf_io *io, uint64_t offset, void *dst,
		  size_t len, uint32_t *crc, dlf_fault *fault);

/* The same with a CRC-32C. */
int dlf_file_read_crc32c(dlf_file *file, dlf_io *io, uint64_t offset, void *dst,
			 size_t len, uint32_t *crc, dlf_fault *fault);

/* DLF_ECHANGED if size or modification time differ from those at opening. */
int dlf_file_check_unchanged(const dlf_file *file, dlf_fault *fault);

void dlf_file_close(dlf_file *file);

/* A file as a source of bytes for the parsers. */
typedef struct dlf_file_src {
	dlf_file *file;
	dlf_io *io;
} dlf_file_src;

dlf_src dlf_src_file(dlf_file_src *ctx);

#endif
