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
#include "dlf_io_stats.h"
#include "dlf_src.h"
#include "dlf_store.h"

/* What one thread needs to read: a staging block, counters, where to look for a
 * request to stop, and where paths lead. */
typedef struct dlf_io {
	unsigned char *stage;
	const atomic_int *cancel; /* NULL: cannot be cancelled */
	int (*interrupted)(void); /* asked now and then; NULL: nobody to ask */
	uint64_t asked_ns;
	dlf_store *store; /* paths lead there; NULL: they are local */
	void *kept;       /* the store's, for this thread */
	dlf_io_stats stats;
} dlf_io;

#define DLF_STAGE_SIZE ((size_t)1 << 20)

int dlf_io_init(dlf_io *io, const atomic_int *cancel);
void dlf_io_free(dlf_io *io);

/* From now on paths lead to that store (NULL: they are local), which must live until
 * the next call or dlf_io_free. */
void dlf_io_use(dlf_io *io, dlf_store *store);

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
	dlf_object *object;  /* of a store, which it is then; NULL: a local file */
	int cached;          /* a local copy of an object: inode is its version */
	dlf_io *io;          /* that opened the object */
} dlf_file;

enum { DLF_OPEN_DIRECT = 1 };

/* Open for reading.  A directory is -EISDIR, other things that are no regular
 * file DLF_ENOTREGULAR; opening a FIFO does not block. */
int dlf_file_open(dlf_file *file, dlf_io *io, const char *path, int flags,
		  dlf_fault *fault);

/* The same, of which something may be known; local files are looked at anyway. */
int dlf_file_open_known(dlf_file *file, dlf_io *io, const char *path, int flags,
			const dlf_hint *hint, dlf_fault *fault);

/* The range will be read from its beginning to its end: spares an object requests. */
void dlf_file_will_read(dlf_file *file, dlf_io *io, uint64_t offset, uint64_t len);

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

/* DLF_ECHANGED if size or modification time differ from those at opening.  A copy of
 * an object is written once, and later ones are other files. */
int dlf_file_check_unchanged(const dlf_file *file, dlf_fault *fault);

void dlf_file_close(dlf_file *file);

/* A file as a source of bytes for the parsers. */
typedef struct dlf_file_src {
	dlf_file *file;
	dlf_io *io;
} dlf_file_src;

dlf_src dlf_src_file(dlf_file_src *ctx);

#endif
