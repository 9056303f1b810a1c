/* SPDX-License-Identifier: Apache-2.0 */
#include "dlf_box.h"

#include <string.h>

static void fill_items(unsigned char *dst, size_t n, const unsigned char *item,
		       size_t itemsize)
{
	if (!item) {
		memset(dst, 0, n);
		return;
	}
	if (!n)
		return;
	memcpy(dst, item, itemsize);
	for (size_t done = itemsize, part; done < n; done += part) {
		part = done < n - done ? done : n - done;
		memcpy(dst + done, dst, part);
	}
}

void dlf_box_copy(unsigned char *dst, const uint64_t *to,
		  const unsigned char *src, const uint64_t *from,
		  const uint64_t *box, int ndim, uint64_t itemsize,
		  const unsigned char *fill)
{
	uint64_t inner = itemsize, step_to = itemsize, step_from = itemsize;
	int d = ndim;

	/* What is adjacent on both sides is one run. */
	while (d > 0) {
		d--;
		inner *= box[d];
		if (d && (box[d] != to[d] || (src && box[d] != from[d])))
			break;
	}
	if (d == 0) {
		if (src)
			memcpy(dst, src, inner);
		else
			fill_items(dst, inner, fill, itemsize);
		return;
	}
	for (int k = 1; k < ndim; k++) {
		step_to *= to[k];
		if (src)
			step_from *= from[k];
	}
	for (uint64_t i = 0; i < box[0]; i++)
		dlf_box_copy(dst + i * step_to, to + 1,
			     src ? src + i * step_from : NULL, from + 1,
			     box + 1, ndim - 1, itemsize, fill);
}
