/* SPDX-License-Identifier: Apache-2.0 */
#include "dlf_memory.h"

int dlf_memory_get(const dlf_memory *memory, size_t size, dlf_buf **out)
{
	size_t capacity = dlf_pool_capacity(size);
	int rc = 0;

	if (memory->charge)
		rc = memory->charge(memory->ctx, (int64_t)capacity);
	if (rc)
		return rc;
	rc = dlf_pool_get(memory->pool, size, out);
	if (rc && memory->charge)
		memory->charge(memory->ctx, -(int64_t)capacity);
	return rc;
}

void dlf_memory_put(const dlf_memory *memory, dlf_buf *buf)
{
	int64_t capacity = (int64_t)buf->capacity;

	dlf_buf_unref(buf);
	if (memory->charge)
		memory->charge(memory->ctx, -capacity);
}
