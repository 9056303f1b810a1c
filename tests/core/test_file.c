/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading files: every range comes back right, buffered and past the page cache,
 * at any alignment; what is no regular file, and what changes, is refused.
 */
#include "dlf_file.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "check.h"
#include "dlf_crc.h"

#define MIB ((size_t)1 << 20)
#define ROOM (5 * MIB)

static char folder[64], path[80];
static unsigned char *contents, *memory; /* ROOM bytes each, on pages */
static dlf_io io;
static dlf_fault fault;

static void set_up(const char *parent)
{
	snprintf(folder, sizeof(folder), "%s/test_file.XXXXXX", parent);
	CHECK(mkdtemp(folder) != NULL);
	snprintf(path, sizeof(path), "%s/data", folder);
	contents = aligned_alloc(4096, ROOM);
	memory = aligned_alloc(4096, ROOM);
	uint64_t state = 88172645463325252u;
	for (size_t i = 0; i < ROOM; i++) {
		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		contents[i] = (unsigned char)(state >> 32);
	}
	CHECK_EQ(dlf_io_init(&io, NULL), 0);
}

static void tear_down(void)
{
	dlf_io_free(&io);
	free(contents);
	free(memory);
	unlink(path);
	CHECK_EQ(rmdir(folder), 0);
}

static void write_file(size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	CHECK(fd >= 0);
	for (size_t done = 0; done < size;) {
		ssize_t n = write(fd, contents + done, size - done);
		CHECK(n > 0);
		done += (size_t)n;
	}
	fsync(fd);
	close(fd);
}

static int open_file(dlf_file *file, int flags)
{
	dlf_fault_clear(&fault);
	return dlf_file_open(file, &io, path, flags, &fault);
}

/* Read the range to memory + shift; right bytes, right checksum, and not a byte
 * beside them. */
static int range_is_right(dlf_file *file, uint64_t offset, size_t len,
			  size_t shift)
{
	unsigned char *dst = memory + 64 + shift;
	uint32_t crc = 0x1234;
	int good;

	memset(memory, 0xee, 64 + shift);
	dst[len] = 0xee;
	good = !(len & 1 ? dlf_file_read : dlf_file_read_crc32c)(
		file, &io, offset, dst, len, &crc, &fault);
	good = good && !memcmp(dst, contents + offset, len);
	good &= crc == (len & 1 ? dlf_crc32 : dlf_crc32c)(0x1234, contents + offset, len);
	good = good && dst[-1] == 0xee && dst[len] == 0xee;
	if (!good)
		fprintf(stderr, "offset %llu, length %zu, shift %zu: code %d\n",
			(unsigned long long)offset, len, shift, fault.code);
	return good;
}

/* Offsets and lengths around the edges of sectors, pages and whole blocks. */
static void every_range_comes_back(int flags)
{
	static const size_t sizes[] = {1, 511, 512, 513, 4095, 4096, 4097, 8192,
				       100000, MIB - 1, MIB, MIB + 1,
				       2 * MIB + 4096, 3 * MIB + 77};
	static const size_t edges[] = {0, 1, 63, 64, 511, 512, 513, 4095, 4096,
				       4097, 8191, 8192, 262144, 262145,
				       MIB - 1, MIB, MIB + 1, 2 * MIB};
	static const size_t shifts[] = {0, 1, 64, 448, 4032};
	enum { EDGES = sizeof(edges) / sizeof(edges[0]) };

	for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
		size_t size = sizes[s];
		dlf_file file;

		write_file(size);
		CHECK_EQ(open_file(&file, flags), 0);
		CHECK_EQ(file.size, size);
		for (size_t o = 0; o < 2 * EDGES; o++) {
			/* from the front, and from the back */
			size_t offset = edges[o % EDGES];
			if (offset > size)
				continue;
			if (o >= EDGES)
				offset = size - offset;
			for (size_t l = 0; l < EDGES; l++) {
				size_t left = size - offset;
				size_t len = edges[l] < left ? edges[l] : left;
				size_t shift = shifts[(o + l) % 5];
				CHECK(range_is_right(&file, offset, len, shift));
			}
		}
		for (size_t k = 0; k < 5; k++)
			CHECK(range_is_right(&file, 0, size, shifts[k]));
		dlf_file_close(&file);
	}
}

static void direct_reads_are_direct_or_say_why_not(void)
{
	dlf_file file;

	memset(&io.stats, 0, sizeof(io.stats));
	write_file(MIB + 100);
	CHECK_EQ(open_file(&file, DLF_OPEN_DIRECT), 0);
	CHECK(range_is_right(&file, 0, MIB + 100, 4032));
	CHECK_EQ(io.stats.files, 1);
	CHECK(io.stats.bytes >= MIB + 100);
	CHECK(io.stats.reads > 0);
	if (file.direct) {
		CHECK_EQ(io.stats.direct_bytes, io.stats.bytes);
		CHECK_EQ(io.stats.fallbacks, 0);
		CHECK(io.stats.fallback_reason == NULL);
		CHECK(file.align >= 512 && file.align <= 65536);
		CHECK(io.stats.staged_bytes < 2 * file.align);
	} else {
		CHECK_EQ(io.stats.direct_bytes, 0);
		CHECK_EQ(io.stats.fallbacks, 1);
		CHECK(io.stats.fallback_reason != NULL);
	}
	dlf_file_close(&file);
}

static void ranges_beyond_the_file_are_refused(int flags)
{
	static const struct { uint64_t offset; size_t len; } beyond[] = {
		{0, 5001}, {5000, 1}, {5001, 0}, {4999, 2}, {UINT64_MAX, 1},
		{UINT64_MAX - 10, 20}, {1, SIZE_MAX}, {(uint64_t)1 << 63, 1},
	};
	dlf_file file;

	write_file(5000);
	CHECK_EQ(open_file(&file, flags), 0);
	for (size_t i = 0; i < sizeof(beyond) / sizeof(beyond[0]); i++) {
		int rc = dlf_file_read(&file, &io, beyond[i].offset, memory,
				       beyond[i].len, NULL, &fault);
		CHECK_EQ(rc, DLF_ETRUNCATED);
		CHECK_EQ(fault.code, DLF_ETRUNCATED);
	}
	CHECK(range_is_right(&file, 5000, 0, 0));
	dlf_file_close(&file);
}

static void an_empty_file_is_read(int flags)
{
	dlf_file file;

	write_file(0);
	CHECK_EQ(open_file(&file, flags), 0);
	CHECK_EQ(file.size, 0);
	CHECK(range_is_right(&file, 0, 0, 1));
	CHECK_EQ(dlf_file_read(&file, &io, 0, memory, 1, NULL, &fault),
		 DLF_ETRUNCATED);
	dlf_file_close(&file);
}

/* To nothing, to whole blocks, and to an odd number of bytes. */
static void a_file_that_shrinks_is_noticed(int flags)
{
	static const off_t sizes[] = {0, 1, 100, 4096, 5000, (off_t)MIB,
				      (off_t)MIB + 4096, 2 * (off_t)MIB - 1};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		for (size_t shift = 0; shift < 2; shift++) {
			dlf_file file;

			write_file(2 * MIB);
			CHECK_EQ(open_file(&file, flags), 0);
			CHECK_EQ(truncate(path, sizes[i]), 0);
			dlf_fault_clear(&fault);
			CHECK_EQ(dlf_file_read(&file, &io, 0, memory + shift,
					       2 * MIB, NULL, &fault),
				 DLF_ECHANGED);
			CHECK_EQ(fault.code, DLF_ECHANGED);
			CHECK(fault.offset <= (uint64_t)sizes[i]);
			CHECK_EQ(dlf_file_check_unchanged(&file, &fault),
				 DLF_ECHANGED);
			dlf_file_close(&file);
		}
}

static void a_change_is_noticed(void)
{
	struct timespec times[2] = {{0, UTIME_OMIT}, {1, 1}};
	dlf_file file;

	write_file(4096);
	CHECK_EQ(open_file(&file, 0), 0);
	CHECK_EQ(dlf_file_check_unchanged(&file, &fault), 0);
	CHECK_EQ(utimensat(AT_FDCWD, path, times, 0), 0);
	CHECK_EQ(dlf_file_check_unchanged(&file, &fault), DLF_ECHANGED);
	dlf_file_close(&file);

	/* one that grows is another file, too */
	CHECK_EQ(open_file(&file, 0), 0);
	CHECK_EQ(truncate(path, 4097), 0);
	CHECK_EQ(dlf_file_check_unchanged(&file, &fault), DLF_ECHANGED);
	dlf_file_close(&file);

	/* one that takes its name is not: the open one stays what it was */
	CHECK_EQ(open_file(&file, 0), 0);
	unlink(path);
	write_file(10);
	CHECK_EQ(dlf_file_check_unchanged(&file, &fault), 0);
	CHECK(range_is_right(&file, 0, 4096, 0));
	dlf_file_close(&file);
}

static void only_regular_files_are_opened(int flags)
{
	char long_path[6000], name[300];
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	dlf_file file;
	int listener = socket(AF_UNIX, SOCK_STREAM, 0);

	unlink(path);
	CHECK_EQ(open_file(&file, flags), -ENOENT);
	CHECK_EQ(mkfifo(path, 0600), 0);
	CHECK_EQ(open_file(&file, flags), DLF_ENOTREGULAR);
	unlink(path);
	CHECK_EQ(mkdir(path, 0700), 0);
	CHECK_EQ(open_file(&file, flags), -EISDIR);
	rmdir(path);
	CHECK_EQ(symlink("data", path), 0);
	CHECK_EQ(open_file(&file, flags), -ELOOP);
	unlink(path);
	CHECK_EQ(symlink("/dev/zero", path), 0);
	CHECK_EQ(open_file(&file, flags), DLF_ENOTREGULAR);
	unlink(path);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	CHECK_EQ(bind(listener, (void *)&address, sizeof(address)), 0);
	CHECK_EQ(open_file(&file, flags), DLF_ENOTREGULAR);
	close(listener);
	unlink(path);

	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	CHECK_EQ(dlf_file_open(&file, &io, name, flags, &fault), -ENAMETOOLONG);
	memset(long_path, '/', sizeof(long_path) - 1);
	long_path[sizeof(long_path) - 1] = '\0';
	CHECK_EQ(dlf_file_open(&file, &io, long_path, flags, &fault),
		 -ENAMETOOLONG);
	CHECK_EQ(dlf_file_open(&file, &io, "", flags, &fault), -ENOENT);

	/* a link to a file is as good as the file */
	char target[140];
	snprintf(target, sizeof(target), "%s.target", path);
	write_file(1000);
	CHECK_EQ(rename(path, target), 0);
	CHECK_EQ(symlink(strrchr(target, '/') + 1, path), 0);
	CHECK_EQ(open_file(&file, flags), 0);
	CHECK(range_is_right(&file, 0, 1000, 0));
	dlf_file_close(&file);
	unlink(target);
	unlink(path);
}

static void no_descriptor_is_left(int flags)
{
	int before = dup(0), after;
	dlf_file file;

	close(before);
	CHECK_EQ(mkfifo(path, 0600), 0);
	for (int i = 0; i < 100; i++)
		CHECK_EQ(open_file(&file, flags), DLF_ENOTREGULAR);
	unlink(path);
	write_file(100);
	for (int i = 0; i < 100; i++) {
		CHECK_EQ(open_file(&file, flags), 0);
		CHECK(fcntl(file.fd, F_GETFD) & FD_CLOEXEC);
		dlf_file_close(&file);
	}
	after = dup(0);
	close(after);
	CHECK_EQ(after, before);
}

static void a_request_to_stop_is_heeded(int flags)
{
	atomic_int cancel;
	dlf_io own;
	dlf_file file;

	atomic_init(&cancel, 0);
	CHECK_EQ(dlf_io_init(&own, &cancel), 0);
	write_file(2 * MIB);
	CHECK_EQ(open_file(&file, flags), 0);
	CHECK_EQ(dlf_file_read(&file, &own, 0, memory, 100, NULL, &fault), 0);
	atomic_store(&cancel, 1);
	CHECK_EQ(dlf_file_read(&file, &own, 0, memory, 2 * MIB, NULL, &fault),
		 DLF_ECANCELLED);
	CHECK_EQ(fault.code, DLF_ECANCELLED);
	dlf_file_close(&file);
	dlf_io_free(&own);
}

static void on_alarm(int signal)
{
	(void)signal;
}

/* Signals that interrupt system calls do not interrupt reading. */
static void signals_do_no_harm(int flags)
{
	struct sigaction act = {.sa_handler = on_alarm}, old;
	struct itimerval often = {{0, 50}, {0, 50}}, never = {{0, 0}, {0, 0}};
	dlf_file file;

	write_file(4 * MIB);
	sigaction(SIGALRM, &act, &old);
	setitimer(ITIMER_REAL, &often, NULL);
	for (int i = 0; i < 20; i++) {
		CHECK_EQ(open_file(&file, flags), 0);
		CHECK(range_is_right(&file, (uint64_t)i * 1000, 3 * MIB, 7));
		dlf_file_close(&file);
	}
	setitimer(ITIMER_REAL, &never, NULL);
	sigaction(SIGALRM, &old, NULL);
}

static void a_source_reads_the_file(void)
{
	dlf_file file;
	dlf_file_src ctx = {&file, &io};
	unsigned char bytes[64];

	write_file(200);
	CHECK_EQ(open_file(&file, 0), 0);
	dlf_src src = dlf_src_file(&ctx);
	CHECK_EQ(src.size, 200);
	CHECK_EQ(dlf_src_read(&src, 136, bytes, 64, &fault), 0);
	CHECK(!memcmp(bytes, contents + 136, 64));
	CHECK_EQ(dlf_src_read(&src, 137, bytes, 64, &fault), DLF_ETRUNCATED);
	dlf_file_close(&file);
}

static void everything_holds_below(const char *parent)
{
	set_up(parent);
	for (int flags = 0; flags <= DLF_OPEN_DIRECT; flags += DLF_OPEN_DIRECT) {
		every_range_comes_back(flags);
		ranges_beyond_the_file_are_refused(flags);
		an_empty_file_is_read(flags);
		a_file_that_shrinks_is_noticed(flags);
		only_regular_files_are_opened(flags);
		no_descriptor_is_left(flags);
		a_request_to_stop_is_heeded(flags);
		signals_do_no_harm(flags);
	}
	direct_reads_are_direct_or_say_why_not();
	a_change_is_noticed();
	a_source_reads_the_file();
	tear_down();
}

void test_file(void)
{
	everything_holds_below("."); /* where O_DIRECT usually works */
	if (!access("/dev/shm", W_OK)) /* and where it often does not */
		everything_holds_below("/dev/shm");
}
