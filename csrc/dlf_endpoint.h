/* SPDX-License-Identifier: Apache-2.0
 *
 * The servers that a store's requests are spread over, their connections, which are
 * kept, and what was counted for each.
 */
#ifndef DLF_ENDPOINT_H
#define DLF_ENDPOINT_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include "dlf_conn.h"
#include "dlf_io_stats.h"

#define DLF_ENDPOINTS_MAX 64

typedef struct dlf_endpoint_stats {
	uint64_t requests, retries, errors, bytes, connections;
	uint64_t latency[DLF_LATENCY_BUCKETS]; /* of requests, see dlf_io_stats.h */
} dlf_endpoint_stats;

typedef struct dlf_endpoint {
	char *host;       /* without brackets */
	char port[8];
	char *authority;  /* as the Host header has it */
	int tls;
	dlf_tls_session session;
	/* The lock of all endpoints guards what follows. */
	dlf_conn *idle, *open; /* those at rest; all */
	size_t n_idle;
	unsigned outstanding;
	unsigned failures;  /* to connect, in a row */
	uint64_t left_out;  /* until then, in ns */
	dlf_endpoint_stats stats;
} dlf_endpoint;

typedef struct dlf_endpoints {
	pthread_mutex_t lock;
	dlf_tls_context *tls;
	dlf_endpoint *list;
	size_t count, next;
	size_t keep;        /* most idle connections of each */
} dlf_endpoints;

/* urls: "http://host", "https://host:port", "https://[::1]:443".  -EINVAL,
 * DLF_ESTORE, -ENOMEM; to be freed in any case. */
int dlf_endpoints_init(dlf_endpoints *endpoints, const char *const *urls,
		       size_t count, size_t keep, const char *ca_file, int verify,
		       dlf_fault *fault);
void dlf_endpoints_free(dlf_endpoints *endpoints);

/* In a forked child: close the parent's sockets without a word to the servers, and
 * leave everything else as it is. */
void dlf_endpoints_abandon(dlf_endpoints *endpoints);

/* The endpoint with the least to do, those that lately failed to connect left out,
 * and a connection to it: an idle one, or with fresh or without one a new one. */
int dlf_endpoints_take(dlf_endpoints *endpoints, uint64_t now, int fresh,
		       dlf_endpoint **out, dlf_conn **conn, dlf_fault *fault);

/* What one request adds. */
typedef struct dlf_endpoint_use {
	int retry, error, answered;
	uint64_t bytes, ns;
} dlf_endpoint_use;

/* The end of a request: count it, keep the connection or close it (conn may be
 * NULL).  reached: 1 it did connect, 0 it did not, -1 nothing is known. */
void dlf_endpoints_give(dlf_endpoints *endpoints, dlf_endpoint *endpoint,
			dlf_conn *conn, int keep, int reached, uint64_t now,
			const dlf_endpoint_use *use);

/* May another endpoint be tried at once? */
int dlf_endpoints_others(dlf_endpoints *endpoints, uint64_t now);

#endif
