/* SPDX-License-Identifier: Apache-2.0
 *
 * Intel's ISA-L: piecewise, and the fastest where there is one.
 */
#ifdef DLF_HAVE_ISAL

#include <stdlib.h>
#include <isa-l/igzip_lib.h>

#include "dlf_inflate_impl.h"

static void *create(void)
{
	return malloc(sizeof(struct inflate_state));
}

static void destroy(void *state)
{
	free(state);
}

static void begin(void *state)
{
	struct inflate_state *s = state;

	isal_inflate_init(s);
	s->crc_flag = ISAL_DEFLATE;
}

static enum dlf_inflate_result step(void *state, dlf_inflate_io *io,
				    uint64_t want)
{
	struct inflate_state *s = state;
	int ret;

	(void)want;
	s->next_in = (uint8_t *)(uintptr_t)io->src;
	s->avail_in = dlf_inflate_piece(io->src_left);
	s->next_out = io->dst;
	s->avail_out = dlf_inflate_piece(io->dst_left);
	ret = isal_inflate(s);
	io->src_left -= (size_t)(s->next_in - io->src);
	io->src = s->next_in;
	io->dst_left -= (size_t)(s->next_out - io->dst);
	io->dst = s->next_out;

	if (ret != ISAL_DECOMP_OK)
		return DLF_INFLATE_CORRUPT;
	return s->block_state == ISAL_BLOCK_FINISH ? DLF_INFLATE_ENDED
						   : DLF_INFLATE_GOES_ON;
}

const dlf_inflate_backend dlf_inflate_isal = {
	"isal", create, destroy, begin, step,
};

#else
typedef int dlf_inflate_isal_absent; /* ISO C: no file without a declaration */
#endif
