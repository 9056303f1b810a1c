/* SPDX-License-Identifier: Apache-2.0 */
#include "dlf_conn.h"

#ifdef DLF_HAVE_OPENSSL

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dlf_counters.h"

static int resolve(const char *host, const char *port, struct addrinfo **out,
		   dlf_fault *fault)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
				 .ai_flags = AI_NUMERICSERV};
	int err = getaddrinfo(host, port, &hints, out);

	if (!err)
		return 0;
	if (err == EAI_MEMORY)
		return dlf_fail(fault, -ENOMEM, 0, "out of memory");
	int rc = dlf_fail(fault, err == EAI_AGAIN ? -EHOSTUNREACH : DLF_ESTORE, 0,
			  "the host name cannot be resolved; check the endpoint");
	if (fault)
		snprintf(fault->detail, sizeof(fault->detail), "%.100s: %s", host,
			 gai_strerror(err));
	return rc;
}

int dlf_conn_new(const char *host, const char *port, dlf_tls_context *tls,
		 dlf_tls_session *session, dlf_conn **out, dlf_fault *fault)
{
	dlf_conn *conn = calloc(1, sizeof(*conn));

	*out = NULL;
	if (!conn)
		return dlf_fail(fault, -ENOMEM, 0, "out of memory");
	conn->fd = -1;
	conn->host = host;
	conn->tls_context = tls;
	conn->session = session;
	conn->low_water = 1;
	int rc = resolve(host, port, &conn->addresses, fault);
	if (rc) {
		free(conn);
		return rc;
	}
	conn->address = conn->addresses;
	dlf_count(DLF_COUNT_CONNECTIONS, 1);
	*out = conn;
	return 0;
}

static void hang_up(dlf_conn *conn)
{
	if (conn->tls)
		dlf_tls_free(conn->tls);
	conn->tls = NULL;
	if (conn->fd >= 0)
		close(conn->fd);
	conn->fd = -1;
}

void dlf_conn_free(dlf_conn *conn)
{
	hang_up(conn);
	if (conn->addresses)
		freeaddrinfo(conn->addresses);
	free(conn);
	dlf_count(DLF_COUNT_CONNECTIONS, -1);
}

/* The time that is left is shared by the addresses that are. */
static uint64_t share(const dlf_conn *conn, uint64_t now, uint64_t deadline)
{
	unsigned count = 0;

	for (const struct addrinfo *a = conn->address; a; a = a->ai_next)
		count++;
	return deadline <= now ? now : now + (deadline - now) / (count ? count : 1);
}

static int start(dlf_conn *conn, uint64_t now, uint64_t deadline)
{
	const struct addrinfo *to = conn->address;
	int on = 1;

	conn->give_up = share(conn, now, deadline);
	conn->fd = socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
			  0);
	if (conn->fd < 0)
		return -errno;
	setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (!connect(conn->fd, to->ai_addr, to->ai_addrlen))
		return 0;
	return errno == EINPROGRESS || errno == EINTR ? 0 : -errno;
}

static int connected(dlf_conn *conn, uint64_t now)
{
	struct pollfd wait = {.fd = conn->fd, .events = POLLOUT};
	int err = 0;
	socklen_t len = sizeof(err);

	conn->wants = POLLOUT;
	if (poll(&wait, 1, 0) <= 0)
		return now >= conn->give_up ? -ETIMEDOUT : -EAGAIN;
	getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &err, &len);
	return -err;
}

static int shake_hands(dlf_conn *conn, uint64_t now, uint64_t deadline,
		       dlf_fault *fault)
{
	int rc = dlf_tls_handshake(conn->tls, &conn->wants);

	if (rc == DLF_ESTORE) {
		dlf_fail(fault, rc, 0, "TLS failed; check the endpoint, its "
			 "certificate and the CA file");
		if (fault)
			snprintf(fault->detail, sizeof(fault->detail), "%s",
				 dlf_tls_reason(conn->tls));
		return rc;
	}
	if (rc == -EAGAIN && now >= deadline)
		rc = -ETIMEDOUT;
	if (rc && rc != -EAGAIN)
		dlf_fail(fault, rc, 0, "the TLS handshake broke off; check that the "
			 "endpoint speaks TLS");
	return rc;
}

int dlf_conn_dial(dlf_conn *conn, uint64_t now, uint64_t deadline,
		  dlf_fault *fault)
{
	int rc = -EAGAIN;

	if (conn->ready)
		return 0;
	while (!conn->tls) {
		rc = conn->fd < 0 ? start(conn, now, deadline) : 0;
		if (!rc)
			rc = connected(conn, now);
		if (rc == -EAGAIN)
			return rc;
		if (!rc)
			break;
		hang_up(conn);
		conn->address = conn->address->ai_next;
		if (!conn->address)
			return dlf_fail(fault, rc, 0, "no connection to the "
					"endpoint; check it and the network");
	}
	if (conn->tls_context && !conn->tls)
		rc = dlf_tls_new(conn->tls_context, conn->fd, conn->host,
				 conn->session, &conn->tls);
	if (conn->tls)
		rc = shake_hands(conn, now, deadline, fault);
	if (rc)
		return rc;
	conn->ready = 1;
	freeaddrinfo(conn->addresses);
	conn->addresses = conn->address = NULL;
	return 0;
}

ssize_t dlf_conn_recv(dlf_conn *conn, void *dst, size_t len)
{
	ssize_t n;

	if (conn->tls)
		return dlf_tls_recv(conn->tls, dst, len, &conn->wants);
	conn->wants = POLLIN;
	do
		n = recv(conn->fd, dst, len, 0);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

ssize_t dlf_conn_send(dlf_conn *conn, const void *src, size_t len, int more)
{
	ssize_t n;

	if (conn->tls)
		return dlf_tls_send(conn->tls, src, len, &conn->wants);
	conn->wants = POLLOUT;
	do
		n = send(conn->fd, src, len, MSG_NOSIGNAL | (more ? MSG_MORE : 0));
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

void dlf_conn_low_water(dlf_conn *conn, size_t bytes)
{
	int value = (int)bytes;

	if (bytes == conn->low_water)
		return;
	conn->low_water = bytes;
	setsockopt(conn->fd, SOL_SOCKET, SO_RCVLOWAT, &value, sizeof(value));
}

int dlf_conn_quiet(const dlf_conn *conn)
{
	char byte;

	if (conn->tls && dlf_tls_pending(conn->tls))
		return 0;
	return recv(conn->fd, &byte, 1, MSG_PEEK) < 0 && errno == EAGAIN;
}

#endif
