/* SPDX-License-Identifier: Apache-2.0 */
#include "dlf_disk_cache.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "dlf_crc.h"
#include "dlf_file_object.h"
#include "dlf_pool.h"

/* Of what is announced and comes as a stream. */
#define PIECE ((size_t)1 << 20)
/* A call for so many bytes brings them in parts at once. */
#define LARGE_PIECE ((size_t)16 << 20)
/* Before now on any clock that is right. */
#define STAMPS 1000000000u
#define ATTEMPTS 3
#define NOT_THERE 1

static const char magic[8] = "DLFdisk1";

/* An object that is looked for. */
typedef struct wanted {
	dlf_disk_cache *cache;
	const char *address;
	dlf_hint known;
	dlf_object *object; /* where it comes from, once open */
	time_t stamp;
	char name[DLF_DISK_NAME_MAX];
} wanted;

static void name_it(wanted *w)
{
	const dlf_disk_cache *c = w->cache;
	uint64_t hash = dlf_store_hash(c->seed, w->address, strlen(w->address));

	snprintf(w->name, sizeof(w->name), "%02x/%016llx-%016llx-%llx",
		 (unsigned)(hash >> 56), (unsigned long long)hash,
		 (unsigned long long)w->known.version,
		 (unsigned long long)w->known.size);
	w->stamp = (time_t)((c->stamp ^ hash ^ w->known.version) % STAMPS);
}

/* 0, DLF_ECHECKSUM, DLF_ECANCELLED, -errno. */
static int check_content(const wanted *w, dlf_io *io, dlf_file *file)
{
	unsigned char *memory = dlf_map(PIECE);
	dlf_disk_tail tail;
	uint32_t crc = 0;
	int rc = 0;

	if (!memory)
		return -ENOMEM;
	for (uint64_t at = 0; !rc && at < w->known.size; at += PIECE) {
		uint64_t rest = w->known.size - at;
		rc = dlf_file_read_crc32c(file, io, at, memory,
					  rest < PIECE ? rest : PIECE, &crc, NULL);
	}
	munmap(memory, PIECE);
	if (!rc)
		rc = dlf_file_read(file, io, w->known.size, &tail, sizeof(tail),
				   NULL, NULL);
	if (rc)
		return rc;
	return memcmp(tail.magic, magic, sizeof(magic)) ||
			       tail.size != w->known.size ||
			       tail.version != w->known.version ||
			       tail.crc32c != crc
		       ? DLF_ECHECKSUM
		       : 0;
}

/* Whoever may not set times checks more often, and has its files go earlier: nothing
 * to fail for. */
static void set_times(int fd, const struct timespec *modified)
{
	struct timespec times[2] = {{.tv_nsec = UTIME_NOW}, *modified};

	(void)futimens(fd, times);
}

/* Open the local copy; NOT_THERE. */
static int open_copy(const wanted *w, dlf_io *io, int flags, dlf_file *file,
		     dlf_fault *fault)
{
	const dlf_disk_cache *c = w->cache;
	char path[PATH_MAX];
	int n = snprintf(path, sizeof(path), "%s/%s", c->folder, w->name);

	if (n < 0 || n >= PATH_MAX ||
	    dlf_file_open_local(file, io, path, flags, NULL))
		return NOT_THERE;
	struct timespec modified = {.tv_nsec = UTIME_OMIT};
	int rc = file->size == w->known.size + sizeof(dlf_disk_tail)
			 ? 0
			 : DLF_ECHECKSUM;
	file->cached = 1;
	if (!rc && (file->mtime_sec != w->stamp || file->mtime_nsec)) {
		modified = (struct timespec){.tv_sec = w->stamp};
		rc = check_content(w, io, file);
	}
	if (rc) {
		close(file->fd);
		if (rc == DLF_ECANCELLED || rc == -ENOMEM)
			return dlf_fail(fault, rc, 0, "the local copy cannot be checked");
		c->discard(c->owner, w->name, file->inode);
		return NOT_THERE;
	}
	set_times(file->fd, &modified);
	/* From here on it is the object. */
	file->size = w->known.size;
	file->inode = w->known.version;
	file->mtime_sec = 0;
	file->mtime_nsec = 0;
	return 0;
}

static int open_inner(wanted *w, dlf_io *io, const dlf_hint *hint, dlf_fault *fault)
{
	dlf_store *inner = w->cache->inner;

	return w->object ? 0
			 : inner->ops->open(inner, io, w->address, hint, &w->object,
					    fault);
}

static void close_inner(wanted *w, dlf_io *io)
{
	if (w->object)
		w->object->store->ops->close(w->object, io);
	w->object = NULL;
}

static int write_all(int fd, const void *data, size_t len, uint64_t offset)
{
	const unsigned char *from = data;

	while (len) {
		ssize_t n = pwrite(fd, from, len, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -ENOSPC;
		from += n;
		offset += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

/* Bring the object's bytes to the descriptor.  What the disk refuses goes to *err: no
 * failure. */
static int copy(const wanted *w, dlf_io *io, int fd, int *err, dlf_fault *fault)
{
	dlf_object *object = w->object;
	const dlf_store *store = object->store;
	const uint64_t size = object->size;
	const size_t piece = size <= store->stream_most ? PIECE : LARGE_PIECE;
	dlf_disk_tail tail = {.size = size, .version = w->known.version};
	unsigned char *memory = dlf_map(piece);
	int rc = 0;

	if (!memory)
		return dlf_fail(fault, -ENOMEM, 0, "out of memory");
	if (piece == PIECE && size && store->ops->will_read)
		store->ops->will_read(object, io, 0, size);
	for (uint64_t at = 0; at < size && !*err; at += piece) {
		size_t part = size - at < piece ? (size_t)(size - at) : piece;
		rc = dlf_io_cancelled(io)
			     ? dlf_fail(fault, DLF_ECANCELLED, at, "cancelled")
			     : store->ops->read(object, io, at, memory, part, fault);
		if (rc)
			break;
		tail.crc32c = dlf_crc32c(tail.crc32c, memory, part);
		*err = write_all(fd, memory, part, at);
	}
	munmap(memory, piece);
	if (!rc && store->ops->check_unchanged)
		rc = store->ops->check_unchanged(object, io, fault);
	if (rc || *err)
		return rc;
	memcpy(tail.magic, magic, sizeof(magic));
	*err = write_all(fd, &tail, sizeof(tail), size);
	set_times(fd, &(struct timespec){.tv_sec = w->stamp});
	return 0;
}

/* Bring the object, and open the copy; NOT_THERE: it could not be kept. */
static int fetch(wanted *w, dlf_io *io, int fd, dlf_file *file, dlf_fault *fault)
{
	const dlf_disk_cache *c = w->cache;
	int err = 0;
	int rc = open_inner(w, io, &w->known, fault);

	if (!rc && w->object->size != w->known.size)
		rc = dlf_fail(fault, DLF_ECHANGED, 0,
			      "the object's size is not what it was when it was listed");
	if (!rc)
		rc = copy(w, io, fd, &err, fault);
	err = c->finish(c->owner, w->name, fd, rc ? 1 : err);
	if (rc)
		return rc;
	if (err)
		return NOT_THERE;
	io->stats.disk_cache_written += w->known.size;
	/* It is in the page cache, and maybe not on the disk yet. */
	return open_copy(w, io, 0, file, fault);
}

/* Find the local copy, or make one. */
static int look(wanted *w, dlf_io *io, dlf_file *file, dlf_fault *fault)
{
	const dlf_disk_cache *c = w->cache;
	int fd, rc = DLF_DISK_AGAIN;

	for (int i = 0; rc == DLF_DISK_AGAIN && i < ATTEMPTS; i++) {
		rc = w->known.version
			     ? open_copy(w, io, DLF_OPEN_DIRECT, file, fault)
			     : NOT_THERE;
		if (!rc)
			io->stats.disk_cache_hits++;
		if (rc != NOT_THERE)
			return rc;
		rc = c->begin(c->owner, io, w->name,
			      w->known.size + sizeof(dlf_disk_tail),
			      w->known.version, &fd);
	}
	if (rc < 0)
		return dlf_fail(fault, rc, 0, "cancelled");
	io->stats.disk_cache_misses++;
	return rc ? NOT_THERE : fetch(w, io, fd, file, fault);
}

static int open_file(dlf_store *store, dlf_io *io, const char *address,
		     const dlf_hint *hint, dlf_file *file, dlf_fault *fault)
{
	const dlf_hint nothing = {.size = UINT64_MAX};
	wanted w = {.cache = (dlf_disk_cache *)store,
		    .address = address,
		    .known = *hint};
	int rc = 0;

	/* Only its version tells whether a copy is still the object. */
	if (w.known.size == UINT64_MAX || !w.known.version) {
		rc = open_inner(&w, io, &nothing, fault);
		if (rc)
			return rc;
		w.known = (dlf_hint){.size = w.object->size,
				     .version = w.object->version};
	}
	if (w.known.size > INT64_MAX - sizeof(dlf_disk_tail))
		w.known.version = 0;
	name_it(&w);
	rc = look(&w, io, file, fault);
	if (rc == NOT_THERE) {
		rc = open_inner(&w, io, hint, fault);
		if (rc)
			return rc;
		*file = (dlf_file){.fd = -1};
		dlf_file_take_object(file, io, w.object);
		return 0;
	}
	close_inner(&w, io);
	return rc;
}

static void leave(dlf_store *store, dlf_io *io)
{
	dlf_store *inner = ((dlf_disk_cache *)store)->inner;

	if (inner->ops->leave)
		inner->ops->leave(inner, io);
}

const dlf_store_ops dlf_disk_cache_ops = {.open_file = open_file, .leave = leave};
