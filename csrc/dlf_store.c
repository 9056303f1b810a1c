/* SPDX-License-Identifier: Apache-2.0 */
#include "dlf_store.h"

uint64_t dlf_store_hash(uint64_t hash, const char *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		hash = (hash ^ (unsigned char)data[i]) * 0x100000001b3u;
	return hash;
}

uint64_t dlf_store_version(const char *etag, size_t len)
{
	if (len >= 2 && etag[0] == 'W' && etag[1] == '/') {
		etag += 2;
		len -= 2;
	}
	if (len >= 2 && etag[0] == '"' && etag[len - 1] == '"') {
		etag++;
		len -= 2;
	}
	uint64_t hash = dlf_store_hash(0xcbf29ce484222325u, etag, len);
	return hash ? hash : 1;
}
