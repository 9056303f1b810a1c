/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory of a pool that somebody has to be asked for first.
 */
#ifndef DLF_MEMORY_H
#define DLF_MEMORY_H

#include "dlf_pool.h"

typedef struct dlf_memory {
	dlf_pool *pool;
	/* Account for bytes (negative: give back); may wait.  May be NULL. */
	int (*charge)(void *ctx, int64_t bytes);
	void *ctx;
} dlf_memory;

int dlf_memory_get(const dlf_memory *memory, size_t size, dlf_buf **out);
void dlf_memory_put(const dlf_memory *memory, dlf_buf *buf);

#endif
