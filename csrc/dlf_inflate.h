/* SPDX-License-Identifier: Apache-2.0
 *
 * Raw deflate (RFC 1951) of one member, read sequentially into places of the
 * caller's choice.  Backends are chosen at build time: "isal" and "zlib"
 * inflate piecewise straight to the destination, "libdeflate" inflates the
 * whole member at once: into memory of its own, or straight to the destination
 * where the first read asks for all of it.
 *
 * A fault's offset counts from the member's first compressed byte; it is where
 * the backend had got to when it noticed (0 where the backend does not say).
 */
#ifndef DLF_INFLATE_H
#define DLF_INFLATE_H

#include <stddef.h>
#include <stdint.h>

#include "dlf_error.h"

typedef struct dlf_inflater dlf_inflater;

/* The backends of this build, fastest first, ending with NULL. */
const char *const *dlf_inflate_backends(void);

/* backend NULL takes the fastest.  -EINVAL: unknown; -ENOMEM.  One inflater
 * serves one thread and any number of members, one after another. */
int dlf_inflater_new(const char *backend, dlf_inflater **out);
void dlf_inflater_free(dlf_inflater *inf); /* NULL is fine */

/* Start on a member whose whole compressed bytes are src[0..src_len), which
 * must stay valid until the end, and which claims to inflate to out_len bytes.
 * A claim beyond what deflate can reach (1032:1) is DLF_EFORMAT at once,
 * before anything is allocated.  Members beyond 4 GiB are fine. */
int dlf_inflate_begin(dlf_inflater *inf, const void *src, size_t src_len,
		      uint64_t out_len, dlf_fault *fault);

/* The next exactly len bytes to dst.  A stream that is corrupt or ends early is
 * DLF_EFORMAT, and stays so until the next begin; dst is undefined then.
 * -EINVAL: more than out_len in all, or no member begun; -ENOMEM. */
int dlf_inflate_read(dlf_inflater *inf, void *dst, size_t len,
		     dlf_fault *fault);

/* Check that the stream ended exactly after out_len bytes, all of which must
 * have been read (-EINVAL).  Bytes of src after the stream's end are let pass,
 * as Python's zipfile does. */
int dlf_inflate_end(dlf_inflater *inf, dlf_fault *fault);

#endif
