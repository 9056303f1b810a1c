/* SPDX-License-Identifier: Apache-2.0
 *
 * What all backends share: the choice, the check of the claimed size, the loops
 * and the errors.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dlf_inflate.h"
#include "dlf_inflate_impl.h"

#define MAX_RATIO 1032 /* a match of 258 bytes takes two bits at least */

static const dlf_inflate_backend *const backends[] = {
#ifdef DLF_HAVE_ISAL
	&dlf_inflate_isal,
#endif
#ifdef DLF_HAVE_LIBDEFLATE
	&dlf_inflate_libdeflate,
#endif
	&dlf_inflate_zlib,
};

enum { BACKENDS = sizeof(backends) / sizeof(backends[0]) };

/* The same, by name. */
static const char *const names[BACKENDS + 1] = {
#ifdef DLF_HAVE_ISAL
	"isal",
#endif
#ifdef DLF_HAVE_LIBDEFLATE
	"libdeflate",
#endif
	"zlib",
};

struct dlf_inflater {
	const dlf_inflate_backend *backend;
	void *state;
	const unsigned char *src; /* the member's first byte */
	dlf_inflate_io io;
	uint64_t want;            /* bytes of the member not read yet */
	int status;               /* not 0: what reads return until a begin */
	const char *what;         /* and say, where it is DLF_EFORMAT */
};

const char *const *dlf_inflate_backends(void)
{
	return names;
}

int dlf_inflater_new(const char *backend, dlf_inflater **out)
{
	dlf_inflater *inf;
	int i = 0;

	*out = NULL;
	if (backend)
		while (i < BACKENDS && strcmp(backends[i]->name, backend))
			i++;
	if (i == BACKENDS)
		return -EINVAL;

	inf = calloc(1, sizeof(*inf));
	if (!inf)
		return -ENOMEM;
	inf->backend = backends[i];
	inf->status = -EINVAL; /* no member yet */
	inf->state = inf->backend->create();
	if (!inf->state) {
		free(inf);
		return -ENOMEM;
	}
	*out = inf;
	return 0;
}

void dlf_inflater_free(dlf_inflater *inf)
{
	if (!inf)
		return;
	inf->backend->destroy(inf->state);
	free(inf);
}

/* Report the member's failure, now and at every call to come. */
static int failed(const dlf_inflater *inf, dlf_fault *fault)
{
	if (inf->status == DLF_EFORMAT)
		return dlf_fail(fault, DLF_EFORMAT,
				(uint64_t)(inf->io.src - inf->src), inf->what);
	return inf->status;
}

static int fail(dlf_inflater *inf, enum dlf_inflate_result result,
		dlf_fault *fault)
{
	inf->status = DLF_EFORMAT;
	if (result == DLF_INFLATE_NO_MEMORY)
		inf->status = -ENOMEM;
	else if (result == DLF_INFLATE_TOO_LONG)
		inf->what = "the compressed data hold more than was declared";
	else if (result == DLF_INFLATE_TOO_SHORT)
		inf->what = "the compressed data end early";
	else
		inf->what = "the compressed data are corrupt";
	return failed(inf, fault);
}

int dlf_inflate_begin(dlf_inflater *inf, const void *src, size_t src_len,
		      uint64_t out_len, dlf_fault *fault)
{
	uint64_t least = out_len / MAX_RATIO + (out_len % MAX_RATIO != 0);

	inf->src = src;
	inf->io = (dlf_inflate_io){src, src_len, NULL, 0};
	inf->want = out_len;
	inf->status = 0;
	if (src_len < least) {
		inf->status = DLF_EFORMAT;
		inf->what = "the declared size is more than the compressed "
			    "data could hold";
		return failed(inf, fault);
	}
	inf->backend->begin(inf->state);
	return 0;
}

/* A step, with a stop where the backend can do no more. */
static enum dlf_inflate_result advance(dlf_inflater *inf)
{
	size_t src_left = inf->io.src_left, dst_left = inf->io.dst_left;
	enum dlf_inflate_result result;

	result = inf->backend->step(inf->state, &inf->io, inf->want);
	if (result == DLF_INFLATE_GOES_ON && inf->io.src_left == src_left &&
	    inf->io.dst_left == dst_left)
		return DLF_INFLATE_TOO_SHORT;
	return result;
}

int dlf_inflate_read(dlf_inflater *inf, void *dst, size_t len, dlf_fault *fault)
{
	if (inf->status)
		return failed(inf, fault);
	if (len > inf->want)
		return -EINVAL;

	inf->io.dst = dst;
	inf->io.dst_left = len;
	while (inf->io.dst_left) {
		size_t before = inf->io.dst_left;
		enum dlf_inflate_result result = advance(inf);

		inf->want -= before - inf->io.dst_left;
		if (result == DLF_INFLATE_ENDED && inf->io.dst_left)
			result = DLF_INFLATE_TOO_SHORT;
		if (result > DLF_INFLATE_ENDED)
			return fail(inf, result, fault);
	}
	return 0;
}

int dlf_inflate_end(dlf_inflater *inf, dlf_fault *fault)
{
	enum dlf_inflate_result result;
	unsigned char beyond;

	if (inf->status)
		return failed(inf, fault);
	if (inf->want)
		return -EINVAL;

	inf->io.dst = &beyond;
	inf->io.dst_left = 1;
	do
		result = advance(inf);
	while (result == DLF_INFLATE_GOES_ON && inf->io.dst_left);
	if (!inf->io.dst_left)
		result = DLF_INFLATE_TOO_LONG;
	return result == DLF_INFLATE_ENDED ? 0 : fail(inf, result, fault);
}
