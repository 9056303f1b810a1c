/* SPDX-License-Identifier: Apache-2.0
 *
 * Object stores over HTTP/1.1, S3's and Azure's kind and plain: a dlf_store whose
 * objects are received straight into the caller's memory.
 *
 * Every response is compared with the object's version and size as they are known,
 * and with the range that was asked for: what does not fit is an error, never other
 * bytes.  Failures that may pass are retried, from the byte where they happened.
 */
#ifndef DLF_HTTP_H
#define DLF_HTTP_H

#include "dlf_endpoint.h"
#include "dlf_secret.h"
#include "dlf_sign.h"
#include "dlf_store.h"

typedef struct dlf_http_options {
	const char *prefix;  /* of addresses, cut off: "s3://bucket/" */
	const char *const *urls;
	size_t n_urls;
	const char *path;    /* of URLs, before the key: "/bucket/" */
	dlf_auth auth;
	dlf_dialect dialect;
	const char *region;
	dlf_renew_fn *renew; /* NULL: no credentials */
	void *renew_ctx;
	const char *ca_file; /* NULL: the system's */
	int verify_tls;
	int verify;          /* compare whole objects with the store's checksum */
	int verify_md5;      /* with an MD5, too, where it keeps no other */
	size_t connections;  /* kept open to each endpoint */
	uint64_t connect_ns; /* to connect */
	uint64_t read_ns;    /* without progress */
	uint64_t first_ns;   /* retrying, before the store has ever answered */
	uint64_t retry_ns;   /* retrying without progress */
	unsigned attempts;   /* without progress */
} dlf_http_options;

typedef struct dlf_http {
	dlf_store store;     /* first */
	dlf_endpoints endpoints;
	dlf_secrets secrets;
	dlf_http_options options; /* its strings are the store's own */
	atomic_int contacted;     /* it has answered once */
	atomic_int closed;
	unsigned generation;
} dlf_http;

/* Is the client built in, that is, was OpenSSL there? */
int dlf_http_built(void);

/* The usual times and numbers; everything else zero. */
void dlf_http_defaults(dlf_http_options *options);

/* Makes no connection yet.  -EINVAL, -ENOMEM, -ENOSYS, DLF_ESTORE. */
int dlf_http_new(const dlf_http_options *options, dlf_http **out,
		 dlf_fault *fault);

/* Calls that come later are refused. */
void dlf_http_close(dlf_http *http);

/* Nothing may use it any more.  In a forked child it only closes the sockets. */
void dlf_http_free(dlf_http *http);

/* 0, or why nothing can be asked of it: closed, or made before a fork. */
int dlf_http_usable(const dlf_http *http, dlf_fault *fault);

/* In a forked child: close what was inherited of the parent's sockets. */
void dlf_http_abandon(dlf_http *http);

/* Put the URL's path for an address together.  DLF_ESTORE: it lies elsewhere. */
int dlf_http_path(const dlf_http *http, const char *address, dlf_text *out,
		  dlf_fault *fault);

/* Write one object in a single request, with a checksum where the store takes
 * one.  Retried like reading. */
int dlf_http_put(dlf_http *http, struct dlf_io *io, const char *address,
		 const void *data, size_t len, dlf_fault *fault);

/* What was counted for endpoint i, and its URL's authority. */
size_t dlf_http_endpoints(const dlf_http *http);
const char *dlf_http_stats(dlf_http *http, size_t i, dlf_endpoint_stats *out);

#endif
