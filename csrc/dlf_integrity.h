/* SPDX-License-Identifier: Apache-2.0
 *
 * The checksum that a store keeps of a whole object, taken of what arrives and compared:
 * CRC-32C (x-amz-checksum-crc32c), or MD5 (Content-MD5, RFC 1864), which costs many
 * times as much.
 */
#ifndef DLF_INTEGRITY_H
#define DLF_INTEGRITY_H

#include "dlf_head.h"

typedef struct dlf_integrity {
	int crc32c, md5;   /* what is taken; neither: nothing to compare with */
	uint32_t sum, sum_expected;
	void *digest;      /* of OpenSSL's */
	char expected[DLF_MD5_TEXT];
} dlf_integrity;

/* Of what the head tells; an MD5 alone only if `with_md5`.  -ENOMEM. */
int dlf_integrity_begin(dlf_integrity *integrity, const dlf_head *head, int with_md5);
void dlf_integrity_add(dlf_integrity *integrity, const void *data, size_t n);

/* After the last byte: NULL, or what does not match. */
const char *dlf_integrity_wrong(dlf_integrity *integrity);

/* Forget all; for one that is zero, too. */
void dlf_integrity_end(dlf_integrity *integrity);

#endif
