/* SPDX-License-Identifier: Apache-2.0 */
#include "dlf_exchange.h"

#ifdef DLF_HAVE_OPENSSL

#include <errno.h>
#include <poll.h>

/* Fewer bytes than this are no progress: a slow drip is a stall. */
#define PROGRESS ((uint64_t)16 << 10)
/* Wake up once so much has come: it costs as many wake-ups less. */
#define LOW_WATER ((size_t)256 << 10)
#define LOW_WATER_LEAST ((size_t)32 << 10)
/* What a TLS record takes at most, which may lie in OpenSSL's buffer in part. */
#define TLS_RECORD ((size_t)17 << 10)
#define ERROR_BODY_MAX ((size_t)4 << 10)
#define INTERIM_MAX 8

enum { IDLE, DIAL, SEND, HEAD, REFUSAL, BODY, BROKEN };

static void put_off(dlf_exchange *x, uint64_t now, uint64_t ns)
{
	x->deadline = now + ns < x->limits.until ? now + ns : x->limits.until;
	x->earned = 0;
}

static int broken(dlf_exchange *x, dlf_failure_kind kind, int code,
		  const char *what)
{
	x->state = BROKEN;
	return dlf_reply_fail(&x->failure, kind, code, what);
}

static int sign(dlf_exchange *x, dlf_request *request, dlf_secrets *secrets,
		dlf_secret *secret)
{
	dlf_text out = {.data = x->out, .cap = sizeof(x->out)};

	request->host = x->endpoint->authority;
	if (secret)
		pthread_mutex_lock(&secrets->lock);
	int rc = dlf_sign_request(&out, request, secret, time(NULL));
	if (secret)
		pthread_mutex_unlock(&secrets->lock);
	x->out_len = out.len;
	return rc;
}

int dlf_exchange_begin(dlf_exchange *x, dlf_endpoints *endpoints, int fresh,
		       dlf_request *request, dlf_secrets *secrets,
		       dlf_secret *secret, const void *body,
		       const dlf_exchange_limits *limits, uint64_t now)
{
	x->endpoints = endpoints;
	x->limits = *limits;
	x->begun = now;
	x->reached = -1;
	x->retry = fresh;
	x->body = body;
	x->body_len = body ? request->body : 0;
	x->sent = x->in_at = x->in_len = 0;
	x->body_left = x->received = 0;
	x->head.status = 0;
	x->failure.fault.member[0] = '\0';
	put_off(x, now, limits->connect_ns);
	int rc = dlf_endpoints_take(endpoints, now, fresh, &x->endpoint, &x->conn,
				    &x->failure.fault);
	if (rc) {
		x->state = BROKEN;
		x->reached = rc == -ENOMEM ? -1 : 0;
		x->failure.kind = rc == -ENOMEM ? DLF_FATAL : DLF_UNREACHED;
		x->failure.retry_after = 0;
		return rc;
	}
	x->state = DIAL;
	rc = sign(x, request, secrets, secret);
	if (rc == -EMSGSIZE)
		return broken(x, DLF_FATAL, DLF_ESTORE, "the key and the "
			      "credentials are too long for a request");
	if (rc)
		return broken(x, DLF_FATAL, -EACCES,
			      "the secret key cannot be used; check the credentials");
	return 0;
}

static int dial(dlf_exchange *x, uint64_t now)
{
	int rc = dlf_conn_dial(x->conn, now, x->deadline, &x->failure.fault);

	if (rc == -EAGAIN)
		return rc;
	if (rc) {
		x->state = BROKEN;
		x->reached = 0;
		x->failure.retry_after = 0;
		x->failure.kind = rc == DLF_ESTORE || rc == -EMFILE || rc == -ENFILE
					  ? DLF_FATAL
					  : DLF_UNREACHED;
		return rc;
	}
	x->reached = 1;
	x->state = SEND;
	put_off(x, now, x->limits.read_ns);
	return 0;
}

/* Nothing arrived. */
static int silent(dlf_exchange *x, uint64_t now)
{
	if (now < x->deadline)
		return -EAGAIN;
	if (x->state != BODY)
		x->reached = 0; /* of several endpoints, to be left out for a while */
	return broken(x, DLF_TRANSIENT, -ETIMEDOUT,
		      x->state == BODY ? "the store stopped sending"
				       : "the store does not answer; check the "
					 "endpoint and the network");
}

static int cut(dlf_exchange *x, ssize_t n)
{
	int first = x->state == HEAD || x->state == SEND;

	if (first && !x->in_len && x->conn->served)
		return broken(x, DLF_STALE, -ECONNRESET, "the connection was closed");
	return broken(x, DLF_TRANSIENT, n == 0 ? -ECONNRESET : (int)n,
		      x->state == BODY
			      ? "the connection broke off inside the object"
			      : "the connection broke off before the answer");
}

/* Has the store said something before all was sent?  A refusal may; over TLS, what is
 * there may be but a session's ticket. */
static int answered_early(dlf_exchange *x)
{
	struct pollfd early = {.fd = x->conn->fd, .events = POLLIN};
	short wants = x->conn->wants;

	if (!x->body_len || poll(&early, 1, 0) <= 0)
		return 0;
	if (!x->conn->tls)
		return 1;
	ssize_t n = dlf_conn_recv(x->conn, x->in + x->in_len,
				  sizeof(x->in) - x->in_len);
	if (n > 0)
		x->in_len += (size_t)n;
	x->conn->wants = wants;
	return n != -EAGAIN;
}

static int send_request(dlf_exchange *x, uint64_t now)
{
	size_t all = x->out_len + x->body_len;

	while (x->sent < all) {
		int in_head = x->sent < x->out_len;
		const void *src = in_head ? (const void *)(x->out + x->sent)
					  : x->body + (x->sent - x->out_len);
		size_t len = (in_head ? x->out_len : all) - x->sent;
		ssize_t n = dlf_conn_send(x->conn, src, len, in_head && x->body_len);
		if (n == -EAGAIN) {
			if (answered_early(x))
				break;
			if (x->body_len)
				x->conn->wants |= POLLIN;
			return silent(x, now);
		}
		if (n < 0 && x->body_len)
			break; /* it may have said why */
		if (n < 0)
			return cut(x, n);
		x->sent += (size_t)n;
		put_off(x, now, x->limits.read_ns);
	}
	x->state = HEAD;
	dlf_conn_low_water(x->conn, 1);
	return 0;
}

/* The head, and interim ones before it. */
static int parse_head(dlf_exchange *x)
{
	const char *why;
	long n = dlf_head_parse(x->in, x->in_len, &x->head, &why);

	for (int i = 0; n > 0 && x->head.status < 200 && i < INTERIM_MAX; i++) {
		x->in_len -= (size_t)n;
		memmove(x->in, x->in + n, x->in_len);
		n = dlf_head_parse(x->in, x->in_len, &x->head, &why);
	}
	if (n == 0 && x->in_len < sizeof(x->in))
		return -EAGAIN;
	if (n <= 0 || x->head.status < 200) {
		int rc = broken(x, DLF_FATAL, DLF_ESTORE,
				"the response's head cannot be understood");
		snprintf(x->failure.fault.detail, sizeof(x->failure.fault.detail),
			 "%s", n == 0 ? "it is longer than 16 KiB" : why);
		return rc;
	}
	x->in_at = (size_t)n;
	x->body_left = x->head.length;
	x->conn->served++;
	x->state = x->head.status / 100 == 2 ? BODY : REFUSAL;
	if (x->head.status == 204)
		x->body_left = 0;
	return 0;
}

static int receive_head(dlf_exchange *x, uint64_t now)
{
	int rc = x->in_len ? parse_head(x) : -EAGAIN;

	while (rc == -EAGAIN) {
		ssize_t n = dlf_conn_recv(x->conn, x->in + x->in_len,
					  sizeof(x->in) - x->in_len);
		if (n == -EAGAIN)
			return silent(x, now);
		if (n <= 0)
			return cut(x, n);
		x->in_len += (size_t)n;
		rc = parse_head(x);
	}
	if (!rc) {
		x->limits.until = UINT64_MAX; /* the store is alive */
		put_off(x, now, x->limits.read_ns);
	}
	return rc;
}

/* A little of an error's body is read; what follows goes with the connection. */
static int receive_refusal(dlf_exchange *x, uint64_t now)
{
	char *body = x->in + x->in_at;
	size_t cap = sizeof(x->in) - x->in_at;
	int ended = 0;

	if (cap > ERROR_BODY_MAX)
		cap = ERROR_BODY_MAX;
	for (;;) {
		size_t have = x->in_len - x->in_at;
		if (have > cap)
			have = cap;
		if (have == cap || (!x->head.chunked && have >= x->body_left) ||
		    (x->head.chunked && have >= 5 &&
		     !memcmp(body + have - 5, "0\r\n\r\n", 5)))
			break;
		ssize_t n = dlf_conn_recv(x->conn, body + have, cap - have);
		if (n == -EAGAIN && now < x->deadline)
			return -EAGAIN;
		if (n <= 0)
			break;
		x->in_len += (size_t)n;
	}
	size_t have = x->in_len - x->in_at;
	if (x->head.chunked)
		have = dlf_head_unchunk(body, have, &ended);
	else
		ended = have == x->body_left;
	x->body_left = !ended;
	x->in_at = x->in_len;
	x->state = ended ? BODY : BROKEN;
	return dlf_reply_refused(&x->failure, &x->head, body, have);
}

int dlf_exchange_head(dlf_exchange *x, uint64_t now)
{
	int rc = 0;

	if (x->state == DIAL)
		rc = dial(x, now);
	if (!rc && x->state == SEND)
		rc = send_request(x, now);
	if (!rc && x->state == HEAD)
		rc = receive_head(x, now);
	if (!rc && x->state == REFUSAL)
		rc = receive_refusal(x, now);
	return rc;
}

static void set_low_water(dlf_exchange *x, size_t len)
{
	size_t bytes = len < LOW_WATER ? len : LOW_WATER;

	if (x->conn->tls)
		bytes = bytes > TLS_RECORD ? bytes - TLS_RECORD : 1;
	dlf_conn_low_water(x->conn, bytes < LOW_WATER_LEAST ? 1 : bytes);
}

ssize_t dlf_exchange_body(dlf_exchange *x, void *dst, size_t len, uint64_t now)
{
	ssize_t n;

	if (len > x->body_left)
		len = x->body_left;
	if (x->in_at < x->in_len) {
		size_t have = x->in_len - x->in_at;
		n = (ssize_t)(len < have ? len : have);
		memcpy(dst, x->in + x->in_at, (size_t)n);
		x->in_at += (size_t)n;
	} else {
		n = dlf_conn_recv(x->conn, dst, len);
	}
	if (n == -EAGAIN) {
		set_low_water(x, len);
		return silent(x, now);
	}
	if (n <= 0)
		return cut(x, n);
	x->body_left -= (size_t)n;
	x->received += (size_t)n;
	x->earned += (size_t)n;
	if (x->earned >= PROGRESS)
		put_off(x, now, x->limits.read_ns);
	return n;
}

/* A little that is left and already here is taken away. */
static void drain(dlf_exchange *x)
{
	size_t most = LOW_WATER;

	x->in_at = x->in_len;
	while (x->body_left && most) {
		size_t len = sizeof(x->in) < x->body_left ? sizeof(x->in)
							  : x->body_left;
		ssize_t n = dlf_conn_recv(x->conn, x->in, len < most ? len : most);
		if (n <= 0)
			return;
		x->body_left -= (size_t)n;
		most -= (size_t)n;
	}
}

void dlf_exchange_end(dlf_exchange *x, uint64_t now)
{
	if (!x->endpoint)
		return;
	if (x->state == BODY && x->head.keep_alive) {
		size_t have = x->in_len - x->in_at;
		if (x->body_left && have <= x->body_left) {
			x->body_left -= have;
			drain(x);
		} else if (have) {
			x->body_left = 1; /* more than it announced */
		}
	}
	int complete = x->state == BODY && !x->body_left && x->head.keep_alive &&
		       x->sent == x->out_len + x->body_len;
	dlf_endpoint_use use = {
		.retry = x->retry,
		.error = (x->state == BROKEN && x->failure.kind != DLF_STALE) ||
			 x->head.status >= 400,
		.answered = x->head.status / 100 == 2,
		.bytes = x->received,
		.ns = now - x->begun,
	};
	dlf_endpoints_give(x->endpoints, x->endpoint, x->conn, complete, x->reached,
			   now, &use);
	x->endpoint = NULL;
	x->conn = NULL;
	x->state = IDLE;
}

#endif
