/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "dlf_disk_cache.h"
#include "dlf_store.h"

#define SIZE 100000
#define TAIL sizeof(dlf_disk_tail)

static unsigned char content[SIZE];

/* A store whose only object is in memory, and what is asked of it. */
typedef struct memory_store {
	dlf_store base;
	uint64_t size;
	int opened, closed, read, left;
	int fails; /* from the second read on */
} memory_store;

static int memory_open(dlf_store *base, dlf_io *io, const char *address,
		       const dlf_hint *hint, dlf_object **out, dlf_fault *fault)
{
	memory_store *store = (memory_store *)base;

	(void)io;
	(void)hint;
	if (strcmp(address, "m://a"))
		return dlf_fail(fault, -ENOENT, 0, "is not there");
	*out = calloc(1, sizeof(**out));
	**out = (dlf_object){base, store->size, 7};
	store->opened++;
	return 0;
}

static int memory_read(dlf_object *object, dlf_io *io, uint64_t offset, void *dst,
		       size_t len, dlf_fault *fault)
{
	memory_store *store = (memory_store *)object->store;

	(void)io;
	if (store->read++ && store->fails)
		return dlf_fail(fault, DLF_ESTORE, offset, "fails");
	memcpy(dst, content + offset, len);
	return 0;
}

static void memory_close(dlf_object *object, dlf_io *io)
{
	(void)io;
	((memory_store *)object->store)->closed++;
	free(object);
}

static void memory_leave(dlf_store *store, dlf_io *io)
{
	(void)io;
	((memory_store *)store)->left++;
}

static const dlf_store_ops memory_ops = {
	.open = memory_open,
	.read = memory_read,
	.close = memory_close,
	.leave = memory_leave,
};

/* An owner that keeps everything, or does what it is told to. */
typedef struct keeper {
	dlf_disk_cache cache;
	memory_store inner;
	char folder[PATH_MAX];
	char name[DLF_DISK_NAME_MAX]; /* of the latest */
	int answer;
	int finished, err, discarded;
} keeper;

static void path_of(const keeper *k, const char *name, char *path)
{
	CHECK(snprintf(path, PATH_MAX, "%s/%s", k->folder, name) < PATH_MAX);
}

static int begin(void *owner, dlf_io *io, const char *name, uint64_t bytes,
		 uint64_t version, int *fd)
{
	keeper *k = owner;
	char path[PATH_MAX];

	(void)io;
	CHECK(version == 7);
	CHECK(bytes == k->inner.size + TAIL);
	if (k->answer)
		return k->answer;
	snprintf(k->name, sizeof(k->name), "%s", name);
	path_of(k, "part", path);
	*fd = open(path, O_CREAT | O_TRUNC | O_RDWR, 0600);
	CHECK(*fd >= 0);
	return 0;
}

static int finish(void *owner, const char *name, int fd, int err)
{
	keeper *k = owner;
	char part[PATH_MAX], path[PATH_MAX];

	close(fd);
	k->finished++;
	k->err = err;
	path_of(k, "part", part);
	path_of(k, name, path);
	if (err)
		return unlink(part), 1;
	*strrchr(path, '/') = '\0';
	mkdir(path, 0700);
	path_of(k, name, path);
	CHECK(!rename(part, path));
	return 0;
}

static void discard(void *owner, const char *name, uint64_t inode)
{
	keeper *k = owner;
	char path[PATH_MAX];
	struct stat st;

	path_of(k, name, path);
	CHECK(!stat(path, &st) && st.st_ino == inode);
	unlink(path);
	k->discarded++;
}

static void set_up(keeper *k, dlf_io *io, uint64_t size)
{
	*k = (keeper){.folder = "/tmp/dlio-fast-disk-cache-XXXXXX"};
	CHECK(mkdtemp(k->folder));
	k->inner = (memory_store){.base = {.ops = &memory_ops}, .size = size};
	k->cache = (dlf_disk_cache){
		.base = {.ops = &dlf_disk_cache_ops},
		.inner = &k->inner.base,
		.folder = k->folder,
		.stamp = 1,
		.owner = k,
		.begin = begin,
		.finish = finish,
		.discard = discard,
	};
	for (size_t i = 0; i < SIZE; i++)
		content[i] = (unsigned char)(i * 7 + i / 256);
	CHECK(!dlf_io_init(io, NULL));
	dlf_io_use(io, &k->cache.base);
}

static void tear_down(keeper *k, dlf_io *io)
{
	char path[PATH_MAX];

	dlf_io_free(io);
	CHECK(k->inner.opened == k->inner.closed);
	CHECK(k->inner.left == 1);
	if (*k->name) {
		path_of(k, k->name, path);
		unlink(path);
		*strrchr(path, '/') = '\0';
		rmdir(path);
	}
	CHECK(!rmdir(k->folder));
}

/* Read the object from its beginning to its end, with the size and version known. */
static int read_it(keeper *k, dlf_io *io)
{
	dlf_hint hint = {.size = k->inner.size, .version = 7};
	unsigned char *found = malloc(SIZE);
	dlf_fault fault;
	dlf_file file;
	int rc = dlf_file_open_known(&file, io, "m://a", 0, &hint, &fault);

	if (!rc) {
		CHECK(file.size == k->inner.size);
		CHECK(file.inode == 7);
		rc = dlf_file_read(&file, io, 0, found, k->inner.size, NULL, &fault);
		CHECK(rc || !memcmp(found, content, k->inner.size));
		CHECK(!dlf_file_check_unchanged(&file, &fault));
		dlf_file_close(&file);
	}
	free(found);
	return rc;
}

static void what_was_read_once_is_read_from_disk(uint64_t size)
{
	keeper k;
	dlf_io io;

	set_up(&k, &io, size);
	CHECK(!read_it(&k, &io));
	CHECK(io.stats.disk_cache_misses == 1 && io.stats.disk_cache_hits == 0);
	CHECK(io.stats.disk_cache_written == size);
	int reads = k.inner.read;
	CHECK(!read_it(&k, &io));
	CHECK(io.stats.disk_cache_misses == 1 && io.stats.disk_cache_hits == 1);
	CHECK(k.inner.read == reads && k.inner.opened == 1 && k.finished == 1);
	tear_down(&k, &io);
}

static void an_object_of_unknown_version_is_asked_for_it(void)
{
	dlf_hint hint = {.size = UINT64_MAX};
	dlf_fault fault;
	dlf_file file;
	keeper k;
	dlf_io io;

	set_up(&k, &io, SIZE);
	for (int i = 0; i < 2; i++) {
		CHECK(!dlf_file_open_known(&file, &io, "m://a", 0, &hint, &fault));
		CHECK(file.cached && !file.object);
		dlf_file_close(&file);
	}
	CHECK(k.inner.opened == 2 && k.finished == 1);
	CHECK(dlf_file_open_known(&file, &io, "m://b", 0, &hint, &fault) == -ENOENT);
	tear_down(&k, &io);
}

static void damage(keeper *k, off_t at, int cut)
{
	char path[PATH_MAX];
	unsigned char byte;

	path_of(k, k->name, path);
	int fd = open(path, O_RDWR);
	CHECK(fd >= 0);
	if (cut) {
		CHECK(!ftruncate(fd, at));
	} else {
		CHECK(pread(fd, &byte, 1, at) == 1);
		byte ^= 1;
		CHECK(pwrite(fd, &byte, 1, at) == 1);
	}
	close(fd);
}

static void damaged_copies_are_discarded_and_fetched_anew(void)
{
	const off_t places[] = {0, SIZE - 1, SIZE, SIZE + 8, SIZE + 16, SIZE + 24};
	const off_t ends[] = {0, SIZE, SIZE + TAIL - 1, SIZE + TAIL + 1};
	keeper k;
	dlf_io io;

	set_up(&k, &io, SIZE);
	CHECK(!read_it(&k, &io));
	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
		damage(&k, places[i], 0);
		CHECK(!read_it(&k, &io));
		CHECK(k.discarded == (int)i + 1);
	}
	for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++) {
		k.discarded = 0;
		damage(&k, ends[i], 1);
		CHECK(!read_it(&k, &io));
		CHECK(k.discarded == 1);
	}
	tear_down(&k, &io);
}

static void a_sound_copy_of_before_the_machine_s_start_stays(void)
{
	keeper k;
	dlf_io io;

	set_up(&k, &io, SIZE);
	CHECK(!read_it(&k, &io));
	k.cache.stamp = 2;
	for (int i = 0; i < 2; i++)
		CHECK(!read_it(&k, &io));
	CHECK(k.discarded == 0 && k.finished == 1);
	/* The second time it was known to be sound. */
	CHECK(io.stats.disk_cache_bytes < 5 * (uint64_t)SIZE);
	tear_down(&k, &io);
}

static void what_cannot_be_kept_is_read_where_it_is(void)
{
	keeper k;
	dlf_io io;

	set_up(&k, &io, SIZE);
	k.answer = DLF_DISK_ELSEWHERE;
	CHECK(!read_it(&k, &io));
	k.answer = DLF_DISK_AGAIN; /* for ever */
	CHECK(!read_it(&k, &io));
	CHECK(io.stats.disk_cache_misses == 2 && io.stats.disk_cache_bytes == 0);
	k.answer = DLF_ECANCELLED;
	CHECK(read_it(&k, &io) == DLF_ECANCELLED);
	tear_down(&k, &io);
}

static void a_store_that_fails_leaves_no_copy(void)
{
	keeper k;
	dlf_io io;

	set_up(&k, &io, SIZE);
	k.inner.fails = 1;
	k.inner.read = 1;
	CHECK(read_it(&k, &io) == DLF_ESTORE);
	CHECK(k.finished == 1 && k.err == 1);
	k.inner.fails = 0;
	CHECK(!read_it(&k, &io));
	CHECK(k.finished == 2 && k.err == 0);
	tear_down(&k, &io);
}

void test_disk_cache(void)
{
	what_was_read_once_is_read_from_disk(SIZE);
	what_was_read_once_is_read_from_disk(4096);
	what_was_read_once_is_read_from_disk(0);
	an_object_of_unknown_version_is_asked_for_it();
	damaged_copies_are_discarded_and_fetched_anew();
	a_sound_copy_of_before_the_machine_s_start_stays();
	what_cannot_be_kept_is_read_where_it_is();
	a_store_that_fails_leaves_no_copy();
}
