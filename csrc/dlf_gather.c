/* SPDX-License-Identifier: Apache-2.0 */
#include "dlf_gather.h"

#include <string.h>

static void copy_strided(unsigned char *dst, const unsigned char *src,
			 uint64_t itemsize, uint64_t count, uint64_t stride)
{
	/* Constant sizes, so that each copy is one load and one store. */
#define COPY_LOOP(size)                                                        \
	for (uint64_t i = 0; i < count; i++, dst += (size), src += stride)     \
		memcpy(dst, src, (size));
	switch (itemsize) {
	case 1: COPY_LOOP(1) break;
	case 2: COPY_LOOP(2) break;
	case 4: COPY_LOOP(4) break;
	case 8: COPY_LOOP(8) break;
	case 16: COPY_LOOP(16) break;
	default: COPY_LOOP(itemsize) break;
	}
#undef COPY_LOOP
}

/* Copy an array of nd dimensions with the given byte strides to a dense C-order
 * block. */
static void gather(unsigned char *dst, const unsigned char *src,
		   uint64_t itemsize, int nd, const uint64_t *shape,
		   const uint64_t *strides)
{
	if (nd == 0) {
		memcpy(dst, src, itemsize);
		return;
	}
	if (nd == 1) {
		if (strides[0] == itemsize)
			memcpy(dst, src, itemsize * shape[0]);
		else
			copy_strided(dst, src, itemsize, shape[0], strides[0]);
		return;
	}
	uint64_t inner = itemsize;
	for (int d = 1; d < nd; d++)
		inner *= shape[d];
	for (uint64_t i = 0; i < shape[0]; i++)
		gather(dst + i * inner, src + i * strides[0], itemsize, nd - 1,
		       shape + 1, strides + 1);
}

void dlf_gather_sample(const dlf_layout *layout, const unsigned char *src,
		       uint64_t index, unsigned char *dst)
{
	const uint64_t *dims = layout->array_shape;
	uint64_t shape[DLF_NPY_MAX_DIMS], strides[DLF_NPY_MAX_DIMS];
	uint64_t step = layout->itemsize, of_dim[DLF_NPY_MAX_DIMS];
	int nd = 0;

	if (!layout->sample_bytes)
		return;
	for (int k = 0; k < layout->array_ndim; k++) {
		int d = layout->fortran_order ? k
					      : layout->array_ndim - 1 - k;
		of_dim[d] = step;
		step *= dims[d];
	}
	for (int d = 0; d < layout->array_ndim; d++) {
		if (d == layout->axis) {
			src += index * of_dim[d];
		} else if (nd && strides[nd - 1] == dims[d] * of_dim[d]) {
			/* adjacent in memory: one longer dimension */
			shape[nd - 1] *= dims[d];
			strides[nd - 1] = of_dim[d];
		} else {
			shape[nd] = dims[d];
			strides[nd++] = of_dim[d];
		}
	}
	gather(dst, src, layout->itemsize, nd, shape, strides);
}
