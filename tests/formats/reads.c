/* SPDX-License-Identifier: Apache-2.0
 *
 * Preloaded, it notes where in memory pread(2) puts bytes: pairs of address and
 * count, in the file that READS names.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

typedef ssize_t pread_fn(int fd, void *dst, size_t n, off_t offset);

ssize_t pread(int fd, void *dst, size_t n, off_t offset)
{
	static pread_fn *real;
	static int log;

	if (!real) {
		log = open(getenv("READS"), O_WRONLY | O_CREAT | O_APPEND, 0600);
		real = (pread_fn *)dlsym(RTLD_NEXT, "pread");
	}
	ssize_t done = real(fd, dst, n, offset);
	if (done > 0) {
		uint64_t note[2] = {(uintptr_t)dst, (uint64_t)done};
		if (write(log, note, sizeof(note)) != sizeof(note))
			abort();
	}
	return done;
}

ssize_t pread64(int fd, void *dst, size_t n, off_t offset)
{
	return pread(fd, dst, n, offset);
}
