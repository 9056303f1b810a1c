/* SPDX-License-Identifier: Apache-2.0 */
#include "dlf_store.h"

/* FNV-1a, 64 bits. */
uint64_t dlf_store_version(const char *etag, size_t len)
{
	uint64_t hash = 0xcbf29ce484222325u;

	if (len >= 2 && etag[0] == 'W' && etag[1] == '/') {
		etag += 2;
		len -= 2;
	}
	if (len >= 2 && etag[0] == '"' && etag[len - 1] == '"') {
		etag++;
		len -= 2;
	}
	for (size_t i = 0; i < len; i++)
		hash = (hash ^ (unsigned char)etag[i]) * 0x100000001b3u;
	return hash ? hash : 1;
}
