/* SPDX-License-Identifier: Apache-2.0 */
#include "check.h"

#ifdef DLF_HAVE_OPENSSL

#include "dlf_crc.h"
#include "http_bench.h"

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

void test_http_refusals(void)
{
	lying_answer_is_an_error();
	wrong_range_is_an_error();
	head_without_end_is_an_error();
	refusal_says_what_the_store_said();
	expired_credentials_are_renewed_once();
	other_etag_is_a_change();
	wrong_checksum_is_found();
}

#else

void test_http_refusals(void)
{
	CHECK(1); /* nothing was built in */
}

#endif
