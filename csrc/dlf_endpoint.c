/* SPDX-License-Identifier: Apache-2.0 */
#include "dlf_endpoint.h"

#ifdef DLF_HAVE_OPENSSL

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SECOND UINT64_C(1000000000)
#define LEFT_OUT_FIRST (SECOND / 2)
#define LEFT_OUT_MOST (30 * SECOND)
/* Servers close what is idle for longer; Amazon's after some 20 s, nginx's 75. */
#define IDLE_MOST (60 * SECOND)

static int parse_url(dlf_endpoint *endpoint, const char *url)
{
	const char *port = NULL, *host, *end;

	if (!strncmp(url, "https://", 8))
		endpoint->tls = 1;
	else if (strncmp(url, "http://", 7))
		return -EINVAL;
	host = url + (endpoint->tls ? 8 : 7);
	endpoint->authority = strdup(host);
	if (!endpoint->authority)
		return -ENOMEM;
	if (*host == '[') {
		end = strchr(++host, ']');
		if (!end || (end[1] && end[1] != ':'))
			return -EINVAL;
		if (end[1])
			port = end + 2;
	} else {
		end = host + strcspn(host, ":");
		if (*end)
			port = end + 1;
	}
	if (end == host || strpbrk(host, "/?#@ \r\n"))
		return -EINVAL;
	if (port && (!*port || strlen(port) > 5 ||
		     strspn(port, "0123456789") != strlen(port)))
		return -EINVAL;
	const char *usual = endpoint->tls ? "443" : "80";
	if (port && !strcmp(port, usual)) /* no client names it, nor may a signature */
		endpoint->authority[strlen(endpoint->authority) -
				    strlen(port) - 1] = '\0';
	snprintf(endpoint->port, sizeof(endpoint->port), "%s", port ? port : usual);
	endpoint->host = strndup(host, (size_t)(end - host));
	return endpoint->host ? 0 : -ENOMEM;
}

int dlf_endpoints_init(dlf_endpoints *endpoints, const char *const *urls,
		       size_t count, size_t keep, const char *ca_file, int verify,
		       dlf_fault *fault)
{
	int tls = 0;

	memset(endpoints, 0, sizeof(*endpoints));
	pthread_mutex_init(&endpoints->lock, NULL);
	endpoints->keep = keep;
	if (!count || count > DLF_ENDPOINTS_MAX)
		return dlf_fail(fault, -EINVAL, 0, "a store needs an endpoint, and "
				"takes 64 at most");
	endpoints->list = calloc(count, sizeof(*endpoints->list));
	if (!endpoints->list)
		return dlf_fail(fault, -ENOMEM, 0, "out of memory");
	for (size_t i = 0; i < count; i++) {
		dlf_tls_session_init(&endpoints->list[i].session);
		endpoints->count++;
		int rc = parse_url(&endpoints->list[i], urls[i]);
		if (rc)
			return dlf_fail(fault, rc, 0, "an endpoint is to be "
					"http[s]://host[:port]");
		tls |= endpoints->list[i].tls;
	}
	return tls ? dlf_tls_context_new(ca_file, verify, &endpoints->tls, fault)
		   : 0;
}

void dlf_endpoints_free(dlf_endpoints *endpoints)
{
	for (size_t i = 0; i < endpoints->count; i++) {
		dlf_endpoint *endpoint = &endpoints->list[i];
		while (endpoint->idle) {
			dlf_conn *conn = endpoint->idle;
			endpoint->idle = conn->next;
			dlf_conn_free(conn);
		}
		dlf_tls_session_free(&endpoint->session);
		free(endpoint->host);
		free(endpoint->authority);
	}
	free(endpoints->list);
	dlf_tls_context_free(endpoints->tls);
	pthread_mutex_destroy(&endpoints->lock);
}

void dlf_endpoints_abandon(dlf_endpoints *endpoints)
{
	/* Without the lock, which may be held for ever here. */
	for (size_t i = 0; i < endpoints->count; i++) {
		dlf_conn *conn = endpoints->list[i].open;
		for (; conn; conn = conn->older)
			if (conn->fd >= 0) {
				close(conn->fd);
				conn->fd = -1;
			}
		endpoints->list[i].idle = NULL;
		endpoints->list[i].open = NULL;
	}
}

/* A child of a fork may find the list at any moment of this. */
static void forget(dlf_endpoint *endpoint, const dlf_conn *conn)
{
	dlf_conn **at = &endpoint->open;

	while (*at && *at != conn)
		at = &(*at)->older;
	if (*at)
		*at = conn->older;
}

static dlf_endpoint *choose(dlf_endpoints *endpoints, uint64_t now)
{
	dlf_endpoint *best = NULL, *soonest = endpoints->list;
	size_t at = endpoints->next;

	for (size_t i = 0; i < endpoints->count; i++) {
		dlf_endpoint *endpoint = &endpoints->list[at % endpoints->count];
		at++;
		if (endpoint->left_out < soonest->left_out)
			soonest = endpoint;
		if (endpoint->left_out > now)
			continue;
		if (!best || endpoint->outstanding < best->outstanding)
			best = endpoint;
	}
	best = best ? best : soonest;
	endpoints->next = (size_t)(best - endpoints->list) + 1;
	/* One request tries whether it is back; the others still pass it by. */
	if (best->failures && endpoints->count > 1)
		best->left_out = now + LEFT_OUT_FIRST;
	return best;
}

int dlf_endpoints_take(dlf_endpoints *endpoints, uint64_t now, int fresh,
		       dlf_endpoint **out, dlf_conn **conn, dlf_fault *fault)
{
	int rc = 0;

	*conn = NULL;
	pthread_mutex_lock(&endpoints->lock);
	dlf_endpoint *endpoint = choose(endpoints, now);
	endpoint->outstanding++;
	while (!fresh && endpoint->idle) {
		dlf_conn *idle = endpoint->idle;
		endpoint->idle = idle->next;
		endpoint->n_idle--;
		/* Another thread may have given it back after this moment. */
		if (now < idle->idle_since + IDLE_MOST && dlf_conn_quiet(idle)) {
			*conn = idle;
			break;
		}
		forget(endpoint, idle);
		dlf_conn_free(idle);
	}
	pthread_mutex_unlock(&endpoints->lock);
	*out = endpoint;
	if (*conn)
		return 0;
	rc = dlf_conn_new(endpoint->host, endpoint->port,
			  endpoint->tls ? endpoints->tls : NULL,
			  &endpoint->session, conn, fault);
	if (rc)
		return rc;
	pthread_mutex_lock(&endpoints->lock);
	endpoint->stats.connections++;
	(*conn)->older = endpoint->open;
	endpoint->open = *conn;
	pthread_mutex_unlock(&endpoints->lock);
	return 0;
}

static void add_use(dlf_endpoint_stats *stats, const dlf_endpoint_use *use)
{
	stats->requests++;
	stats->retries += (unsigned)use->retry;
	stats->errors += (unsigned)use->error;
	stats->bytes += use->bytes;
	if (use->answered)
		stats->latency[dlf_latency_bucket(use->ns)]++;
}

void dlf_endpoints_give(dlf_endpoints *endpoints, dlf_endpoint *endpoint,
			dlf_conn *conn, int keep, int reached, uint64_t now,
			const dlf_endpoint_use *use)
{
	pthread_mutex_lock(&endpoints->lock);
	endpoint->outstanding--;
	add_use(&endpoint->stats, use);
	if (reached > 0) {
		endpoint->failures = 0;
		endpoint->left_out = 0;
	} else if (reached == 0) {
		unsigned doublings = endpoint->failures < 6 ? endpoint->failures : 6;
		uint64_t pause = LEFT_OUT_FIRST << doublings;
		endpoint->failures++;
		endpoint->left_out = now + (pause < LEFT_OUT_MOST ? pause
								  : LEFT_OUT_MOST);
	}
	if (conn && keep && endpoint->n_idle < endpoints->keep) {
		conn->idle_since = now;
		conn->next = endpoint->idle;
		endpoint->idle = conn;
		endpoint->n_idle++;
		conn = NULL;
	}
	if (conn)
		forget(endpoint, conn);
	pthread_mutex_unlock(&endpoints->lock);
	if (conn)
		dlf_conn_free(conn);
}

int dlf_endpoints_others(dlf_endpoints *endpoints, uint64_t now)
{
	int found = 0;

	pthread_mutex_lock(&endpoints->lock);
	for (size_t i = 0; i < endpoints->count && !found; i++)
		found = endpoints->list[i].left_out <= now;
	pthread_mutex_unlock(&endpoints->lock);
	return found;
}

#endif
