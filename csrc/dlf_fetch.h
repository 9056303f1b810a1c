/* SPDX-License-Identifier: Apache-2.0
 *
 * A range of an object, fetched in as many requests as it takes: retries, waiting
 * and giving up.
 */
#ifndef DLF_FETCH_H
#define DLF_FETCH_H

#include "dlf_exchange.h"
#include "dlf_http.h"
#include "dlf_integrity.h"

/* How often something was tried without progress, and since when. */
typedef struct dlf_retry {
	unsigned attempts;
	unsigned moves;      /* to other endpoints, at once */
	int fresh;           /* a new connection next time */
	int renewed;         /* the credentials, already */
	uint64_t since;
	uint64_t not_before;
} dlf_retry;

void dlf_retry_begin(dlf_retry *retry, uint64_t now);

/* After a failure: 0, to be tried again at not_before; or its code, for good.
 * secret: what the request was signed with. */
int dlf_retry_again(dlf_retry *retry, dlf_http *http, dlf_secret *secret,
		    dlf_failure *failure, uint64_t now);

/* The bounds of the next exchange. */
dlf_exchange_limits dlf_retry_limits(const dlf_retry *retry, dlf_http *http);

typedef struct dlf_fetch {
	dlf_http *http;
	const char *path;    /* of the URL, encoded */
	dlf_known *known;    /* the object's size and version */
	uint64_t at, end;    /* the range from the next byte on */
	unsigned char *dst;  /* NULL: bytes are thrown away */
	size_t want;         /* how many are to be put there now */
	uint64_t mark;       /* where progress was last seen */
	uint64_t begun;
	dlf_retry retry;
	dlf_secret *secret;
	int running, headed;
	dlf_integrity integrity; /* of all of it */
	dlf_exchange x;
} dlf_fetch;

/* Prepare for [offset, end), of which nothing is wanted yet.  With the size not
 * known the first response tells it, end is cut to it, and all is wanted: dst must
 * be set and hold end - offset bytes. */
void dlf_fetch_begin(dlf_fetch *fetch, dlf_http *http, const char *path,
		     dlf_known *known, uint64_t offset, uint64_t end);

/* Drive several until each has what it wants, or one fails for good, or the reader
 * is cancelled. */
int dlf_fetch_run(dlf_fetch *const *list, size_t count, struct dlf_io *io,
		  dlf_fault *fault);

/* Let go of the connection. */
void dlf_fetch_end(dlf_fetch *fetch, struct dlf_io *io);

/* Wait until one of the exchanges can go on, or a moment has come, but no longer
 * than until it is time to ask whether to stop. */
void dlf_fetch_wait(dlf_exchange *const *list, size_t count, uint64_t moment,
		    uint64_t now);

#endif
