/* SPDX-License-Identifier: Apache-2.0
 *
 * A source of bytes at offsets: what the format parsers read from, be it a
 * file, a block of memory (tests, fuzzers) or a cached range of an object.
 */
#ifndef DLF_SRC_H
#define DLF_SRC_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "dlf_error.h"

typedef struct dlf_src {
	uint64_t size; /* bytes in all */
	/* Copy exactly len bytes from offset to dst.  A range that does not lie
	 * inside [0, size) is DLF_ETRUNCATED. */
	int (*read)(void *ctx, uint64_t offset, void *dst, size_t len,
		    dlf_fault *fault);
	void *ctx;
} dlf_src;

static inline int dlf_src_read(const dlf_src *src, uint64_t offset, void *dst,
			       size_t len, dlf_fault *fault)
{
	if (offset > src->size || len > src->size - offset)
		return dlf_fail(fault, DLF_ETRUNCATED, src->size,
				"the file ends inside its own headers");
	return src->read(src->ctx, offset, dst, len, fault);
}

static inline int dlf_src_memory_read(void *ctx, uint64_t offset, void *dst,
				      size_t len, dlf_fault *fault)
{
	(void)fault;
	memcpy(dst, (const unsigned char *)ctx + offset, len);
	return 0;
}

/* A source over memory, which must outlive it. */
static inline dlf_src dlf_src_memory(const void *data, size_t size)
{
	dlf_src src = {size, dlf_src_memory_read, (void *)(uintptr_t)data};
	return src;
}

#endif
