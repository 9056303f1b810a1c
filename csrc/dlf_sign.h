/* SPDX-License-Identifier: Apache-2.0
 *
 * The head of a signed HTTP/1.1 request to an object store.
 *
 * AWS Signature Version 4 in headers, with UNSIGNED-PAYLOAD:
 * https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
 * Azure's SharedKey:
 * https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key
 */
#ifndef DLF_SIGN_H
#define DLF_SIGN_H

#include <time.h>

#include "dlf_secret.h"
#include "dlf_text.h"

typedef enum dlf_auth {
	DLF_AUTH_NONE,
	DLF_AUTH_S3,
	DLF_AUTH_AZURE_KEY,
	DLF_AUTH_SAS,
	DLF_AUTH_BEARER,
} dlf_auth;

/* Whose extra headers a request speaks. */
typedef enum dlf_dialect { DLF_HTTP, DLF_S3, DLF_AZURE } dlf_dialect;

#define DLF_HEADERS_MAX 12

typedef struct dlf_header {
	const char *name; /* lower case */
	const char *value;
} dlf_header;

typedef struct dlf_request {
	const char *method;
	const char *path;  /* encoded, see dlf_sign_path */
	const char *host;  /* with the port, unless it is the scheme's own */
	const char *range; /* "bytes=0-9", or NULL */
	uint64_t body;     /* bytes of a PUT */
	dlf_dialect dialect;
	dlf_auth auth;
	const char *region;
	dlf_header headers[DLF_HEADERS_MAX]; /* x-amz- and x-ms-, to be signed */
	size_t n_headers;
} dlf_request;

/* Append prefix and key as the path of a URL: every byte but A-Z a-z 0-9 - . _ ~ and
 * the slash as %XX. */
void dlf_sign_path(dlf_text *out, const char *prefix, const char *key);

/* Append request line, headers and the empty line.  The secret, which may be NULL
 * where auth needs none, is only read but for its signing key, so that its keeper's
 * lock must be held.  -EINVAL: a key that is no base64; -EMSGSIZE. */
int dlf_sign_request(dlf_text *out, const dlf_request *request,
		     dlf_secret *secret, time_t now);

/* Base64 of four bytes, big-endian, to 9 characters: x-amz-checksum-crc32c. */
void dlf_sign_crc(uint32_t crc, char out[9]);

#endif
