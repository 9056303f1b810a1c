/* SPDX-License-Identifier: Apache-2.0 */
#include "dlf_head.h"

#include <string.h>
#include <strings.h>

#include "dlf_store.h"

typedef struct text {
	const char *data;
	size_t len;
} text;

static text trimmed(const char *data, size_t len)
{
	while (len && (*data == ' ' || *data == '\t')) {
		data++;
		len--;
	}
	while (len && (data[len - 1] == ' ' || data[len - 1] == '\t'))
		len--;
	return (text){data, len};
}

static int is(text t, const char *name)
{
	return t.len == strlen(name) && !strncasecmp(t.data, name, t.len);
}

static int has_token(text t, const char *token)
{
	size_t n = strlen(token);

	for (size_t i = 0; i + n <= t.len; i++)
		if (!strncasecmp(t.data + i, token, n))
			return 1;
	return 0;
}

/* Decimal digits and nothing else; how many were used, 0: no number below 2^63. */
static size_t number(text t, uint64_t *out)
{
	uint64_t value = 0;
	size_t i;

	for (i = 0; i < t.len && t.data[i] >= '0' && t.data[i] <= '9'; i++) {
		if (value > (UINT64_C(1) << 62) / 10)
			return 0;
		value = value * 10 + (uint64_t)(t.data[i] - '0');
	}
	*out = value;
	return i;
}

static int whole_number(text t, uint64_t *out)
{
	return t.len && number(t, out) == t.len;
}

/* RFC 9110, 14.4; either of range and total may be an asterisk. */
static int content_range(text t, dlf_head *head)
{
	size_t n;

	if (t.len < 6 || strncasecmp(t.data, "bytes ", 6))
		return -1;
	t = trimmed(t.data + 6, t.len - 6);
	if (t.len && *t.data == '*') {
		n = 1;
	} else {
		n = number(t, &head->first);
		if (!n || n >= t.len || t.data[n] != '-')
			return -1;
		t = (text){t.data + n + 1, t.len - n - 1};
		n = number(t, &head->last);
		if (!n || head->first > head->last)
			return -1;
	}
	if (n >= t.len || t.data[n] != '/')
		return -1;
	t = (text){t.data + n + 1, t.len - n - 1};
	if (is(t, "*"))
		return 0;
	return whole_number(t, &head->total) ? 0 : -1;
}

/* Base64 of four bytes, big-endian: "AAAAAA==". */
static int base64_crc(text t, uint32_t *out)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				     "abcdefghijklmnopqrstuvwxyz0123456789+/";
	uint64_t value = 0;

	if (t.len != 8 || t.data[6] != '=' || t.data[7] != '=')
		return 0;
	for (int i = 0; i < 6; i++) {
		const char *at = memchr(digits, t.data[i], 64);
		if (!at)
			return 0;
		value = value << 6 | (uint64_t)(at - digits);
	}
	*out = (uint32_t)(value >> 4);
	return 1;
}

static void copy_word(char *dst, size_t cap, text t)
{
	size_t n = t.len < cap - 1 ? t.len : cap - 1;

	for (size_t i = 0; i < n; i++)
		dst[i] = t.data[i] > ' ' && t.data[i] < 127 ? t.data[i] : '?';
	dst[n] = '\0';
}

static const char *field(dlf_head *head, text name, text value, int *composite)
{
	uint64_t n;

	if (is(name, "content-length")) {
		if (!whole_number(value, &n))
			return "its Content-Length is no length";
		if (head->length != DLF_LENGTH_UNKNOWN && head->length != n)
			return "it has two different Content-Lengths";
		head->length = n;
	} else if (is(name, "content-range")) {
		if (content_range(value, head))
			return "its Content-Range is no range";
	} else if (is(name, "etag")) {
		head->version = dlf_store_version(value.data, value.len);
	} else if (is(name, "connection")) {
		if (has_token(value, "close"))
			head->keep_alive = 0;
		else if (has_token(value, "keep-alive"))
			head->keep_alive = 1;
	} else if (is(name, "transfer-encoding")) {
		if (!is(value, "chunked"))
			return "its Transfer-Encoding is not supported";
		head->chunked = 1;
	} else if (is(name, "content-encoding")) {
		/* stored like that by whoever wrote it: bytes are bytes */
	} else if (is(name, "retry-after")) {
		if (whole_number(value, &n))
			head->retry_after = n < 3600 ? (unsigned)n : 3600;
	} else if (is(name, "x-amz-checksum-crc32c")) {
		head->has_crc32c = base64_crc(value, &head->crc32c);
	} else if (is(name, "content-md5")) {
		if (value.len == DLF_MD5_TEXT - 1)
			copy_word(head->md5, sizeof(head->md5), value);
	} else if (is(name, "x-amz-checksum-type")) {
		*composite = !is(value, "FULL_OBJECT");
	} else if (is(name, "x-amz-bucket-region")) {
		copy_word(head->region, sizeof(head->region), value);
	} else if (is(name, "x-ms-error-code")) {
		copy_word(head->code, sizeof(head->code), value);
	}
	return NULL;
}

static int status_line(text line, dlf_head *head)
{
	uint64_t status;

	if (line.len < 12 || memcmp(line.data, "HTTP/1.", 7) ||
	    (line.data[7] != '0' && line.data[7] != '1') || line.data[8] != ' ')
		return -1;
	head->keep_alive = line.data[7] == '1';
	if (number((text){line.data + 9, 3}, &status) != 3 || status < 100 ||
	    (line.len > 12 && line.data[12] != ' '))
		return -1;
	head->status = (int)status;
	return 0;
}

long dlf_head_parse(const char *data, size_t len, dlf_head *head,
		    const char **why)
{
	const char *at = data, *end = data + len, *newline;
	int composite = 0;

	memset(head, 0, sizeof(*head));
	head->length = head->total = DLF_LENGTH_UNKNOWN;
	head->first = 1;
	*why = "it is not HTTP/1";
	if (memcmp(data, "HTTP/1.", len < 7 ? len : 7))
		return -1;
	if (!memmem(data, len, "\r\n\r\n", 4))
		return 0;
	for (; (newline = memchr(at, '\n', (size_t)(end - at))); at = newline + 1) {
		if (newline == at || newline[-1] != '\r')
			return -1;
		text line = {at, (size_t)(newline - at) - 1};
		if (at == data) {
			if (status_line(line, head))
				return -1;
			continue;
		}
		if (!line.len)
			break;
		const char *colon = memchr(line.data, ':', line.len);
		if (!colon || colon == line.data || line.data[0] == ' ' ||
		    line.data[0] == '\t')
			return -1;
		size_t name = (size_t)(colon - line.data);
		const char *wrong = field(head, (text){line.data, name},
					  trimmed(colon + 1, line.len - name - 1),
					  &composite);
		if (wrong) {
			*why = wrong;
			return -1;
		}
	}
	if (!newline)
		return 0;
	/* Two lengths: the way to smuggle a response (RFC 9112, 6.3). */
	if (head->chunked && head->length != DLF_LENGTH_UNKNOWN) {
		*why = "it has a Content-Length and is chunked";
		return -1;
	}
	if (composite)
		head->has_crc32c = 0;
	return newline + 1 - data;
}

static void element(const char *body, size_t len, const char *name, char *out,
		    size_t cap)
{
	size_t n = strlen(name), used = 0;
	const char *end = body + len;
	const char *at = memmem(body, len, name, n);

	if (!at)
		return;
	for (at += n; at < end && *at != '<' && *at != '\n' && *at != '\r' &&
		      used < cap - 1; at++) {
		unsigned char c = (unsigned char)*at;
		out[used++] = c >= ' ' && c < 127 ? (char)c : '?';
	}
	out[used] = '\0';
}

void dlf_head_error(const char *body, size_t len, char *code, size_t code_cap,
		    char *message, size_t message_cap, char *region,
		    size_t region_cap)
{
	*code = *message = '\0';
	element(body, len, "<Code>", code, code_cap);
	element(body, len, "<Message>", message, message_cap);
	if (!*region)
		element(body, len, "<Region>", region, region_cap);
}

static int hex_digit(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
				      : -1;
}

size_t dlf_head_unchunk(char *body, size_t len, int *ended)
{
	size_t at = 0, out = 0;

	*ended = 0;
	for (;;) {
		size_t size = 0, begin = at;
		while (at < len && hex_digit(body[at]) >= 0) {
			size = size * 16 + (size_t)hex_digit(body[at++]);
			if (size > (size_t)1 << 30)
				return out;
		}
		if (at == begin)
			return out;
		const char *newline = memchr(body + at, '\n', len - at);
		if (!newline)
			return out;
		at = (size_t)(newline - body) + 1;
		if (!size) {
			*ended = len - at == 2 && !memcmp(body + at, "\r\n", 2);
			return out;
		}
		size_t there = size < len - at ? size : len - at;
		memmove(body + out, body + at, there);
		out += there;
		if (there < size || len - at - size < 2)
			return out;
		at += size + 2;
	}
}
