/* SPDX-License-Identifier: Apache-2.0 */
#include "dlf_tls.h"

#ifdef DLF_HAVE_OPENSSL

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* Several records a system call, which stay in the second-level cache until they are
 * decrypted: 256 KiB took 17 % more time. */
#define READ_BUFFER ((size_t)64 << 10)
/* The standard's order, but for the quickest cipher first. */
#define CIPHERS                                                                \
	"TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:"                       \
	"TLS_CHACHA20_POLY1305_SHA256"

struct dlf_tls_context {
	SSL_CTX *ssl;
	BIO_METHOD *socket;
};

struct dlf_tls {
	SSL *ssl;
	char reason[DLF_DETAIL_MAX];
};

/* OpenSSL's own socket BIO writes without MSG_NOSIGNAL: a peer that went away
 * would end a process that does not ignore SIGPIPE. */
static int bio_write(BIO *bio, const char *src, int len)
{
	int fd = (int)(intptr_t)BIO_get_data(bio);
	ssize_t n = send(fd, src, (size_t)len, MSG_NOSIGNAL);

	BIO_clear_retry_flags(bio);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		BIO_set_retry_write(bio);
	return (int)n;
}

static int bio_read(BIO *bio, char *dst, int len)
{
	int fd = (int)(intptr_t)BIO_get_data(bio);
	ssize_t n = recv(fd, dst, (size_t)len, 0);

	BIO_clear_retry_flags(bio);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		BIO_set_retry_read(bio);
	if (n == 0)
		BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
	return (int)n;
}

static long bio_ctrl(BIO *bio, int cmd, long num, void *ptr)
{
	(void)num;
	(void)ptr;
	if (cmd == BIO_CTRL_EOF)
		return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
	return cmd == BIO_CTRL_FLUSH || cmd == BIO_CTRL_DUP;
}

static int bio_create(BIO *bio)
{
	BIO_set_init(bio, 1);
	return 1;
}

void dlf_tls_session_init(dlf_tls_session *slot)
{
	pthread_mutex_init(&slot->lock, NULL);
	slot->session = NULL;
}

void dlf_tls_session_free(dlf_tls_session *slot)
{
	SSL_SESSION_free(slot->session);
	pthread_mutex_destroy(&slot->lock);
}

static int keep_session(SSL *ssl, SSL_SESSION *session)
{
	dlf_tls_session *slot = SSL_get_app_data(ssl);

	pthread_mutex_lock(&slot->lock);
	SSL_SESSION *old = slot->session;
	slot->session = session;
	pthread_mutex_unlock(&slot->lock);
	SSL_SESSION_free(old);
	return 1; /* the reference is ours now */
}

static const char *library_reason(void)
{
	unsigned long err = ERR_peek_last_error();
	const char *reason = err ? ERR_reason_error_string(err) : NULL;

	return reason ? reason : "no reason given";
}

static int refuse(dlf_fault *fault, const char *what)
{
	int rc = dlf_fail(fault, DLF_ESTORE, 0, what);

	snprintf(fault->detail, sizeof(fault->detail), "%s", library_reason());
	ERR_clear_error();
	return rc;
}

int dlf_tls_context_new(const char *ca_file, int verify, dlf_tls_context **out,
			dlf_fault *fault)
{
	dlf_tls_context *context = calloc(1, sizeof(*context));

	*out = NULL;
	if (!context)
		return dlf_fail(fault, -ENOMEM, 0, "out of memory");
	context->ssl = SSL_CTX_new(TLS_client_method());
	context->socket = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK,
				       "socket");
	if (!context->ssl || !context->socket) {
		dlf_tls_context_free(context);
		return dlf_fail(fault, -ENOMEM, 0, "OpenSSL cannot be set up");
	}
	BIO_meth_set_write(context->socket, bio_write);
	BIO_meth_set_read(context->socket, bio_read);
	BIO_meth_set_ctrl(context->socket, bio_ctrl);
	BIO_meth_set_create(context->socket, bio_create);
	SSL_CTX_set_ciphersuites(context->ssl, CIPHERS);
	SSL_CTX_set_min_proto_version(context->ssl, TLS1_2_VERSION);
	SSL_CTX_set_mode(context->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE |
				       SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_read_ahead(context->ssl, 1);
	SSL_CTX_set_default_read_buffer_len(context->ssl, READ_BUFFER);
	SSL_CTX_set_session_cache_mode(context->ssl,
				       SSL_SESS_CACHE_CLIENT |
				       SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(context->ssl, keep_session);
	SSL_CTX_set_verify(context->ssl,
			   verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
	ERR_clear_error();
	int ok = !verify ? 1
		 : ca_file ? SSL_CTX_load_verify_file(context->ssl, ca_file)
			   : SSL_CTX_set_default_verify_paths(context->ssl);
	if (!ok) {
		dlf_tls_context_free(context);
		return refuse(fault, "the certificates to trust cannot be read "
			      "from the CA file");
	}
	*out = context;
	return 0;
}

void dlf_tls_context_free(dlf_tls_context *context)
{
	if (!context)
		return;
	SSL_CTX_free(context->ssl);
	BIO_meth_free(context->socket);
	free(context);
}

static int expect_host(SSL *ssl, const char *host)
{
	unsigned char address[16];

	if (inet_pton(AF_INET, host, address) == 1 ||
	    inet_pton(AF_INET6, host, address) == 1)
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host);
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return SSL_set1_host(ssl, host) && SSL_set_tlsext_host_name(ssl, host);
}

int dlf_tls_new(dlf_tls_context *context, int fd, const char *host,
		dlf_tls_session *slot, dlf_tls **out)
{
	dlf_tls *tls = calloc(1, sizeof(*tls));
	BIO *bio = BIO_new(context->socket);

	*out = NULL;
	if (tls)
		tls->ssl = SSL_new(context->ssl);
	if (!tls || !bio || !tls->ssl || !expect_host(tls->ssl, host)) {
		BIO_free(bio);
		if (tls)
			dlf_tls_free(tls);
		return -ENOMEM;
	}
	BIO_set_data(bio, (void *)(intptr_t)fd);
	SSL_set_bio(tls->ssl, bio, bio);
	SSL_set_app_data(tls->ssl, slot);
	pthread_mutex_lock(&slot->lock);
	if (slot->session)
		SSL_set_session(tls->ssl, slot->session);
	pthread_mutex_unlock(&slot->lock);
	*out = tls;
	return 0;
}

void dlf_tls_free(dlf_tls *tls)
{
	/* Nothing is said to the peer: a response's length tells its end. */
	if (tls->ssl) {
		SSL_set_quiet_shutdown(tls->ssl, 1);
		SSL_free(tls->ssl);
	}
	free(tls);
}

static int outcome(dlf_tls *tls, int rc, short *wants)
{
	int err = errno, error = SSL_get_error(tls->ssl, rc);

	if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
		*wants = error == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT;
		return -EAGAIN;
	}
	if (error == SSL_ERROR_ZERO_RETURN)
		return 0;
	long verdict = SSL_get_verify_result(tls->ssl);
	unsigned long queued = ERR_peek_last_error();
	if (error == SSL_ERROR_SYSCALL && !queued)
		return err ? -err : -ECONNRESET;
	/* A body that ends too early is found out by its length. */
	if (ERR_GET_REASON(queued) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
		ERR_clear_error();
		return -ECONNRESET;
	}
	snprintf(tls->reason, sizeof(tls->reason), "%s%s%s", library_reason(),
		 verdict == X509_V_OK ? "" : ": ",
		 verdict == X509_V_OK ? "" : X509_verify_cert_error_string(verdict));
	ERR_clear_error();
	return DLF_ESTORE;
}

int dlf_tls_handshake(dlf_tls *tls, short *wants)
{
	ERR_clear_error();
	errno = 0;
	int rc = SSL_connect(tls->ssl);
	if (rc == 1)
		return 0;
	rc = outcome(tls, rc, wants);
	return rc ? rc : -ECONNRESET;
}

ssize_t dlf_tls_recv(dlf_tls *tls, void *dst, size_t len, short *wants)
{
	size_t n;

	ERR_clear_error();
	errno = 0;
	int rc = SSL_read_ex(tls->ssl, dst, len, &n);
	return rc == 1 ? (ssize_t)n : outcome(tls, rc, wants);
}

ssize_t dlf_tls_send(dlf_tls *tls, const void *src, size_t len, short *wants)
{
	size_t n;

	ERR_clear_error();
	errno = 0;
	int rc = SSL_write_ex(tls->ssl, src, len, &n);
	if (rc == 1)
		return (ssize_t)n;
	rc = outcome(tls, rc, wants);
	return rc ? rc : -ECONNRESET;
}

int dlf_tls_pending(const dlf_tls *tls)
{
	return SSL_has_pending(tls->ssl);
}

const char *dlf_tls_reason(const dlf_tls *tls)
{
	return tls->reason;
}

#endif
