/* SPDX-License-Identifier: Apache-2.0
 *
 * libdeflate knows only whole members: straight to the destination where the
 * first read asks for everything, else through a buffer of its own.
 */
#ifdef DLF_HAVE_LIBDEFLATE

#include <stdlib.h>
#include <string.h>
#include <libdeflate.h>

#include "dlf_inflate_impl.h"

typedef struct whole {
	struct libdeflate_decompressor *decompressor;
	unsigned char *bytes; /* kept from member to member */
	size_t capacity;
	size_t taken;
	int inflated;         /* this member, to bytes or to the destination */
} whole;

static void *create(void)
{
	whole *w = calloc(1, sizeof(*w));

	if (w)
		w->decompressor = libdeflate_alloc_decompressor();
	if (w && !w->decompressor) {
		free(w);
		return NULL;
	}
	return w;
}

static void destroy(void *state)
{
	whole *w = state;

	libdeflate_free_decompressor(w->decompressor);
	free(w->bytes);
	free(w);
}

static void begin(void *state)
{
	whole *w = state;

	w->taken = 0;
	w->inflated = 0;
}

static enum dlf_inflate_result inflate_all(whole *w, dlf_inflate_io *io,
					   unsigned char *dst, size_t size)
{
	size_t used;

	/* With no place for the actual size, any but this one is an error. */
	switch (libdeflate_deflate_decompress_ex(w->decompressor, io->src,
						 io->src_left, dst, size, &used,
						 NULL)) {
	case LIBDEFLATE_SUCCESS:
		io->src += used;
		io->src_left -= used;
		w->inflated = 1;
		return DLF_INFLATE_ENDED;
	case LIBDEFLATE_SHORT_OUTPUT:
		return DLF_INFLATE_TOO_SHORT;
	case LIBDEFLATE_INSUFFICIENT_SPACE:
		return DLF_INFLATE_TOO_LONG;
	default:
		return DLF_INFLATE_CORRUPT;
	}
}

static int make_room(whole *w, uint64_t size)
{
	if (size <= w->capacity)
		return 1;
	free(w->bytes); /* not realloc: nothing in it is wanted */
	w->bytes = size <= SIZE_MAX ? malloc((size_t)size) : NULL;
	w->capacity = w->bytes ? (size_t)size : 0;
	return w->bytes != NULL;
}

static enum dlf_inflate_result step(void *state, dlf_inflate_io *io,
				    uint64_t want)
{
	whole *w = state;
	enum dlf_inflate_result result;

	if (!want && w->inflated)
		return DLF_INFLATE_ENDED;
	if (!want) /* a member of no bytes, which must say so itself */
		return inflate_all(w, io, io->dst, 0);
	if (!w->inflated && io->dst_left == want) {
		result = inflate_all(w, io, io->dst, io->dst_left);
		if (result == DLF_INFLATE_ENDED)
			io->dst_left = 0;
		return result;
	}
	if (!w->inflated) {
		if (!make_room(w, want))
			return DLF_INFLATE_NO_MEMORY;
		result = inflate_all(w, io, w->bytes, (size_t)want);
		if (result != DLF_INFLATE_ENDED)
			return result;
	}
	memcpy(io->dst, w->bytes + w->taken, io->dst_left);
	w->taken += io->dst_left;
	io->dst_left = 0;
	return DLF_INFLATE_GOES_ON;
}

const dlf_inflate_backend dlf_inflate_libdeflate = {
	"libdeflate", create, destroy, begin, step,
};

#else
/* ISO C: no file without a declaration */
typedef int dlf_inflate_libdeflate_absent;
#endif
