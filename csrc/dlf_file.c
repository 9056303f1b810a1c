/* SPDX-License-Identifier: Apache-2.0 */
#include "dlf_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "dlf_counters.h"
#include "dlf_crc.h"
#include "dlf_file_object.h"
#include "dlf_pool.h"

/* One buffered system call's worth: small enough that the block is still in the
 * second-level cache when its checksum is taken. */
#define BUFFERED_BLOCK ((size_t)256 << 10)
/* What the stage really holds: a whole huge page. */
#define STAGE_CAPACITY ((size_t)2 << 20)
#define PAGE 4096
#define UNKNOWN_ALIGN 4096
#define MAX_ALIGN 65536
#define EAGAIN_LIMIT 1000
/* Often enough for whoever waits after Ctrl-C. */
#define ASK_EVERY_NS 20000000u

_Static_assert(DLF_STAGE_SIZE + 2 * MAX_ALIGN <= STAGE_CAPACITY,
	       "the stage holds a block and the partial ones around it");

int dlf_io_init(dlf_io *io, const atomic_int *cancel)
{
	memset(io, 0, sizeof(*io));
	io->cancel = cancel;
	/* On small pages the kernel would split each request into many
	 * segments, which costs a third of the throughput. */
	io->stage = dlf_map(STAGE_CAPACITY);
	return io->stage ? 0 : -ENOMEM;
}

void dlf_io_use(dlf_io *io, dlf_store *store)
{
	if (io->store == store)
		return;
	if (io->store && io->store->ops->leave)
		io->store->ops->leave(io->store, io);
	io->store = store;
}

void dlf_io_free(dlf_io *io)
{
	dlf_io_use(io, NULL);
	if (io->stage)
		munmap(io->stage, STAGE_CAPACITY);
	io->stage = NULL;
}

static void note_fallback(dlf_io *io, const char *reason, int err)
{
	io->stats.fallbacks++;
	io->stats.fallback_reason = reason;
	io->stats.fallback_errno = err;
}

static int open_retry(const char *path, int flags)
{
	int fd;

	do
		fd = open(path, flags);
	while (fd < 0 && errno == EINTR);
	return fd < 0 ? -errno : fd;
}

/* Take the alignment from statx's answer, or turn O_DIRECT off again. */
static void settle_direct(dlf_file *file, dlf_io *io, const struct statx *st)
{
	file->align = UNKNOWN_ALIGN;
#ifdef STATX_DIOALIGN
	if (st->stx_mask & STATX_DIOALIGN) {
		uint32_t mem = st->stx_dio_mem_align;
		uint32_t offset = st->stx_dio_offset_align;
		file->align = mem > offset ? mem : offset;
		if (!mem || !offset || file->align > MAX_ALIGN) {
			file->direct = 0;
			file->align = PAGE;
			fcntl(file->fd, F_SETFL, 0);
			note_fallback(io, "the file system does not offer "
				      "O_DIRECT for this file", 0);
		}
	}
#else
	(void)st;
	(void)io;
#endif
}

int dlf_file_open_local(dlf_file *file, dlf_io *io, const char *path, int flags,
			dlf_fault *fault)
{
	/* O_NONBLOCK: opening a FIFO must not wait for a writer. */
	const int base = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
	unsigned mask = STATX_TYPE | STATX_SIZE | STATX_MTIME | STATX_INO;
	struct statx st;
	int fd = -EINVAL, refused = 0;

	*file = (dlf_file){.fd = -1, .direct = !!(flags & DLF_OPEN_DIRECT)};
	file->align = PAGE;
	if (file->direct) {
		fd = open_retry(path, base | O_DIRECT);
		if (fd == -EINVAL || fd == -EOPNOTSUPP) {
			refused = -fd;
			file->direct = 0;
		}
	}
	if (!file->direct)
		fd = open_retry(path, base);
	if (fd == -ENXIO)
		return dlf_fail(fault, DLF_ENOTREGULAR, 0,
				"is a socket, or a device without a driver");
	if (fd < 0)
		return dlf_fail(fault, fd, 0, "cannot be opened");
#ifdef STATX_DIOALIGN
	if (file->direct)
		mask |= STATX_DIOALIGN;
#endif
	file->fd = fd;
	if (statx(fd, "", AT_EMPTY_PATH, mask, &st)) {
		int err = -errno;
		close(fd);
		return dlf_fail(fault, err, 0, "statx failed");
	}
	if (!S_ISREG(st.stx_mode)) {
		close(fd);
		if (S_ISDIR(st.stx_mode))
			return dlf_fail(fault, -EISDIR, 0, "is a directory");
		return dlf_fail(fault, DLF_ENOTREGULAR, 0,
				"is not a regular file");
	}
	file->size = st.stx_size;
	file->inode = st.stx_ino;
	file->mtime_sec = st.stx_mtime.tv_sec;
	file->mtime_nsec = st.stx_mtime.tv_nsec;
	if (refused)
		note_fallback(io, "the file system refuses O_DIRECT at open",
			      refused);
	if (file->direct)
		settle_direct(file, io, &st);
	return 0;
}

int dlf_file_open_known(dlf_file *file, dlf_io *io, const char *path, int flags,
			const dlf_hint *hint, dlf_fault *fault)
{
	*file = (dlf_file){.fd = -1};
	int rc = io->store ? dlf_file_open_object(file, io, path, hint, fault)
			   : dlf_file_open_local(file, io, path, flags, fault);
	if (rc)
		return rc;
	io->stats.files++;
	file->generation = dlf_fork_generation();
	dlf_count(DLF_COUNT_OPEN_FILES, 1);
	return 0;
}

int dlf_file_open(dlf_file *file, dlf_io *io, const char *path, int flags,
		  dlf_fault *fault)
{
	return dlf_file_open_known(file, io, path, flags, NULL, fault);
}

/* One system call, retried; returns bytes (0: end of file) or -errno. */
static ssize_t read_some(dlf_file *file, dlf_io *io, void *dst, size_t len,
			 uint64_t offset)
{
	for (int waits = 0;;) {
		uint64_t begin = dlf_now_ns();
		ssize_t n = pread(file->fd, dst, len, (off_t)offset);
		if (n >= 0) {
			io->stats.latency[dlf_latency_bucket(dlf_now_ns() - begin)]++;
			io->stats.reads++;
			io->stats.bytes += (uint64_t)n;
			if (file->direct)
				io->stats.direct_bytes += (uint64_t)n;
			if (file->cached)
				io->stats.disk_cache_bytes += (uint64_t)n;
			return n;
		}
		if (errno == EINTR)
			continue;
		if (errno == EAGAIN && waits++ < EAGAIN_LIMIT) {
			nanosleep(&(struct timespec){0, 1000000}, NULL);
			continue;
		}
		if (errno == EINVAL && file->direct) {
			/* accepted at open, refused at the first read */
			file->direct = 0;
			fcntl(file->fd, F_SETFL, 0);
			note_fallback(io, "the file system refuses O_DIRECT reads",
				      EINVAL);
			continue;
		}
		return -errno;
	}
}

int dlf_io_cancelled(dlf_io *io)
{
	if (io->cancel && atomic_load_explicit(io->cancel, memory_order_relaxed))
		return 1;
	if (!io->interrupted)
		return 0;
	uint64_t now = dlf_now_ns();
	if (now - io->asked_ns < ASK_EVERY_NS)
		return 0;
	io->asked_ns = now;
	return io->interrupted();
}

/* Read [offset, offset + span) to dst, of which the first `want` bytes must
 * come; the rest may lie past the end of the file. */
static int read_block(dlf_file *file, dlf_io *io, uint64_t offset,
		      unsigned char *dst, size_t span, size_t want,
		      dlf_fault *fault)
{
	size_t done = 0;

	if (dlf_io_cancelled(io))
		return dlf_fail(fault, DLF_ECANCELLED, offset, "cancelled");
	if (file->object)
		return file->object->store->ops->read(file->object, io, offset, dst,
						      want, fault);
	while (done < want) {
		ssize_t n = read_some(file, io, dst + done, span - done,
				      offset + done);
		if (n < 0)
			return dlf_fail(fault, (int)n, offset + done,
					"reading failed");
		done += (size_t)n;
		/* A direct read stops inside a block only at the end of the
		 * file; asked again, it would return the same bytes for ever. */
		int ended = n == 0 || (file->direct && done % file->align);
		if (ended && done < want)
			return dlf_fail(fault, DLF_ECHANGED, offset + done,
					"the file shrank while being read");
	}
	return 0;
}

typedef struct sum {
	uint32_t *crc; /* continued over what is read */
	uint32_t (*over)(uint32_t crc, const void *data, size_t n);
	uint32_t (*copy)(uint32_t crc, void *dst, const void *src, size_t n);
} sum;

/* Read through the stage: aligned blocks, of which the wanted part is copied
 * out, with its checksum in the same pass. */
static int read_staged(dlf_file *file, dlf_io *io, uint64_t offset,
		       unsigned char *dst, size_t len, const sum *sum,
		       dlf_fault *fault)
{
	const size_t block = file->direct ? DLF_STAGE_SIZE : BUFFERED_BLOCK;

	while (len) {
		size_t skip = offset % file->align;
		size_t part = block - skip;
		if (part > len)
			part = len;
		size_t want = skip + part;
		size_t span = (want + file->align - 1) / file->align *
			      file->align;
		int rc = read_block(file, io, offset - skip, io->stage, span,
				    want, fault);
		if (rc)
			return rc;
		if (sum)
			*sum->crc = sum->copy(*sum->crc, dst, io->stage + skip,
					      part);
		else
			dlf_copy_stream(dst, io->stage + skip, part);
		io->stats.staged_bytes += part;
		offset += part;
		dst += part;
		len -= part;
	}
	return 0;
}

/* Read straight to dst in blocks, each checksummed while it is in cache. */
static int read_in_place(dlf_file *file, dlf_io *io, uint64_t offset,
			 unsigned char *dst, size_t len, size_t block,
			 const sum *sum, dlf_fault *fault)
{
	while (len) {
		size_t part = len < block ? len : block;
		int rc = read_block(file, io, offset, dst, part, part, fault);
		if (rc)
			return rc;
		if (sum)
			*sum->crc = sum->over(*sum->crc, dst, part);
		offset += part;
		dst += part;
		len -= part;
	}
	return 0;
}

static int read_range(dlf_file *file, dlf_io *io, uint64_t offset, void *dst,
		      size_t len, const sum *sum, dlf_fault *fault)
{
	unsigned char *to = dst;
	int rc;

	if (offset > file->size || len > file->size - offset)
		return dlf_fail(fault, DLF_ETRUNCATED, file->size,
				"the file is shorter than its own headers say");
	size_t block = file->object ? dlf_file_object_piece(file, io, offset, len, !!sum)
				    : BUFFERED_BLOCK;
	/* The kernel's own copy slows down, by up to three times, where page
	 * cache and destination disagree modulo a cache line. */
	if (file->object ||
	    (!file->direct && (len < PAGE || !((offset - (uintptr_t)to) % 64))))
		return read_in_place(file, io, offset, to, len, block, sum, fault);
	if (!file->direct || (offset - (uintptr_t)to) % file->align)
		return read_staged(file, io, offset, to, len, sum, fault);

	/* Aligned alike: only the ends need the stage. */
	size_t head = (file->align - offset % file->align) % file->align;
	if (head > len)
		head = len;
	rc = read_staged(file, io, offset, to, head, sum, fault);
	if (rc)
		return rc;
	offset += head;
	to += head;
	len -= head;
	size_t body = len - len % file->align;
	rc = read_in_place(file, io, offset, to, body, DLF_STAGE_SIZE, sum,
			   fault);
	if (rc)
		return rc;
	return read_staged(file, io, offset + body, to + body, len - body, sum,
			   fault);
}

int dlf_file_read(dlf_file *file, dlf_io *io, uint64_t offset, void *dst,
		  size_t len, uint32_t *crc, dlf_fault *fault)
{
	sum crc32 = {crc, dlf_crc32, dlf_crc32_copy};
	return read_range(file, io, offset, dst, len, crc ? &crc32 : NULL, fault);
}

int dlf_file_read_crc32c(dlf_file *file, dlf_io *io, uint64_t offset, void *dst,
			 size_t len, uint32_t *crc, dlf_fault *fault)
{
	sum crc32c = {crc, dlf_crc32c, dlf_crc32c_copy};
	return read_range(file, io, offset, dst, len, crc ? &crc32c : NULL, fault);
}

int dlf_file_check_unchanged(const dlf_file *file, dlf_fault *fault)
{
	struct stat st;

	if (file->object)
		return dlf_file_check_object(file, fault);
	if (file->cached)
		return 0;
	if (fstat(file->fd, &st))
		return dlf_fail(fault, -errno, 0, "fstat failed");
	if ((uint64_t)st.st_size != file->size ||
	    st.st_mtim.tv_sec != file->mtime_sec ||
	    st.st_mtim.tv_nsec != (long)file->mtime_nsec)
		return dlf_fail(fault, DLF_ECHANGED, file->size,
				"the file changed while being read");
	return 0;
}

void dlf_file_close(dlf_file *file)
{
	if (file->object)
		dlf_file_close_object(file);
	else
		close(file->fd);
	file->fd = -1;
	if (file->generation == dlf_fork_generation())
		dlf_count(DLF_COUNT_OPEN_FILES, -1);
}

static int src_read(void *ctx, uint64_t offset, void *dst, size_t len,
		    dlf_fault *fault)
{
	dlf_file_src *src = ctx;

	return dlf_file_read(src->file, src->io, offset, dst, len, NULL, fault);
}

dlf_src dlf_src_file(dlf_file_src *ctx)
{
	return (dlf_src){ctx->file->size, src_read, ctx};
}
