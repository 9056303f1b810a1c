/* SPDX-License-Identifier: Apache-2.0
 *
 * The client's side of TLS over non-blocking sockets, by OpenSSL.
 */
#ifndef DLF_TLS_H
#define DLF_TLS_H

#include <pthread.h>
#include <stddef.h>
#include <sys/types.h>

#include "dlf_error.h"

typedef struct dlf_tls_context dlf_tls_context; /* shared by all threads */
typedef struct dlf_tls dlf_tls;                 /* one connection */

/* The last session with a server, to be taken up again. */
typedef struct dlf_tls_session {
	pthread_mutex_t lock;
	void *session;
} dlf_tls_session;

void dlf_tls_session_init(dlf_tls_session *slot);
void dlf_tls_session_free(dlf_tls_session *slot);

/* ca_file: PEM, what to trust instead of the system's authorities, or NULL.
 * verify 0: take any certificate.  DLF_ESTORE, -ENOMEM. */
int dlf_tls_context_new(const char *ca_file, int verify, dlf_tls_context **out,
			dlf_fault *fault);
void dlf_tls_context_free(dlf_tls_context *context);

/* The certificate must be for host, a name or an IP address.  -ENOMEM. */
int dlf_tls_new(dlf_tls_context *context, int fd, const char *host,
		dlf_tls_session *slot, dlf_tls **out);
void dlf_tls_free(dlf_tls *tls);

/* 0; -EAGAIN with the poll event to wait for in *wants; DLF_ESTORE: see
 * dlf_tls_reason; -ECONNRESET. */
int dlf_tls_handshake(dlf_tls *tls, short *wants);

/* Bytes, 0 at the end (recv only); else like the handshake. */
ssize_t dlf_tls_recv(dlf_tls *tls, void *dst, size_t len, short *wants);
ssize_t dlf_tls_send(dlf_tls *tls, const void *src, size_t len, short *wants);

/* Are bytes here that were not asked for? */
int dlf_tls_pending(const dlf_tls *tls);

/* Why the last call failed, in OpenSSL's words. */
const char *dlf_tls_reason(const dlf_tls *tls);

#endif
