/* SPDX-License-Identifier: Apache-2.0 */
#include "check.h"

#ifdef DLF_HAVE_OPENSSL

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dlf_crc.h"
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

static void set_up(bench *b, const http_answer *script, size_t answers)
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

static void tear_down(bench *b)
{
	dlf_io_free(&b->io);
	dlf_http_free(b->http);
	http_server_stop(&b->server);
}

/* Read a whole object; with size UINT64_MAX it is not known before.  *got ends with
 * a NUL. */
static int read_whole(bench *b, uint64_t size, char *got, size_t cap)
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

static void small_object_takes_one_request_in_all(void)
{
	const http_answer script[] = {{.text = PART("0-4/5", "5") "hello"}};
	WITH(script, UINT64_MAX, 0, "hello");
}

static void known_object_is_asked_for_whole(void)
{
	const http_answer script[] = {{.text = OK("5") "hello"}};
	WITH(script, 5, 0, "hello");
}

static void empty_object_is_empty(void)
{
	const http_answer refused[] = {
		{.text = "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */0\r\n"
		 "Content-Length: 0\r\n\r\n"}};
	const http_answer whole[] = {{.text = OK("0")}};

	WITH(refused, UINT64_MAX, 0, "");
	WITH(whole, UINT64_MAX, 0, "");
}

static void answer_may_come_byte_by_byte(void)
{
	const http_answer script[] = {
		{.text = "HTTP/1.1 100 Continue\r\n\r\n" OK("5") "hello", .piece = 1}};
	WITH(script, 5, 0, "hello");
}

static void rest_of_a_body_that_broke_off_is_asked_for(void)
{
	const http_answer closed[] = {{.text = OK("5") "hel", .close = 1},
				      {.text = PART("3-4/5", "2") "lo"}};
	const http_answer stalled[] = {{.text = OK("5") "h", .silent = 1},
				       {.text = PART("1-4/5", "4") "ello"}};

	WITH(closed, 5, 0, "hello");
	WITH(stalled, 5, 0, "hello");
}

static void failures_that_pass_are_retried(void)
{
	const http_answer script[] = {
		{.text = "HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\n\r\n"},
		{.text = "", .close = 1},
		{.text = OK("5") "hello"}};
	WITH(script, 5, 0, "hello");
}

static void failing_without_end_is_given_up(void)
{
	const http_answer script[] = {
		{.text = "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n"},
		{.text = "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n"},
		{.text = "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n"}};
	WITH(script, 5, DLF_ESTORE, "");
}

static void silent_store_is_given_up(void)
{
	const http_answer script[] = {{.text = "", .silent = 1},
				      {.text = "", .silent = 1},
				      {.text = "", .silent = 1}};
	WITH(script, 5, -ETIMEDOUT, "");
}

/* Each of these is one answer, at once, and no bytes. */
static void lying_answer_is_an_error(void)
{
	static const struct {
		const char *text;
		int code;
	} lies[] = {
		{.text = OK("6") "hello!", DLF_ECHANGED},
		{.text = OK("4") "hell", DLF_ECHANGED},
		{.text = PART("0-4/5", "5") "hello", DLF_ESTORE},
		{.text = OK("-5") "hello", DLF_ESTORE},
		{.text = OK("5x") "hello", DLF_ESTORE},
		{.text = OK("99999999999999999999999") "hello", DLF_ESTORE},
		{.text = OK("5\r\nContent-Length: 6") "hello", DLF_ESTORE},
		{.text = OK("5\r\nTransfer-Encoding: chunked") "hello", DLF_ESTORE},
		{.text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello",
		 DLF_ESTORE},
		{.text = "HTTP/1.1 200 OK\r\n\r\nhello", DLF_ESTORE},
		{.text = "HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n", DLF_ESTORE},
		{.text = "HTTP/2 200 OK\r\nContent-Length: 5\r\n\r\nhello", DLF_ESTORE},
		{.text = "SSH-2.0-OpenSSH_9.2\r\n", DLF_ESTORE},
		{.text = "HTTP/1.1 200 OK\r\nno colon\r\n\r\n", DLF_ESTORE},
	};

	for (size_t i = 0; i < COUNT(lies); i++) {
		const http_answer script[] = {{.text = lies[i].text}};
		WITH(script, 5, lies[i].code, "");
	}
}

static void wrong_range_is_an_error(void)
{
	static const struct {
		const char *text;
		int code;
	} lies[] = {
		{.text = PART("1-5/9", "5") "hello", DLF_ESTORE},
		{.text = PART("0-4/*", "5") "hello", DLF_ESTORE},
		{.text = PART("0-4/9", "5") "hello", DLF_ESTORE},
		{.text = PART("4-0/5", "5") "hello", DLF_ESTORE},
		{.text = PART("0-4/5", "6") "hello!", DLF_ESTORE},
		{.text = "HTTP/1.1 206 P\r\nContent-Length: 5\r\n\r\nhello", DLF_ESTORE},
	};

	for (size_t i = 0; i < COUNT(lies); i++) {
		const http_answer script[] = {{.text = lies[i].text}};
		WITH(script, UINT64_MAX, lies[i].code, "");
	}
}

static void head_without_end_is_an_error(void)
{
	size_t len = (size_t)20 << 10;
	char *text = malloc(len + 1);

	memset(text, 'a', len);
	text[len] = '\0';
	memcpy(text, "HTTP/1.1 200 OK\r\nX: ", 20);
	const http_answer script[] = {{.text = text, .close = 1}};
	WITH(script, 5, DLF_ESTORE, "");
	free(text);
}

static void refusal_says_what_the_store_said(void)
{
	const http_answer script[] = {
		{.text = "HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n"
		 "10\r\n<Error><Code>Sig\r\n36\r\nnatureDoesNotMatch</Code><Message>"
		 "Look at it</Message>\r\n0\r\n\r\n"},
		{.text = "HTTP/1.1 404 Not Found\r\nContent-Length: 21\r\n\r\n"
		 "<Code>NoSuchKey</Code"},
		{.text = "HTTP/1.1 301 Moved\r\nx-amz-bucket-region: eu-west-1\r\n"
		 "Content-Length: 0\r\n\r\n"}};
	bench b;
	char got[64];

	set_up(&b, script, COUNT(script));
	CHECK_EQ(read_whole(&b, 5, got, sizeof(got)), -EACCES);
	CHECK(!strcmp(b.fault.detail, "HTTP 403 SignatureDoesNotMatch: Look at it"));
	CHECK_EQ(read_whole(&b, 5, got, sizeof(got)), -ENOENT);
	CHECK(!strcmp(b.fault.detail, "HTTP 404 NoSuchKey"));
	CHECK_EQ(read_whole(&b, 5, got, sizeof(got)), DLF_ESTORE);
	CHECK(strstr(b.fault.detail, "eu-west-1") != NULL);
	CHECK_EQ(b.server.connections, 1); /* each body was read to its end */
	tear_down(&b);
}

static int renewals;

static int renew(void *ctx, dlf_secret **out, dlf_fault *fault)
{
	(void)ctx, (void)fault;
	return dlf_secret_new("id", "key", renewals++ ? "new" : "old", 0, out);
}

static void expired_credentials_are_renewed_once(void)
{
	const char *expired = "HTTP/1.1 403 Forbidden\r\nContent-Length: 25\r\n\r\n"
			      "<Code>ExpiredToken</Code>";
	const http_answer script[] = {
		{.text = expired}, {.text = OK("5") "hello"},
		{.text = expired}, {.text = expired}};
	bench b;
	char got[64];

	set_up(&b, script, COUNT(script));
	b.http->options.auth = DLF_AUTH_S3;
	b.http->secrets.renew = renew;
	renewals = 0;
	CHECK_EQ(read_whole(&b, 5, got, sizeof(got)), 0);
	CHECK_EQ(renewals, 2);
	CHECK_EQ(read_whole(&b, 5, got, sizeof(got)), -EACCES);
	CHECK(!strcmp(b.fault.detail, "HTTP 403 ExpiredToken"));
	tear_down(&b);
	CHECK(strstr(b.server.heads[0], "x-amz-security-token: old") != NULL);
	CHECK(strstr(b.server.heads[1], "x-amz-security-token: new") != NULL);
}

static void other_etag_is_a_change(void)
{
	const http_answer script[] = {
		{.text = "HTTP/1.1 200 OK\r\nETag: \"w\"\r\nContent-Length: 5\r\n\r\nhello"}};
	dlf_hint hint = {.size = 5, .version = dlf_store_version("v", 1)};
	bench b;
	dlf_file file;
	char got[5];

	set_up(&b, script, COUNT(script));
	CHECK_EQ(dlf_file_open_known(&file, &b.io, "s3://bucket/key", 0, &hint,
				     &b.fault), 0);
	CHECK_EQ(dlf_file_read(&file, &b.io, 0, got, 5, NULL, &b.fault),
		 DLF_ECHANGED);
	dlf_file_close(&file);
	tear_down(&b);
}

static void wrong_checksum_is_found(void)
{
	/* CRC-32C of "hello" is 0x9a71bb4c. */
	const http_answer right[] = {{.text = OK("5\r\nx-amz-checksum-crc32c: mnG7TA==") "hello"}};
	const http_answer wrong[] = {{.text = OK("5\r\nx-amz-checksum-crc32c: mnG7TQ==") "hello"}};

	CHECK_EQ(dlf_crc32c(0, "hello", 5), 0x9a71bb4c);
	WITH(right, 5, 0, "hello");
	WITH(wrong, 5, DLF_ECHECKSUM, "");
}

static void connection_is_kept_unless_it_is_dead(void)
{
	const http_answer script[] = {{.text = OK("5") "hello"},
				      {.text = OK("5") "again", .close = 1},
				      {.text = OK("5") "third and more"},
				      {.text = OK("5") "forth"}};
	bench b;
	char got[64];

	set_up(&b, script, COUNT(script));
	CHECK_EQ(read_whole(&b, 5, got, sizeof(got)), 0);
	CHECK_EQ(read_whole(&b, 5, got, sizeof(got)), 0);
	CHECK_EQ(b.server.connections, 1);
	CHECK_EQ(read_whole(&b, 5, got, sizeof(got)), 0);
	CHECK(!strcmp(got, "third"));
	CHECK_EQ(read_whole(&b, 5, got, sizeof(got)), 0);
	CHECK(!strcmp(got, "forth"));
	CHECK_EQ(b.server.connections, 3);
	dlf_endpoint_stats stats;
	dlf_http_stats(b.http, 0, &stats);
	CHECK_EQ(stats.errors, 0);
	tear_down(&b);
}

static void announced_range_is_one_request(void)
{
	const http_answer script[] = {{.text = OK("10") "0123456789"}};
	dlf_hint hint = {.size = 10};
	bench b;
	dlf_file file;
	char got[10];

	set_up(&b, script, COUNT(script));
	CHECK_EQ(dlf_file_open_known(&file, &b.io, "s3://bucket/key", 0, &hint,
				     &b.fault), 0);
	dlf_file_will_read(&file, &b.io, 0, 10);
	CHECK_EQ(dlf_file_read(&file, &b.io, 0, got, 3, NULL, &b.fault), 0);
	CHECK_EQ(dlf_file_read(&file, &b.io, 5, got + 5, 5, NULL, &b.fault), 0);
	CHECK(!memcmp(got, "012", 3) && !memcmp(got + 5, "56789", 5));
	dlf_file_close(&file);
	CHECK_EQ(b.server.requests, 1);
	CHECK_EQ(b.io.stats.reads, 1);
	tear_down(&b);
}

static void key_is_encoded_as_it_is(void)
{
	const http_answer script[] = {{.text = OK("0")}};
	dlf_hint hint = {.size = UINT64_MAX};
	bench b;
	dlf_file file;

	set_up(&b, script, COUNT(script));
	CHECK_EQ(dlf_file_open_known(&file, &b.io, "s3://bucket//a b+%\xc3\xa9//..", 0,
				     &hint, &b.fault), 0);
	dlf_file_close(&file);
	CHECK(strstr(b.server.heads[0], "GET /bucket//a%20b%2B%25%C3%A9//.. HTTP/1.1")
	      != NULL);
	tear_down(&b);
}

static void *cancel_soon(void *arg)
{
	nanosleep(&(struct timespec){0, 20 * 1000000}, NULL);
	atomic_store((atomic_int *)arg, 1);
	return NULL;
}

static void waiting_reader_can_be_cancelled(void)
{
	const http_answer script[] = {{.text = OK("5") "hel", .silent = 1}};
	atomic_int cancel = 0;
	pthread_t thread;
	bench b;
	char got[64];

	set_up(&b, script, COUNT(script));
	b.http->options.read_ns = 60000 * MS;
	b.io.cancel = &cancel;
	pthread_create(&thread, NULL, cancel_soon, &cancel);
	CHECK_EQ(read_whole(&b, 5, got, sizeof(got)), DLF_ECANCELLED);
	pthread_join(thread, NULL);
	tear_down(&b);
}

static void dead_endpoint_is_given_up_soon(void)
{
	const http_answer script[] = {{.text = ""}};
	bench b;
	char got[64];

	set_up(&b, script, 0);
	http_server_stop(&b.server);
	CHECK_EQ(read_whole(&b, 5, got, sizeof(got)), -ECONNREFUSED);
	dlf_io_free(&b.io);
	dlf_http_free(b.http);
}

static void object_is_put_with_its_checksum(void)
{
	const http_answer script[] = {
		{.text = "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
		 .close = 1},
		{.text = OK("0")}};
	bench b;

	set_up(&b, script, COUNT(script));
	CHECK_EQ(dlf_http_put(b.http, &b.io, "s3://bucket/key", "hello", 5, &b.fault),
		 0);
	CHECK(strstr(b.server.heads[1], "PUT /bucket/key HTTP/1.1") != NULL);
	CHECK(strstr(b.server.heads[1], "x-amz-checksum-crc32c: mnG7TA==") != NULL);
	CHECK(strstr(b.server.heads[1], "content-length: 5") != NULL);
	tear_down(&b);
}

void test_http(void)
{
	small_object_takes_one_request_in_all();
	known_object_is_asked_for_whole();
	empty_object_is_empty();
	answer_may_come_byte_by_byte();
	rest_of_a_body_that_broke_off_is_asked_for();
	failures_that_pass_are_retried();
	failing_without_end_is_given_up();
	silent_store_is_given_up();
	lying_answer_is_an_error();
	wrong_range_is_an_error();
	head_without_end_is_an_error();
	refusal_says_what_the_store_said();
	expired_credentials_are_renewed_once();
	other_etag_is_a_change();
	wrong_checksum_is_found();
	connection_is_kept_unless_it_is_dead();
	announced_range_is_one_request();
	key_is_encoded_as_it_is();
	waiting_reader_can_be_cancelled();
	dead_endpoint_is_given_up_soon();
	object_is_put_with_its_checksum();
}

#else

void test_http(void)
{
	CHECK(1); /* nothing was built in */
}

#endif
