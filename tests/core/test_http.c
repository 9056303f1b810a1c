/* SPDX-License-Identifier: Apache-2.0 */
#include "check.h"

#ifdef DLF_HAVE_OPENSSL

#include <time.h>

#include "http_bench.h"

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
