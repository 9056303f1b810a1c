/* SPDX-License-Identifier: Apache-2.0
 *
 * CRC-32 (IEEE 802.3, reflected, polynomial 0xEDB88320: the one of ZIP and
 * gzip) and CRC-32C (Castagnoli, reflected, 0x82F63B78: the one of TFRecord, RFC
 * 3720), by carry-less multiplication where the processor has it.
 *
 * Method: V. Gopal et al., "Fast CRC Computation for Generic Polynomials Using
 * PCLMULQDQ Instruction", Intel, 2009.
 */
#ifndef DLF_CRC_H
#define DLF_CRC_H

#include <stddef.h>
#include <stdint.h>

/* Continue a checksum over n more bytes; start with crc = 0 (zlib's convention:
 * dlf_crc32(dlf_crc32(0, a), b) is the checksum of a followed by b). */
uint32_t dlf_crc32(uint32_t crc, const void *data, size_t n);

/* The same while copying src to dst in one pass, with non-temporal stores when
 * n is large (64 KiB): for data that will not be read again soon.  The ranges
 * must not overlap; neither needs alignment. */
uint32_t dlf_crc32_copy(uint32_t crc, void *dst, const void *src, size_t n);

/* The same two for CRC-32C. */
uint32_t dlf_crc32c(uint32_t crc, const void *data, size_t n);
uint32_t dlf_crc32c_copy(uint32_t crc, void *dst, const void *src, size_t n);

/* Copy with non-temporal stores when n is large, without a checksum. */
void dlf_copy_stream(void *dst, const void *src, size_t n);

/* The checksum of a followed by b, from crc(a), crc(b) and the length of b. */
uint32_t dlf_crc32_combine(uint32_t crc_a, uint32_t crc_b, uint64_t len_b);

/* Every implementation this build and processor can run, fastest first; the
 * first is the one that is used.  For tests and benchmarks. */
typedef struct dlf_crc_impl {
	const char *name; /* "avx512", "avx2", "sse", "portable" */
	uint32_t (*crc32)(uint32_t crc, const void *data, size_t n);
	uint32_t (*crc32_copy)(uint32_t crc, void *dst, const void *src,
			       size_t n);
} dlf_crc_impl;

/* Returns how many there are; *impls points to a static array. */
int dlf_crc_impls(const dlf_crc_impl **impls);
int dlf_crc32c_impls(const dlf_crc_impl **impls);

#endif
