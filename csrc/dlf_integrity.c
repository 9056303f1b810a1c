/* SPDX-License-Identifier: Apache-2.0 */
#include "dlf_integrity.h"

#ifdef DLF_HAVE_OPENSSL

#include <errno.h>
#include <string.h>

#include <openssl/evp.h>

#include "dlf_crc.h"

int dlf_integrity_begin(dlf_integrity *integrity, const dlf_head *head, int with_md5)
{
	dlf_integrity_end(integrity);
	if (head->has_crc32c) {
		integrity->crc32c = 1;
		integrity->sum = 0;
		integrity->sum_expected = head->crc32c;
	} else if (with_md5 && head->md5[0]) {
		integrity->digest = EVP_MD_CTX_new();
		if (!integrity->digest ||
		    !EVP_DigestInit_ex(integrity->digest, EVP_md5(), NULL)) {
			dlf_integrity_end(integrity);
			return -ENOMEM;
		}
		integrity->md5 = 1;
		memcpy(integrity->expected, head->md5, sizeof(head->md5));
	}
	return 0;
}

void dlf_integrity_add(dlf_integrity *integrity, const void *data, size_t n)
{
	if (integrity->crc32c)
		integrity->sum = dlf_crc32c(integrity->sum, data, n);
	if (integrity->md5)
		EVP_DigestUpdate(integrity->digest, data, n);
}

const char *dlf_integrity_wrong(dlf_integrity *integrity)
{
	unsigned char digest[EVP_MAX_MD_SIZE], text[2 * EVP_MAX_MD_SIZE];
	unsigned n = 0;

	if (integrity->crc32c && integrity->sum != integrity->sum_expected)
		return "the store's CRC-32C does not match the bytes";
	if (!integrity->md5)
		return NULL;
	EVP_DigestFinal_ex(integrity->digest, digest, &n);
	EVP_EncodeBlock(text, digest, (int)n);
	return strcmp((const char *)text, integrity->expected)
		       ? "the store's MD5 does not match the bytes"
		       : NULL;
}

void dlf_integrity_end(dlf_integrity *integrity)
{
	EVP_MD_CTX_free(integrity->digest);
	memset(integrity, 0, sizeof(*integrity));
}

#endif
