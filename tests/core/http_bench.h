/* SPDX-License-Identifier: Apache-2.0
 *
 * An HTTP store whose only server follows a script.
 */
#ifndef HTTP_BENCH_H
#define HTTP_BENCH_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "dlf_file.h"
#include "dlf_http.h"
#include "http_server.h"

#define MS UINT64_C(1000000)
#define COUNT(script) (sizeof(script) / sizeof((script)[0]))
#define OK(length) "HTTP/1.1 200 OK\r\nETag: \"v\"\r\nContent-Length: " length "\r\n\r\n"
#define PART(range, length)                                                    \
	"HTTP/1.1 206 Partial Content\r\nETag: \"v\"\r\nContent-Range: bytes " \
	range "\r\nContent-Length: " length "\r\n\r\n"

/* A store whose only server follows a script, and a thread that reads. */
typedef struct bench {
	http_server server;
	dlf_http *http;
	dlf_io io;
	dlf_fault fault;
} bench;

static inline void set_up(bench *b, const http_answer *script, size_t answers)
{
	const char *url = b->server.url;
	dlf_http_options options;

	http_server_start(&b->server, script, answers);
	dlf_http_defaults(&options);
	options.prefix = "s3://bucket/";
	options.urls = &url;
	options.n_urls = 1;
	options.path = "/bucket/";
	options.dialect = DLF_S3;
	options.read_ns = 200 * MS;
	options.attempts = 3;
	dlf_fault_clear(&b->fault);
	CHECK_EQ(dlf_http_new(&options, &b->http, &b->fault), 0);
	dlf_io_init(&b->io, NULL);
	dlf_io_use(&b->io, &b->http->store);
}

static inline void tear_down(bench *b)
{
	dlf_io_free(&b->io);
	dlf_http_free(b->http);
	http_server_stop(&b->server);
}

/* Read a whole object; with size UINT64_MAX it is not known before.  *got ends with
 * a NUL. */
static inline int read_whole(bench *b, uint64_t size, char *got, size_t cap)
{
	dlf_hint hint = {.size = size};
	dlf_file file;

	memset(got, 0, cap);
	int rc = dlf_file_open_known(&file, &b->io, "s3://bucket/key", 0, &hint,
				     &b->fault);
	if (rc)
		return rc;
	rc = file.size < cap ? dlf_file_read(&file, &b->io, 0, got, file.size, NULL,
					     &b->fault)
			     : -E2BIG;
	dlf_file_close(&file);
	return rc;
}

#define WITH(script, size, code, text)                                         \
	do {                                                                   \
		bench b;                                                       \
		char got[64];                                                  \
		set_up(&b, script, COUNT(script));                             \
		CHECK_EQ(read_whole(&b, size, got, sizeof(got)), code);        \
		if (!(code))                                                   \
			CHECK(!strcmp(got, text));                             \
		tear_down(&b);                                                 \
		CHECK_EQ(b.server.next, COUNT(script));                        \
	} while (0)

#endif
