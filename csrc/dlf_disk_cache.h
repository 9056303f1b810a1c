/* SPDX-License-Identifier: Apache-2.0
 *
 * A store that stands before another one and keeps its objects on local disk.
 *
 * An object with a version lies whole in a file of its own, whose name tells address,
 * version and size, and is read from there like any local file: past the page cache,
 * and with no request.  What may be kept and what has to go is for the owner to say,
 * who is asked only when an object is not there.
 *
 * Such a file is the object's bytes and a dlf_disk_tail.  Its modification time is set
 * to what the owner's `stamp` makes of its name (whole seconds before 2002, which no
 * clock shows): another one tells that the file was written to, or that the machine
 * was started anew since and may have lost what was not on the disk yet; then the
 * checksum is looked at before the file is used.  The time of access is that of the
 * last opening.
 */
#ifndef DLF_DISK_CACHE_H
#define DLF_DISK_CACHE_H

#include "dlf_file.h"

/* What follows the bytes of an object, in the machine's own byte order. */
typedef struct dlf_disk_tail {
	char magic[8];
	uint64_t size;
	uint64_t version;
	uint32_t crc32c; /* of the object's bytes */
	uint32_t zero;
} dlf_disk_tail;

/* Why there is no file to be filled. */
enum {
	DLF_DISK_ELSEWHERE = 1, /* the object cannot be kept: read it where it is */
	DLF_DISK_AGAIN = 2,     /* somebody else has brought it meanwhile */
};

#define DLF_DISK_NAME_MAX 64

typedef struct dlf_disk_cache {
	dlf_store base;
	dlf_store *inner;
	const char *folder;
	uint64_t seed;  /* dlf_store_hash of what tells this store from others */
	uint64_t stamp; /* another one after each start of the machine */
	void *owner;
	/* Make room for a file of so many bytes, the tail included; of several that
	 * want the same one, one goes on and the others wait.  0: *fd is to be filled;
	 * one of the above (always ELSEWHERE without a version); DLF_ECANCELLED. */
	int (*begin)(void *owner, dlf_io *io, const char *name, uint64_t bytes,
		     uint64_t version, int *fd);
	/* Ends what begin began; the descriptor is closed.  With err 0 the file gets
	 * its name, else it is removed: -errno of a write, 1: it was not the disk's
	 * fault.  Nonzero: it is not kept. */
	int (*finish)(void *owner, const char *name, int fd, int err);
	/* That file (not one that has taken its place) is damaged. */
	void (*discard)(void *owner, const char *name, uint64_t inode);
} dlf_disk_cache;

extern const dlf_store_ops dlf_disk_cache_ops;

#endif
