/* SPDX-License-Identifier: Apache-2.0
 *
 * CRC-32: its table, the choice of the implementation, and the arithmetic of
 * joining two checksums.
 */
#include <stdatomic.h>

#include "dlf_crc.h"

#define CRC(part) dlf_crc32##part
#define CRC_ROWS \
	ROW(0x77073096, 0xee0e612c, 0x076dc419, 0x0edb8832, \
	    0x1db71064, 0x3b6e20c8, 0x76dc4190, 0xedb88320), \
	ROW(0x191b3141, 0x32366282, 0x646cc504, 0xc8d98a08, \
	    0x4ac21251, 0x958424a2, 0xf0794f05, 0x3b83984b), \
	ROW(0x01c26a37, 0x0384d46e, 0x0709a8dc, 0x0e1351b8, \
	    0x1c26a370, 0x384d46e0, 0x709a8dc0, 0xe1351b80), \
	ROW(0xb8bc6765, 0xaa09c88b, 0x8f629757, 0xc5b428ef, \
	    0x5019579f, 0xa032af3e, 0x9b14583d, 0xed59b63b), \
	ROW(0x3d6029b0, 0x7ac05360, 0xf580a6c0, 0x30704bc1, \
	    0x60e09782, 0xc1c12f04, 0x58f35849, 0xb1e6b092), \
	ROW(0xcb5cd3a5, 0x4dc8a10b, 0x9b914216, 0xec53826d, \
	    0x03d6029b, 0x07ac0536, 0x0f580a6c, 0x1eb014d8), \
	ROW(0xa6770bb4, 0x979f1129, 0xf44f2413, 0x33ef4e67, \
	    0x67de9cce, 0xcfbd399c, 0x440b7579, 0x8816eaf2), \
	ROW(0xccaa009e, 0x4225077d, 0x844a0efa, 0xd3e51bb5, \
	    0x7cbb312b, 0xf9766256, 0x299dc2ed, 0x533b85da), \
	ROW(0x177b1443, 0x2ef62886, 0x5dec510c, 0xbbd8a218, \
	    0xacc04271, 0x82f182a3, 0xde920307, 0x6655004f), \
	ROW(0xefc26b3e, 0x04f5d03d, 0x09eba07a, 0x13d740f4, \
	    0x27ae81e8, 0x4f5d03d0, 0x9eba07a0, 0xe6050901), \
	ROW(0xc18edfc0, 0x586cb9c1, 0xb0d97382, 0xbac3e145, \
	    0xaef6c4cb, 0x869c8fd7, 0xd64819ef, 0x77e1359f), \
	ROW(0x9ba54c6f, 0xec3b9e9f, 0x03063b7f, 0x060c76fe, \
	    0x0c18edfc, 0x1831dbf8, 0x3063b7f0, 0x60c76fe0), \
	ROW(0xdd96d985, 0x605cb54b, 0xc0b96a96, 0x5a03d36d, \
	    0xb407a6da, 0xb37e4bf5, 0xbd8d91ab, 0xa06a2517), \
	ROW(0x9d0fe176, 0xe16ec4ad, 0x19ac8f1b, 0x33591e36, \
	    0x66b23c6c, 0xcd6478d8, 0x41b9f7f1, 0x8373efe2), \
	ROW(0xb9fbdbe8, 0xa886b191, 0x8a7c6563, 0xcf89cc87, \
	    0x44629f4f, 0x88c53e9e, 0xcafb7b7d, 0x4e87f0bb), \
	ROW(0xae689191, 0x87a02563, 0xd4314c87, 0x73139f4f, \
	    0xe6273e9e, 0x173f7b7d, 0x2e7ef6fa, 0x5cfdedf4)

#include "dlf_crc_table.h"

/* a x b modulo the polynomial, both reflected: bit 31 is x^0. */
static uint32_t multiply(uint32_t a, uint32_t b)
{
	uint32_t product = 0;

	for (; a; a <<= 1) {
		if (a >> 31)
			product ^= b;
		b = b >> 1 ^ (b & 1 ? 0xedb88320 : 0);
	}
	return product;
}

uint32_t dlf_crc32_combine(uint32_t crc_a, uint32_t crc_b, uint64_t len_b)
{
	uint32_t power = 0x00800000; /* x^8: one zero byte appended */

	for (; len_b; len_b >>= 1) {
		if (len_b & 1)
			crc_a = multiply(power, crc_a);
		power = multiply(power, power);
	}
	return crc_a ^ crc_b;
}

/* Fastest first.  Each needs all that the ones after it need, so what a
 * processor can run is always a tail of this list. */
static const dlf_crc_impl impls[] = {
#ifdef DLF_CRC_X86
	{"avx512", dlf_crc32_avx512, dlf_crc32_copy_avx512},
	{"avx2", dlf_crc32_avx2, dlf_crc32_copy_avx2},
	{"sse", dlf_crc32_sse, dlf_crc32_copy_sse},
#endif
	{"portable", dlf_crc32_portable, dlf_crc32_copy_portable},
};

enum { IMPLS = sizeof(impls) / sizeof(impls[0]) };

static int detect(void)
{
#ifdef DLF_CRC_X86
	__builtin_cpu_init();
	if (!__builtin_cpu_supports("pclmul") ||
	    !__builtin_cpu_supports("sse4.1"))
		return 3;
	if (!__builtin_cpu_supports("avx2") ||
	    !__builtin_cpu_supports("vpclmulqdq"))
		return 2;
	if (!__builtin_cpu_supports("avx512f") ||
	    !__builtin_cpu_supports("avx512vl"))
		return 1;
#endif
	return 0;
}

/* Threads that get here together find the same answer, so a plain flag does. */
int dlf_crc_first(void)
{
	static atomic_int found = -1;
	int first = atomic_load_explicit(&found, memory_order_relaxed);

	if (first < 0) {
		first = detect();
		atomic_store_explicit(&found, first, memory_order_relaxed);
	}
	return first;
}

static const dlf_crc_impl *best(void)
{
	return &impls[dlf_crc_first()];
}

int dlf_crc_impls(const dlf_crc_impl **list)
{
	*list = best();
	return (int)(impls + IMPLS - *list);
}

uint32_t dlf_crc32(uint32_t crc, const void *data, size_t n)
{
	return best()->crc32(crc, data, n);
}

uint32_t dlf_crc32_copy(uint32_t crc, void *dst, const void *src, size_t n)
{
	return best()->crc32_copy(crc, dst, src, n);
}

void dlf_copy_stream(void *dst, const void *src, size_t n)
{
#ifdef DLF_CRC_X86
	if (n >= DLF_STREAM_MIN) {
		dlf_copy_stream_sse2(dst, src, n);
		return;
	}
#endif
	if (n)
		memcpy(dst, src, n);
}
