/* SPDX-License-Identifier: Apache-2.0
 *
 * CRC-32C: its table and the choice of the implementation.
 */
#include "dlf_crc.h"

#define CRC(part) dlf_crc32c##part
#define CRC_ROWS \
	ROW(0xf26b8303, 0xe13b70f7, 0xc79a971f, 0x8ad958cf, \
	    0x105ec76f, 0x20bd8ede, 0x417b1dbc, 0x82f63b78), \
	ROW(0x13a29877, 0x274530ee, 0x4e8a61dc, 0x9d14c3b8, \
	    0x3fc5f181, 0x7f8be302, 0xff17c604, 0xfbc3faf9), \
	ROW(0xa541927e, 0x4f6f520d, 0x9edea41a, 0x38513ec5, \
	    0x70a27d8a, 0xe144fb14, 0xc76580d9, 0x8b277743), \
	ROW(0xdd45aab8, 0xbf672381, 0x7b2231f3, 0xf64463e6, \
	    0xe964b13d, 0xd725148b, 0xaba65fe7, 0x52a0c93f), \
	ROW(0x38116fac, 0x7022df58, 0xe045beb0, 0xc5670b91, \
	    0x8f2261d3, 0x1ba8b557, 0x37516aae, 0x6ea2d55c), \
	ROW(0xef306b19, 0xdb8ca0c3, 0xb2f53777, 0x6006181f, \
	    0xc00c303e, 0x85f4168d, 0x0e045beb, 0x1c08b7d6), \
	ROW(0x68032cc8, 0xd0065990, 0xa5e0c5d1, 0x4e2dfd53, \
	    0x9c5bfaa6, 0x3d5b83bd, 0x7ab7077a, 0xf56e0ef4), \
	ROW(0x493c7d27, 0x9278fa4e, 0x211d826d, 0x423b04da, \
	    0x847609b4, 0x0d006599, 0x1a00cb32, 0x34019664), \
	ROW(0xf43ed648, 0xed91da61, 0xdecfc233, 0xb873f297, \
	    0x750b93df, 0xea1727be, 0xd1c2398d, 0xa66805eb), \
	ROW(0xcb567ba5, 0x934081bb, 0x236d7587, 0x46daeb0e, \
	    0x8db5d61c, 0x1e87dac9, 0x3d0fb592, 0x7a1f6b24), \
	ROW(0x9771f7c1, 0x2b0f9973, 0x561f32e6, 0xac3e65cc, \
	    0x5d90bd69, 0xbb217ad2, 0x73ae8355, 0xe75d06aa), \
	ROW(0x3171d430, 0x62e3a860, 0xc5c750c0, 0x8e62d771, \
	    0x1929d813, 0x3253b026, 0x64a7604c, 0xc94ec098), \
	ROW(0x30d23865, 0x61a470ca, 0xc348e194, 0x837db5d9, \
	    0x03171d43, 0x062e3a86, 0x0c5c750c, 0x18b8ea18), \
	ROW(0x54075546, 0xa80eaa8c, 0x55f123e9, 0xabe247d2, \
	    0x5228f955, 0xa451f2aa, 0x4d4f93a5, 0x9a9f274a), \
	ROW(0x678efd01, 0xcf1dfa02, 0x9bd782f5, 0x3243731b, \
	    0x6486e636, 0xc90dcc6c, 0x97f7ee29, 0x2a03aaa3), \
	ROW(0xf20c0dfe, 0xe1f46d0d, 0xc604aceb, 0x89e52f27, \
	    0x162628bf, 0x2c4c517e, 0x5898a2fc, 0xb13145f8)

#include "dlf_crc_table.h"

/* As many, in the same order, as those of CRC-32: the same processors run them. */
static const dlf_crc_impl impls[] = {
#ifdef DLF_CRC_X86
	{"avx512", dlf_crc32c_avx512, dlf_crc32c_copy_avx512},
	{"avx2", dlf_crc32c_avx2, dlf_crc32c_copy_avx2},
	{"sse", dlf_crc32c_sse, dlf_crc32c_copy_sse},
#endif
	{"portable", dlf_crc32c_portable, dlf_crc32c_copy_portable},
};

enum { IMPLS = sizeof(impls) / sizeof(impls[0]) };

int dlf_crc32c_impls(const dlf_crc_impl **list)
{
	int first = dlf_crc_first();

	*list = &impls[first];
	return IMPLS - first;
}

uint32_t dlf_crc32c(uint32_t crc, const void *data, size_t n)
{
	return impls[dlf_crc_first()].crc32(crc, data, n);
}

uint32_t dlf_crc32c_copy(uint32_t crc, void *dst, const void *src, size_t n)
{
	return impls[dlf_crc_first()].crc32_copy(crc, dst, src, n);
}
