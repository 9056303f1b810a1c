/* SPDX-License-Identifier: Apache-2.0
 *
 * One connection to a server, plain or TLS, that never blocks.
 */
#ifndef DLF_CONN_H
#define DLF_CONN_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "dlf_error.h"
#include "dlf_tls.h"

struct addrinfo;

typedef struct dlf_conn {
	struct dlf_conn *next, *older; /* its owner's */
	int fd;                 /* -1: no socket yet */
	short wants;            /* the poll event that -EAGAIN waits for */
	int ready;              /* connected, and hands shaken */
	uint64_t give_up;       /* on this address, in ns */
	uint64_t idle_since;
	unsigned served;        /* responses so far */
	size_t low_water;
	struct addrinfo *addresses, *address; /* to be tried yet */
	dlf_tls_context *tls_context;
	dlf_tls_session *session;
	const char *host;
	dlf_tls *tls;
} dlf_conn;

/* Resolves the name; makes no connection yet.  tls NULL: plain.  DLF_ESTORE,
 * -ENOMEM, -EMFILE. */
int dlf_conn_new(const char *host, const char *port, dlf_tls_context *tls,
		 dlf_tls_session *session, dlf_conn **out, dlf_fault *fault);
void dlf_conn_free(dlf_conn *conn);

/* Get on with connecting, one address after the other, until deadline (ns).  0:
 * ready; -EAGAIN; -ETIMEDOUT, -ECONNREFUSED or the like, DLF_ESTORE (TLS). */
int dlf_conn_dial(dlf_conn *conn, uint64_t now, uint64_t deadline,
		  dlf_fault *fault);

/* Bytes, 0 at the end (recv); -EAGAIN, another -errno. */
ssize_t dlf_conn_recv(dlf_conn *conn, void *dst, size_t len);
ssize_t dlf_conn_send(dlf_conn *conn, const void *src, size_t len, int more);

/* Polls find the connection readable once that many bytes have come. */
void dlf_conn_low_water(dlf_conn *conn, size_t bytes);

/* Is an idle connection open, with nothing on it that was not asked for? */
int dlf_conn_quiet(const dlf_conn *conn);

#endif
