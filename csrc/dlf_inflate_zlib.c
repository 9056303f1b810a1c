/* SPDX-License-Identifier: Apache-2.0
 *
 * zlib: piecewise, and in every build.
 */
#include <stdlib.h>
#include <zlib.h>

#include "dlf_inflate_impl.h"

static void *create(void)
{
	z_stream *z = calloc(1, sizeof(*z));

	if (z && inflateInit2(z, -MAX_WBITS) != Z_OK) { /* minus: raw */
		free(z);
		return NULL;
	}
	return z;
}

static void destroy(void *state)
{
	inflateEnd(state);
	free(state);
}

static void begin(void *state)
{
	inflateReset(state);
}

static enum dlf_inflate_result step(void *state, dlf_inflate_io *io,
				    uint64_t want)
{
	z_stream *z = state;
	int ret;

	(void)want;
	z->next_in = (Bytef *)(uintptr_t)io->src;
	z->avail_in = dlf_inflate_piece(io->src_left);
	z->next_out = io->dst;
	z->avail_out = dlf_inflate_piece(io->dst_left);
	ret = inflate(z, Z_NO_FLUSH);
	io->src_left -= (size_t)(z->next_in - io->src);
	io->src = z->next_in;
	io->dst_left -= (size_t)(z->next_out - io->dst);
	io->dst = z->next_out;

	switch (ret) {
	case Z_OK:
	case Z_BUF_ERROR: /* nothing moved */
		return DLF_INFLATE_GOES_ON;
	case Z_STREAM_END:
		return DLF_INFLATE_ENDED;
	case Z_MEM_ERROR:
		return DLF_INFLATE_NO_MEMORY;
	default:
		return DLF_INFLATE_CORRUPT;
	}
}

const dlf_inflate_backend dlf_inflate_zlib = {
	"zlib", create, destroy, begin, step,
};
