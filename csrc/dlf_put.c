/* SPDX-License-Identifier: Apache-2.0 */
#include "dlf_http.h"

#ifdef DLF_HAVE_OPENSSL

#include <errno.h>
#include <stdlib.h>

#include "dlf_crc.h"
#include "dlf_fetch.h"
#include "dlf_file.h"

#define PATH_MAX_ENCODED ((size_t)4 << 10)

static void describe(dlf_request *request, const void *data, size_t len,
		     char checksum[9])
{
	dlf_header *header = &request->headers[0];

	if (request->dialect == DLF_S3) {
		dlf_sign_crc(dlf_crc32c(0, data, len), checksum);
		*header = (dlf_header){"x-amz-checksum-crc32c", checksum};
		request->n_headers = 1;
	} else if (request->dialect == DLF_AZURE) {
		*header = (dlf_header){"x-ms-blob-type", "BlockBlob"};
		request->n_headers = 1;
	}
}

/* Wait for the exchange, or for nothing, until a moment. */
static int pause_until(dlf_exchange *x, uint64_t moment, dlf_io *io,
		       dlf_fault *fault)
{
	if (dlf_io_cancelled(io))
		return dlf_fail(fault, DLF_ECANCELLED, 0, "cancelled");
	dlf_fetch_wait(&x, x->conn ? 1 : 0, moment, dlf_now_ns());
	return 0;
}

/* One request: 0, or a failure in x->failure, or DLF_ECANCELLED in *fault. */
static int attempt(dlf_http *http, dlf_io *io, dlf_exchange *x,
		   dlf_request *request, const dlf_retry *retry,
		   dlf_secret *secret, const void *data, dlf_fault *fault)
{
	char rest[4096];
	dlf_exchange_limits limits = dlf_retry_limits(retry, http);
	int rc = dlf_exchange_begin(x, &http->endpoints, retry->fresh, request,
				    &http->secrets, secret, data, &limits,
				    dlf_now_ns());

	x->retry = retry->attempts != 0;
	while (!rc) {
		rc = dlf_exchange_head(x, dlf_now_ns());
		if (rc != -EAGAIN)
			break;
		rc = pause_until(x, UINT64_MAX, io, fault);
		if (rc)
			return rc;
	}
	if (x->head.status)
		atomic_store(&http->contacted, 1);
	/* A success may say something, too. */
	while (!rc && x->body_left && x->head.length != DLF_LENGTH_UNKNOWN) {
		ssize_t n = dlf_exchange_body(x, rest, sizeof(rest), dlf_now_ns());
		if (n == -EAGAIN)
			n = pause_until(x, UINT64_MAX, io, fault);
		if (n < 0)
			break; /* the object is written */
	}
	return rc;
}

int dlf_http_put(dlf_http *http, dlf_io *io, const char *address,
		 const void *data, size_t len, dlf_fault *fault)
{
	char path[PATH_MAX_ENCODED] = "", checksum[9];
	dlf_text text = {.data = path, .cap = sizeof(path)};
	dlf_request request = {
		.method = "PUT",
		.path = path,
		.body = len,
		.dialect = http->options.dialect,
		.auth = http->options.auth,
		.region = http->options.region,
	};
	dlf_retry retry;

	int rc = dlf_http_usable(http, fault);
	if (!rc)
		rc = dlf_http_path(http, address, &text, fault);
	if (rc)
		return rc;
	dlf_exchange *x = calloc(1, sizeof(*x));
	if (!x)
		return dlf_fail(fault, -ENOMEM, 0, "out of memory");
	describe(&request, data, len, checksum);
	dlf_retry_begin(&retry, dlf_now_ns());
	for (;;) {
		dlf_secret *secret;
		rc = dlf_secrets_get(&http->secrets, io, &secret, fault);
		if (rc)
			break;
		rc = attempt(http, io, x, &request, &retry, secret, data, fault);
		int over = !rc || rc == DLF_ECANCELLED;
		uint64_t now = dlf_now_ns();
		if (!over) {
			rc = dlf_retry_again(&retry, http, secret, &x->failure, now);
			over = rc != 0;
			if (rc && fault)
				*fault = x->failure.fault;
		}
		dlf_exchange_end(x, now);
		dlf_secret_unref(secret);
		while (!over && dlf_now_ns() < retry.not_before)
			if ((rc = pause_until(x, retry.not_before, io, fault)))
				over = 1;
		if (over)
			break;
	}
	free(x);
	return rc;
}

#endif
