/* SPDX-License-Identifier: Apache-2.0
 *
 * One request and its response, driven by whoever polls: nothing here blocks but the
 * resolver.
 */
#ifndef DLF_EXCHANGE_H
#define DLF_EXCHANGE_H

#include "dlf_endpoint.h"
#include "dlf_head.h"
#include "dlf_reply.h"
#include "dlf_sign.h"

#define DLF_REQUEST_MAX ((size_t)16 << 10)

typedef struct dlf_exchange_limits {
	uint64_t connect_ns; /* to connect */
	uint64_t read_ns;    /* without progress */
	uint64_t until;      /* the head comes: a moment, in ns */
} dlf_exchange_limits;

typedef struct dlf_exchange {
	dlf_endpoints *endpoints;
	dlf_endpoint *endpoint; /* NULL: nothing is going on */
	dlf_conn *conn;
	int state;
	int reached, retry;
	dlf_exchange_limits limits;
	uint64_t begun, deadline;
	uint64_t earned;     /* bytes since the deadline was put off */
	dlf_head head;
	uint64_t body_left;
	uint64_t received;
	dlf_failure failure; /* after a failure: of what kind, and the fault */
	const unsigned char *body;
	size_t body_len, sent, out_len;
	size_t in_at, in_len; /* of `in`, what lies behind the head */
	char out[DLF_REQUEST_MAX];
	char in[DLF_HEAD_MAX];
} dlf_exchange;

/* Take a connection and put the request together, which is signed with the secret
 * (may be NULL) under its keeper's lock.  fresh: no kept connection.  The body must
 * stay where it is.  Non-zero: a failure, as below. */
int dlf_exchange_begin(dlf_exchange *x, dlf_endpoints *endpoints, int fresh,
		       dlf_request *request, dlf_secrets *secrets,
		       dlf_secret *secret, const void *body,
		       const dlf_exchange_limits *limits, uint64_t now);

/* 0: a head of a success has come; -EAGAIN: wait for conn->wants; else a failure. */
int dlf_exchange_head(dlf_exchange *x, uint64_t now);

/* Bytes of the body, more than 0 as long as body_left is; -EAGAIN, or a failure. */
ssize_t dlf_exchange_body(dlf_exchange *x, void *dst, size_t len, uint64_t now);

/* After success, failure or neither: the connection is kept if the response was read
 * to its end. */
void dlf_exchange_end(dlf_exchange *x, uint64_t now);

#endif
