/* SPDX-License-Identifier: Apache-2.0
 *
 * Private to the crc room: what the portable and the x86 half lend each other.
 */
#ifndef DLF_CRC_IMPL_H
#define DLF_CRC_IMPL_H

#include <stddef.h>
#include <stdint.h>

#include "dlf_crc.h"

/* From this size on a copy bypasses the cache.  Measured, GB/s, blocks of
 * 16 KiB to 1 MiB from a cached staging block to memory: 23-26 streaming, 13-14
 * not; from memory to memory: 18-20, 9-10.  Only a destination that is still cached
 * loses (26, not 47), so what is small enough to be read again soon is not
 * streamed. */
#define DLF_STREAM_MIN ((size_t)64 << 10)

/* Table-driven, any length, never a non-temporal store. */
uint32_t dlf_crc32_portable(uint32_t crc, const void *data, size_t n);
uint32_t dlf_crc32_copy_portable(uint32_t crc, void *dst, const void *src,
				 size_t n);

uint32_t dlf_crc32c_portable(uint32_t crc, const void *data, size_t n);
uint32_t dlf_crc32c_copy_portable(uint32_t crc, void *dst, const void *src,
				  size_t n);

/* Which of the implementations, fastest first, this processor's fastest is. */
int dlf_crc_first(void);

#if defined(__x86_64__)
#define DLF_CRC_X86 1

uint32_t dlf_crc32_sse(uint32_t crc, const void *data, size_t n);
uint32_t dlf_crc32_copy_sse(uint32_t crc, void *dst, const void *src, size_t n);
uint32_t dlf_crc32_avx2(uint32_t crc, const void *data, size_t n);
uint32_t dlf_crc32_copy_avx2(uint32_t crc, void *dst, const void *src,
			     size_t n);
uint32_t dlf_crc32_avx512(uint32_t crc, const void *data, size_t n);
uint32_t dlf_crc32_copy_avx512(uint32_t crc, void *dst, const void *src,
			       size_t n);

uint32_t dlf_crc32c_sse(uint32_t crc, const void *data, size_t n);
uint32_t dlf_crc32c_copy_sse(uint32_t crc, void *dst, const void *src, size_t n);
uint32_t dlf_crc32c_avx2(uint32_t crc, const void *data, size_t n);
uint32_t dlf_crc32c_copy_avx2(uint32_t crc, void *dst, const void *src,
			     size_t n);
uint32_t dlf_crc32c_avx512(uint32_t crc, const void *data, size_t n);
uint32_t dlf_crc32c_copy_avx512(uint32_t crc, void *dst, const void *src,
			       size_t n);

/* n >= DLF_STREAM_MIN */
void dlf_copy_stream_sse2(void *dst, const void *src, size_t n);
#endif

#endif
