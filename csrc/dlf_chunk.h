/* SPDX-License-Identifier: Apache-2.0
 *
 * Unpacking one chunk of an HDF5 dataset: shuffle, deflate or LZF, fletcher32, in
 * the order in which h5py puts them on.
 *
 * Source: "HDF5 File Format Specification Version 3.0", IV.A.2.l, "Data Storage -
 * Filter Pipeline"; LZF: the format of liblzf 3, as in h5py.
 */
#ifndef DLF_CHUNK_H
#define DLF_CHUNK_H

#include <stddef.h>
#include <stdint.h>

#include "dlf_error.h"
#include "dlf_inflate.h"

/* How all chunks of a dataset are packed.  A filter's bit of a chunk's mask says
 * that this chunk went without it; -1: no chunk has the filter. */
typedef struct dlf_packing {
	int shuffle;
	int deflate;
	int lzf;
	int fletcher32;
	uint64_t itemsize;
	uint64_t nbytes;       /* of a chunk, unpacked: less than 2^32 */
} dlf_packing;

/* Is anything done to the chunk at all? */
int dlf_chunk_is_packed(const dlf_packing *packing, uint32_t mask);

/* Is `size` a size that such a chunk of that mask can have in the file?  Says so
 * before anything is allocated for it. */
int dlf_chunk_fits(const dlf_packing *packing, uint64_t size, uint32_t mask);

/* Does unpacking need memory aside? */
int dlf_chunk_needs_aside(const dlf_packing *packing, uint32_t mask);

/* Unpack stored[0..size), which fits, to raw; aside[packing->nbytes] is used where
 * it is needed.  *inflater is made at the first need.  DLF_EFORMAT, DLF_ECHECKSUM
 * (with verify: fletcher32, Adler-32), -ENOMEM.  The chunk lies at `address` of
 * its file. */
int dlf_chunk_unpack(const dlf_packing *packing, dlf_inflater **inflater,
		     const unsigned char *stored, size_t size, uint32_t mask,
		     int verify, unsigned char *aside, unsigned char *raw,
		     uint64_t address, dlf_fault *fault);

/* HDF5's variant: 16-bit words, big endian; an odd byte is the high one. */
uint32_t dlf_fletcher32(const unsigned char *data, size_t n);

/* Undo the byte shuffle of n bytes, of items of `itemsize`. */
void dlf_unshuffle(unsigned char *dst, const unsigned char *src, size_t n,
		   size_t itemsize);

/* Unpack LZF to exactly `size` bytes; -1: it does not hold exactly these. */
int dlf_unlzf(const unsigned char *src, size_t n, unsigned char *dst,
	      size_t size);

#endif
