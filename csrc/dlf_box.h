/* SPDX-License-Identifier: Apache-2.0
 *
 * Boxes of dense arrays in C order.
 */
#ifndef DLF_BOX_H
#define DLF_BOX_H

#include <stddef.h>
#include <stdint.h>

/* Copy a box of `box` items from the corner of an array shaped `from`, at src, to
 * the corner of one shaped `to`, at dst; src NULL: fill it with the item at `fill`,
 * NULL: with zeros.  In bytes, dst and src are where the corners lie. */
void dlf_box_copy(unsigned char *dst, const uint64_t *to,
		  const unsigned char *src, const uint64_t *from,
		  const uint64_t *box, int ndim, uint64_t itemsize,
		  const unsigned char *fill);

#endif
