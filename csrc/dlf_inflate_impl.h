/* SPDX-License-Identifier: Apache-2.0
 *
 * Private to the inflate room: what a backend supplies.
 */
#ifndef DLF_INFLATE_IMPL_H
#define DLF_INFLATE_IMPL_H

#include "dlf_inflate.h"

/* What is left to be taken from and to be written to.  A backend moves all
 * four. */
typedef struct dlf_inflate_io {
	const unsigned char *src;
	size_t src_left;
	unsigned char *dst;
	size_t dst_left;
} dlf_inflate_io;

/* zlib and ISA-L count in 32 bits: they see at most so much of either side. */
#define DLF_INFLATE_PIECE ((size_t)1 << 30)

static inline uint32_t dlf_inflate_piece(size_t left)
{
	return (uint32_t)(left < DLF_INFLATE_PIECE ? left : DLF_INFLATE_PIECE);
}

enum dlf_inflate_result {
	DLF_INFLATE_GOES_ON, /* or cannot: then nothing moved */
	DLF_INFLATE_ENDED,   /* the stream is over and all of it delivered */
	DLF_INFLATE_CORRUPT,
	DLF_INFLATE_TOO_SHORT,
	DLF_INFLATE_TOO_LONG,
	DLF_INFLATE_NO_MEMORY,
};

typedef struct dlf_inflate_backend {
	const char *name;
	void *(*create)(void); /* NULL: no memory */
	void (*destroy)(void *state);
	void (*begin)(void *state);
	/* Inflate what fits.  The whole member has want more bytes to come; a
	 * dst_left of 1 with a want of 0 asks whether it is so. */
	enum dlf_inflate_result (*step)(void *state, dlf_inflate_io *io,
					uint64_t want);
} dlf_inflate_backend;

extern const dlf_inflate_backend dlf_inflate_zlib;
#ifdef DLF_HAVE_ISAL
extern const dlf_inflate_backend dlf_inflate_isal;
#endif
#ifdef DLF_HAVE_LIBDEFLATE
extern const dlf_inflate_backend dlf_inflate_libdeflate;
#endif

#endif
