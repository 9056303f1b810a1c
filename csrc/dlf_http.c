/* SPDX-License-Identifier: Apache-2.0 */
#include "dlf_http.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dlf_pool.h"

#define SECOND UINT64_C(1000000000)

void dlf_http_defaults(dlf_http_options *options)
{
	memset(options, 0, sizeof(*options));
	options->verify_tls = options->verify = 1;
	options->connections = 64;
	options->connect_ns = 5 * SECOND;
	options->read_ns = 10 * SECOND;
	options->first_ns = 6 * SECOND;
	options->retry_ns = 45 * SECOND;
	options->attempts = 10;
}

#ifdef DLF_HAVE_OPENSSL

#include "dlf_object.h"

int dlf_http_built(void)
{
	return 1;
}

static int own_strings(dlf_http_options *options)
{
	options->prefix = strdup(options->prefix ? options->prefix : "");
	options->path = strdup(options->path ? options->path : "/");
	options->region = strdup(options->region ? options->region : "us-east-1");
	options->urls = NULL;
	options->ca_file = NULL;
	return options->prefix && options->path && options->region ? 0 : -ENOMEM;
}

int dlf_http_new(const dlf_http_options *options, dlf_http **out,
		 dlf_fault *fault)
{
	dlf_http *http = calloc(1, sizeof(*http));

	*out = NULL;
	if (!http)
		return dlf_fail(fault, -ENOMEM, 0, "out of memory");
	http->store.ops = &dlf_object_ops;
	http->store.stream_most = DLF_OBJECT_STREAM_MOST;
	http->options = *options;
	http->generation = dlf_fork_generation();
	dlf_secrets_init(&http->secrets, options->renew, options->renew_ctx);
	int rc = dlf_endpoints_init(&http->endpoints, options->urls,
				    options->n_urls, options->connections,
				    options->ca_file, options->verify_tls, fault);
	if (own_strings(&http->options))
		rc = dlf_fail(fault, -ENOMEM, 0, "out of memory");
	if (!rc && http->options.path[0] != '/')
		rc = dlf_fail(fault, -EINVAL, 0, "a path begins with a slash");
	if (rc) {
		dlf_http_free(http);
		return rc;
	}
	*out = http;
	return 0;
}

void dlf_http_close(dlf_http *http)
{
	atomic_store(&http->closed, 1);
}

void dlf_http_abandon(dlf_http *http)
{
	dlf_endpoints_abandon(&http->endpoints);
}

void dlf_http_free(dlf_http *http)
{
	if (http->generation != dlf_fork_generation()) {
		dlf_http_abandon(http); /* its locks may be held: leave it */
		return;
	}
	dlf_endpoints_free(&http->endpoints);
	dlf_secrets_free(&http->secrets);
	free((char *)http->options.prefix);
	free((char *)http->options.path);
	free((char *)http->options.region);
	free(http);
}

int dlf_http_usable(const dlf_http *http, dlf_fault *fault)
{
	if (http->generation != dlf_fork_generation())
		return dlf_fail(fault, DLF_ESTORE, 0, "the store was opened before "
				"a fork; open it again in this process");
	if (atomic_load_explicit(&((dlf_http *)http)->closed, memory_order_relaxed))
		return dlf_fail(fault, DLF_ESTORE, 0, "the store was closed");
	return 0;
}

int dlf_http_path(const dlf_http *http, const char *address, dlf_text *out,
		  dlf_fault *fault)
{
	size_t n = strlen(http->options.prefix);

	if (strncmp(address, http->options.prefix, n))
		return dlf_fail(fault, DLF_ESTORE, 0,
				"the address does not lie in this store");
	dlf_sign_path(out, http->options.path, address + n);
	if (out->full)
		return dlf_fail(fault, -ENAMETOOLONG, 0, "the key is too long");
	return 0;
}

size_t dlf_http_endpoints(const dlf_http *http)
{
	return http->endpoints.count;
}

const char *dlf_http_stats(dlf_http *http, size_t i, dlf_endpoint_stats *out)
{
	pthread_mutex_lock(&http->endpoints.lock);
	*out = http->endpoints.list[i].stats;
	pthread_mutex_unlock(&http->endpoints.lock);
	return http->endpoints.list[i].authority;
}

#else

int dlf_http_built(void)
{
	return 0;
}

int dlf_http_new(const dlf_http_options *options, dlf_http **out,
		 dlf_fault *fault)
{
	(void)options;
	*out = NULL;
	return dlf_fail(fault, -ENOSYS, 0, "dlio_fast was built without OpenSSL");
}

void dlf_http_close(dlf_http *http)
{
	(void)http;
}

void dlf_http_free(dlf_http *http)
{
	(void)http;
}

void dlf_http_abandon(dlf_http *http)
{
	(void)http;
}

int dlf_http_put(dlf_http *http, struct dlf_io *io, const char *address,
		 const void *data, size_t len, dlf_fault *fault)
{
	(void)http, (void)io, (void)address, (void)data, (void)len;
	return dlf_fail(fault, -ENOSYS, 0, "dlio_fast was built without OpenSSL");
}

size_t dlf_http_endpoints(const dlf_http *http)
{
	(void)http;
	return 0;
}

const char *dlf_http_stats(dlf_http *http, size_t i, dlf_endpoint_stats *out)
{
	(void)http, (void)i, (void)out;
	return "";
}

#endif
