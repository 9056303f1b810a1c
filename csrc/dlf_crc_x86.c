/* SPDX-License-Identifier: Apache-2.0
 *
 * CRC-32 by carry-less multiplication, and the copy past the cache.
 */
#include <string.h>

#include "dlf_crc_impl.h"

#ifdef DLF_CRC_X86

#define CRC(part) dlf_crc32##part
#define FOLD_128 0x1751997d0, 0x0ccaa009e
#define FOLD_256 0x0f1da05aa, 0x15a546366
#define FOLD_384 0x03db1ecdc, 0x174359406
#define FOLD_512 0x154442bd4, 0x1c6e41596
#define FOLD_768 0x0df068dc2, 0x18cb44e58
#define FOLD_1024 0x1e88ef372, 0x14a7fe880
#define FOLD_1536 0x1821d8bc0, 0x12e958ac4
#define FOLD_2048 0x11542778a, 0x1322d1430
#define FOLD_64 0x163cd6124
#define CRC_POLY_MU 0x1db710641, 0x1f7011641

#include "dlf_crc_fold.h"

/* SSE2 is part of x86-64: this one needs no choice. */
void dlf_copy_stream_sse2(void *dst, const void *src, size_t n)
{
	size_t head = misaligned(dst), at;
	unsigned char *to = (unsigned char *)dst + head;
	const unsigned char *from = (const unsigned char *)src + head;

	memcpy(dst, src, head);
	n -= head;
	for (at = 0; n - at >= 64; at += 64)
		for (int i = 0; i < 64; i += 16)
			_mm_stream_si128((__m128i *)(to + at + i),
					 _mm_loadu_si128((const __m128i *)(
						 from + at + i)));
	_mm_sfence();
	memcpy(to + at, from + at, n - at);
}

#endif
