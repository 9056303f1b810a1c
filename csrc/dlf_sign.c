/* SPDX-License-Identifier: Apache-2.0 */
#include "dlf_sign.h"

#ifdef DLF_HAVE_OPENSSL

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <pthread.h>

#define SHA256 32
#define CANONICAL_MAX ((size_t)14 << 10)
#define KEY_MAX 256
#define AZURE_VERSION "2021-08-06"

/* Looked up once: OpenSSL's lookup by name takes a lock and a microsecond. */
static EVP_MD *sha256;
static pthread_once_t sha256_once = PTHREAD_ONCE_INIT;

static void fetch_sha256(void)
{
	sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
}

static void hmac(const void *key, size_t key_len, const char *text, size_t len,
		 unsigned char out[SHA256])
{
	HMAC(sha256, key, (int)key_len, (const unsigned char *)text, len, out,
	     NULL);
}

static void hex(const unsigned char *digest, char out[2 * SHA256 + 1])
{
	static const char digits[] = "0123456789abcdef";

	for (int i = 0; i < SHA256; i++) {
		out[2 * i] = digits[digest[i] >> 4];
		out[2 * i + 1] = digits[digest[i] & 15];
	}
	out[2 * SHA256] = '\0';
}

void dlf_sign_path(dlf_text *out, const char *prefix, const char *key)
{
	static const char digits[] = "0123456789ABCDEF";
	const char *parts[] = {prefix, key};

	for (int k = 0; k < 2; k++) {
		for (const char *p = parts[k]; *p; p++) {
			unsigned char c = (unsigned char)*p;
			char escape[3] = {'%', digits[c >> 4], digits[c & 15]};
			int plain = (c >= 'A' && c <= 'Z') ||
				    (c >= 'a' && c <= 'z') ||
				    (c >= '0' && c <= '9') || c == '-' ||
				    c == '.' || c == '_' || c == '~' || c == '/';
			dlf_text_add(out, plain ? p : escape, plain ? 1 : 3);
		}
	}
}

static void add_header(dlf_request *request, const char *name, const char *value)
{
	size_t i = request->n_headers++;

	for (; i && strcmp(request->headers[i - 1].name, name) > 0; i--)
		request->headers[i] = request->headers[i - 1];
	request->headers[i] = (dlf_header){name, value};
}

static void canonical_headers(dlf_text *out, const dlf_request *request)
{
	for (size_t i = 0; i < request->n_headers; i++) {
		dlf_text_str(out, request->headers[i].name);
		dlf_text_add(out, ":", 1);
		dlf_text_str(out, request->headers[i].value);
		dlf_text_add(out, "\n", 1);
	}
}

static void signed_names(dlf_text *out, const dlf_request *request)
{
	for (size_t i = 0; i < request->n_headers; i++) {
		if (i)
			dlf_text_add(out, ";", 1);
		dlf_text_str(out, request->headers[i].name);
	}
}

static void signing_key(dlf_secret *secret, const char *region, const char *day)
{
	char first[KEY_MAX + 4];
	unsigned char key[SHA256];

	int n = snprintf(first, sizeof(first), "AWS4%s", secret->key);
	hmac(first, (size_t)n, day, 8, key);
	OPENSSL_cleanse(first, sizeof(first));
	hmac(key, SHA256, region, strlen(region), key);
	hmac(key, SHA256, "s3", 2, key);
	hmac(key, SHA256, "aws4_request", 12, secret->signing);
	memcpy(secret->day, day, 8);
}

static int sign_s3(dlf_text *authorization, dlf_request *request,
		   dlf_secret *secret, const char *date)
{
	char memory[CANONICAL_MAX], digest_hex[2 * SHA256 + 1];
	unsigned char digest[SHA256];
	dlf_text text = {.data = memory, .cap = sizeof(memory)};

	if (strlen(secret->key) >= KEY_MAX)
		return -EINVAL;
	dlf_text_printf(&text, "%s\n%s\n\n", request->method, request->path);
	canonical_headers(&text, request);
	dlf_text_add(&text, "\n", 1);
	signed_names(&text, request);
	dlf_text_str(&text, "\nUNSIGNED-PAYLOAD");
	if (text.full)
		return -EMSGSIZE;
	EVP_Digest(memory, text.len, digest, NULL, sha256, NULL);
	hex(digest, digest_hex);
	text.len = 0;
	dlf_text_printf(&text, "AWS4-HMAC-SHA256\n%s\n%.8s/%s/s3/aws4_request\n%s",
			date, date, request->region, digest_hex);
	if (strncmp(secret->day, date, 8))
		signing_key(secret, request->region, date);
	hmac(secret->signing, SHA256, memory, text.len, digest);
	hex(digest, digest_hex);
	dlf_text_printf(authorization, "AWS4-HMAC-SHA256 Credential=%s/%.8s/%s/s3/"
			"aws4_request, SignedHeaders=", secret->id, date,
			request->region);
	signed_names(authorization, request);
	dlf_text_printf(authorization, ", Signature=%s", digest_hex);
	return 0;
}

static int sign_azure(dlf_text *authorization, const dlf_request *request,
		      const dlf_secret *secret)
{
	char memory[CANONICAL_MAX], length[24] = "";
	unsigned char key[KEY_MAX], digest[SHA256];
	char signature[4 * ((SHA256 + 2) / 3) + 1];
	dlf_text text = {.data = memory, .cap = sizeof(memory)};
	size_t encoded = strlen(secret->key), padding = 0;

	while (padding < encoded && secret->key[encoded - 1 - padding] == '=')
		padding++;
	if (encoded > KEY_MAX || encoded % 4 || padding > 2)
		return -EINVAL;
	int n = EVP_DecodeBlock(key, (const unsigned char *)secret->key,
				(int)encoded);
	if (n <= 0)
		return -EINVAL;
	if (request->body)
		snprintf(length, sizeof(length), "%llu",
			 (unsigned long long)request->body);
	dlf_text_printf(&text, "%s\n\n\n%s\n\n\n\n\n\n\n\n\n", request->method,
			length);
	canonical_headers(&text, request);
	dlf_text_printf(&text, "/%s%s", secret->id, request->path);
	if (text.full)
		return -EMSGSIZE;
	hmac(key, (size_t)n - padding, memory, text.len, digest);
	OPENSSL_cleanse(key, sizeof(key));
	EVP_EncodeBlock((unsigned char *)signature, digest, SHA256);
	dlf_text_printf(authorization, "SharedKey %s:%s", secret->id, signature);
	return 0;
}

/* strftime would use the locale's names. */
static void http_date(const struct tm *t, char *out, size_t cap)
{
	static const char days[] = "SunMonTueWedThuFriSat";
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

	snprintf(out, cap, "%.3s, %02d %.3s %04d %02d:%02d:%02d GMT",
		 days + 3 * t->tm_wday, t->tm_mday, months + 3 * t->tm_mon,
		 t->tm_year + 1900, t->tm_hour, t->tm_min, t->tm_sec);
}

static int authorize(dlf_text *authorization, dlf_request *request,
		     dlf_secret *secret, const char *iso)
{
	switch (request->auth) {
	case DLF_AUTH_S3:
		add_header(request, "host", request->host);
		add_header(request, "x-amz-content-sha256", "UNSIGNED-PAYLOAD");
		add_header(request, "x-amz-date", iso);
		if (*secret->token)
			add_header(request, "x-amz-security-token", secret->token);
		return sign_s3(authorization, request, secret, iso);
	case DLF_AUTH_AZURE_KEY:
		return sign_azure(authorization, request, secret);
	case DLF_AUTH_BEARER:
		dlf_text_printf(authorization, "Bearer %s", secret->token);
		return 0;
	default:
		return 0;
	}
}

int dlf_sign_request(dlf_text *out, const dlf_request *asked, dlf_secret *secret,
		     time_t now)
{
	dlf_request request = *asked;
	char iso[40], date[64], line[8192];
	dlf_text authorization = {.data = line, .cap = sizeof(line)};
	int sas = request.auth == DLF_AUTH_SAS && secret && *secret->token;
	struct tm t;

	pthread_once(&sha256_once, fetch_sha256);
	if (!sha256)
		return -ENOMEM;
	if (!secret && request.auth != DLF_AUTH_SAS)
		request.auth = DLF_AUTH_NONE;
	line[0] = '\0';
	gmtime_r(&now, &t);
	snprintf(iso, sizeof(iso), "%04d%02d%02dT%02d%02d%02dZ", t.tm_year + 1900,
		 t.tm_mon + 1, t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec);
	if (request.dialect == DLF_AZURE) {
		http_date(&t, date, sizeof(date));
		add_header(&request, "x-ms-date", date);
		add_header(&request, "x-ms-version", AZURE_VERSION);
		if (request.range)
			add_header(&request, "x-ms-range", request.range);
		request.range = NULL;
	}
	int rc = authorize(&authorization, &request, secret, iso);
	if (rc || authorization.full)
		return rc ? rc : -EMSGSIZE;
	dlf_text_printf(out, "%s %s%s%s HTTP/1.1\r\nhost: %s\r\n", request.method,
			request.path, sas ? "?" : "", sas ? secret->token : "",
			request.host);
	for (size_t i = 0; i < request.n_headers; i++)
		if (strcmp(request.headers[i].name, "host"))
			dlf_text_printf(out, "%s: %s\r\n", request.headers[i].name,
					request.headers[i].value);
	if (line[0])
		dlf_text_printf(out, "authorization: %s\r\n", line);
	if (request.range)
		dlf_text_printf(out, "range: %s\r\n", request.range);
	if (*request.method == 'P')
		dlf_text_printf(out, "content-length: %llu\r\n",
				(unsigned long long)request.body);
	dlf_text_str(out, "accept-encoding: identity\r\n\r\n");
	return out->full ? -EMSGSIZE : 0;
}

void dlf_sign_crc(uint32_t crc, char out[9])
{
	unsigned char bytes[4] = {(unsigned char)(crc >> 24),
				  (unsigned char)(crc >> 16),
				  (unsigned char)(crc >> 8), (unsigned char)crc};

	EVP_EncodeBlock((unsigned char *)out, bytes, 4);
}

#endif
