/* SPDX-License-Identifier: Apache-2.0
 *
 * What a response means: the bytes that were asked for, or what kind of failure.
 */
#ifndef DLF_REPLY_H
#define DLF_REPLY_H

#include "dlf_error.h"
#include "dlf_head.h"

typedef enum dlf_failure_kind {
	DLF_FATAL,     /* asking again would not help */
	DLF_TRANSIENT, /* it may, after a while */
	DLF_STALE,     /* a kept connection was dead: at once, on a fresh one */
	DLF_UNREACHED, /* no connection: at once elsewhere, here after a while */
	DLF_EXPIRED,   /* with new credentials */
} dlf_failure_kind;

typedef struct dlf_failure {
	dlf_failure_kind kind;
	unsigned retry_after; /* seconds; 0: not said */
	dlf_fault fault;
} dlf_failure;

/* Note a failure; returns the code. */
int dlf_reply_fail(dlf_failure *failure, dlf_failure_kind kind, int code,
		   const char *what);

/* Of a status that is no success, and its body. */
int dlf_reply_refused(dlf_failure *failure, const dlf_head *head,
		      const char *body, size_t len);

/* What is known of an object; DLF_LENGTH_UNKNOWN, 0: not yet, then a response's is
 * put down. */
typedef struct dlf_known {
	uint64_t size;
	uint64_t version;
} dlf_known;

/* Is a success what was asked for: bytes first to last of the object, or with ranged
 * 0 all of it?  With the size not known yet, fewer bytes are right where the object
 * ends. */
int dlf_reply_check(dlf_failure *failure, const dlf_head *head, int ranged,
		    uint64_t first, uint64_t last, dlf_known *known);

#endif
