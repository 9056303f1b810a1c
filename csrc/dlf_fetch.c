/* SPDX-License-Identifier: Apache-2.0 */
#include "dlf_fetch.h"

#ifdef DLF_HAVE_OPENSSL

#include <errno.h>
#include <inttypes.h>
#include <poll.h>

#include "dlf_file.h"

#define MS UINT64_C(1000000)
#define SLICE (50 * MS) /* between two looks whether to stop */
#define PROGRESS ((uint64_t)16 << 10)
#define AT_ONCE 16
/* Received at once, so that it is still in the second-level cache when its checksum
 * is taken. */
#define SUM_BLOCK ((size_t)256 << 10)

void dlf_fetch_begin(dlf_fetch *fetch, dlf_http *http, const char *path,
		     dlf_known *known, uint64_t offset, uint64_t end)
{
	fetch->http = http;
	fetch->path = path;
	fetch->known = known;
	fetch->at = fetch->mark = offset;
	fetch->end = end;
	fetch->dst = NULL;
	fetch->want = 0;
	fetch->running = fetch->headed = 0;
	dlf_integrity_end(&fetch->integrity);
	fetch->secret = NULL;
	fetch->begun = dlf_now_ns();
	dlf_retry_begin(&fetch->retry, fetch->begun);
}

/* A whole object is asked for as such: only then do stores tell its checksum. */
static int is_whole(const dlf_fetch *fetch)
{
	return fetch->at == 0 && fetch->end == fetch->known->size;
}

static int start(dlf_fetch *fetch, dlf_io *io, uint64_t now)
{
	dlf_http *http = fetch->http;
	char range[64];
	dlf_request request = {
		.method = "GET",
		.path = fetch->path,
		.dialect = http->options.dialect,
		.auth = http->options.auth,
		.region = http->options.region,
	};

	int rc = dlf_secrets_get(&http->secrets, io, &fetch->secret,
				 &fetch->x.failure.fault);
	if (rc) {
		fetch->x.failure.kind = DLF_FATAL;
		return rc;
	}
	if (!is_whole(fetch)) {
		snprintf(range, sizeof(range), "bytes=%" PRIu64 "-%" PRIu64,
			 fetch->at, fetch->end - 1);
		request.range = range;
	} else if (http->options.verify && request.dialect == DLF_S3) {
		request.headers[request.n_headers++] =
			(dlf_header){"x-amz-checksum-mode", "ENABLED"};
	}
	dlf_exchange_limits limits = dlf_retry_limits(&fetch->retry, http);
	fetch->running = 1;
	fetch->headed = 0;
	rc = dlf_exchange_begin(&fetch->x, &http->endpoints, fetch->retry.fresh,
				&request, &http->secrets, fetch->secret, NULL,
				&limits, now);
	fetch->x.retry = fetch->retry.attempts != 0;
	return rc;
}

/* An empty object has no range to be asked for. */
static int is_empty(const dlf_fetch *fetch)
{
	const dlf_head *head = &fetch->x.head;

	return head->status == 416 && fetch->known->size == DLF_LENGTH_UNKNOWN &&
	       (head->total == 0 || head->total == DLF_LENGTH_UNKNOWN);
}

static int take_head(dlf_fetch *fetch, uint64_t now)
{
	const dlf_head *head = &fetch->x.head;
	int unknown = fetch->known->size == DLF_LENGTH_UNKNOWN;
	int rc = dlf_exchange_head(&fetch->x, now);

	if (rc == -EAGAIN)
		return rc;
	if (head->status)
		atomic_store_explicit(&fetch->http->contacted, 1,
				      memory_order_relaxed);
	if (rc && is_empty(fetch)) {
		fetch->known->size = fetch->end = fetch->at = 0;
		fetch->known->version = head->version;
		return 0;
	}
	if (rc && head->status == 416) {
		rc = dlf_reply_fail(&fetch->x.failure, DLF_FATAL, DLF_ECHANGED,
				    "the object is shorter than it was when it was "
				    "listed or opened");
		return rc;
	}
	if (!rc)
		rc = dlf_reply_check(&fetch->x.failure, head, !is_whole(fetch),
				     fetch->at, fetch->end - 1, fetch->known);
	if (rc)
		return rc;
	fetch->headed = 1;
	if (unknown) {
		if (fetch->end > fetch->known->size)
			fetch->end = fetch->known->size;
		fetch->want = fetch->end - fetch->at;
	}
	if (is_whole(fetch) && fetch->http->options.verify)
		return dlf_integrity_begin(&fetch->integrity, head,
					   fetch->http->options.verify_md5);
	return 0;
}

static int finish(dlf_fetch *fetch, dlf_io *io)
{
	if (fetch->at < fetch->end)
		return 0;
	const char *wrong = dlf_integrity_wrong(&fetch->integrity);
	dlf_fetch_end(fetch, io);
	return wrong ? dlf_reply_fail(&fetch->x.failure, DLF_FATAL, DLF_ECHECKSUM,
				      wrong)
		     : 0;
}

static int receive(dlf_fetch *fetch, uint64_t now)
{
	unsigned char scrap[16 << 10];
	size_t len = fetch->want;

	if (!fetch->dst && len > sizeof(scrap))
		len = sizeof(scrap);
	if ((fetch->integrity.crc32c || fetch->integrity.md5) && len > SUM_BLOCK)
		len = SUM_BLOCK;
	unsigned char *dst = fetch->dst ? fetch->dst : scrap;
	ssize_t n = dlf_exchange_body(&fetch->x, dst, len, now);
	if (n < 0)
		return (int)n;
	dlf_integrity_add(&fetch->integrity, dst, (size_t)n);
	if (fetch->dst)
		fetch->dst += n;
	fetch->want -= (size_t)n;
	fetch->at += (uint64_t)n;
	return 0;
}

static void close_exchange(dlf_fetch *fetch, dlf_io *io, uint64_t now)
{
	if (!fetch->running)
		return;
	io->stats.bytes += fetch->x.received;
	dlf_exchange_end(&fetch->x, now);
	dlf_secret_unref(fetch->secret);
	fetch->secret = NULL;
	fetch->running = fetch->headed = 0;
}

/* After a failure: 0, to be tried again. */
static int again(dlf_fetch *fetch, dlf_io *io, uint64_t now)
{
	if (fetch->at - fetch->mark >= PROGRESS) {
		fetch->mark = fetch->at;
		dlf_retry_begin(&fetch->retry, now);
	}
	int rc = dlf_retry_again(&fetch->retry, fetch->http, fetch->secret,
				 &fetch->x.failure, now);
	/* That a server closes what is idle is no failure. */
	if (!rc && fetch->x.failure.kind != DLF_STALE)
		io->stats.retries++;
	close_exchange(fetch, io, now);
	return rc;
}

static int step(dlf_fetch *fetch, dlf_io *io, uint64_t now)
{
	/* Nothing is wanted until the size is known. */
	while (fetch->want || fetch->known->size == DLF_LENGTH_UNKNOWN) {
		int rc = 0;
		if (!fetch->running) {
			if (now < fetch->retry.not_before)
				return -EAGAIN;
			rc = start(fetch, io, now);
		}
		if (!rc && !fetch->headed)
			rc = take_head(fetch, now);
		else if (!rc)
			rc = receive(fetch, now);
		if (rc == -EAGAIN && fetch->running)
			return rc;
		if (rc)
			rc = again(fetch, io, now);
		if (rc)
			return rc;
	}
	return finish(fetch, io);
}

void dlf_fetch_wait(dlf_exchange *const *list, size_t count, uint64_t moment,
		    uint64_t now)
{
	struct pollfd polls[AT_ONCE];
	uint64_t until = now + SLICE < moment ? now + SLICE : moment;

	for (size_t i = 0; i < count; i++) {
		polls[i] = (struct pollfd){.fd = list[i]->conn->fd,
					   .events = list[i]->conn->wants};
		if (list[i]->deadline < until)
			until = list[i]->deadline;
	}
	uint64_t ms = until <= now ? 0 : (until - now + MS - 1) / MS;
	poll(polls, count, (int)ms);
}

int dlf_fetch_run(dlf_fetch *const *list, size_t count, dlf_io *io,
		  dlf_fault *fault)
{
	for (;;) {
		dlf_exchange *waiting[AT_ONCE];
		size_t n = 0, pending = 0;
		uint64_t now = dlf_now_ns(), moment = UINT64_MAX;
		for (size_t i = 0; i < count; i++) {
			int rc = step(list[i], io, now);
			if (rc == -EAGAIN) {
				pending++;
				if (list[i]->running)
					waiting[n++] = &list[i]->x;
				else if (list[i]->retry.not_before < moment)
					moment = list[i]->retry.not_before;
			} else if (rc) {
				if (fault) {
					*fault = list[i]->x.failure.fault;
					fault->code = rc;
					fault->offset = list[i]->at;
				}
				return rc;
			}
		}
		if (!pending)
			return 0;
		if (dlf_io_cancelled(io))
			return dlf_fail(fault, DLF_ECANCELLED, list[0]->at,
					"cancelled");
		dlf_fetch_wait(waiting, n, moment, now);
	}
}

void dlf_fetch_end(dlf_fetch *fetch, dlf_io *io)
{
	uint64_t now = dlf_now_ns();
	int done = fetch->headed;

	dlf_integrity_end(&fetch->integrity);
	close_exchange(fetch, io, now);
	if (done) {
		io->stats.reads++;
		io->stats.latency[dlf_latency_bucket(now - fetch->begun)]++;
	}
}

#endif
