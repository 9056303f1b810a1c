/* SPDX-License-Identifier: Apache-2.0
 *
 * The head of an HTTP/1.1 response (RFC 9112), from bytes that nobody vouches for,
 * and what an error's body says.
 */
#ifndef DLF_HEAD_H
#define DLF_HEAD_H

#include <stddef.h>
#include <stdint.h>

/* The longest head that is read. */
#define DLF_HEAD_MAX ((size_t)16 << 10)

#define DLF_LENGTH_UNKNOWN UINT64_MAX
/* An MD5 in base64, and a NUL. */
#define DLF_MD5_TEXT 25

typedef struct dlf_head {
	int status;
	int keep_alive;
	int chunked;
	uint64_t length; /* Content-Length, or DLF_LENGTH_UNKNOWN */
	uint64_t first, last; /* Content-Range; first > last: none */
	uint64_t total;       /* of the whole object, or DLF_LENGTH_UNKNOWN */
	uint64_t version;     /* dlf_store_version of the ETag; 0: none */
	int has_crc32c;       /* of the whole object, x-amz-checksum-crc32c */
	uint32_t crc32c;
	char md5[DLF_MD5_TEXT]; /* of the whole object, Content-MD5; "": not told */
	unsigned retry_after; /* seconds; 0: not said */
	char region[32];      /* x-amz-bucket-region */
	char code[48];        /* x-ms-error-code */
} dlf_head;

/* How long the head is; 0: it is not all there yet; -1: no head of HTTP/1, or one
 * that contradicts itself (*why says how). */
long dlf_head_parse(const char *data, size_t len, dlf_head *head,
		    const char **why);

/* The code and the message of an error's XML body, cut to what fits and made
 * printable; "" where there is none.  A region overwrites an empty one. */
void dlf_head_error(const char *body, size_t len, char *code, size_t code_cap,
		    char *message, size_t message_cap, char *region,
		    size_t region_cap);

/* Takes the chunks' frames out of a body; how many bytes remain.  *ended: the last
 * chunk and its end are there, and nothing behind. */
size_t dlf_head_unchunk(char *body, size_t len, int *ended);

#endif
