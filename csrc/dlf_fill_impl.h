/* SPDX-License-Identifier: Apache-2.0
 *
 * Private to the fill room: the step that each implementation supplies.
 */
#ifndef DLF_FILL_IMPL_H
#define DLF_FILL_IMPL_H

#include "dlf_fill.h"

enum { DLF_FILL_LANES = 8, DLF_FILL_BLOCK = 64 };

/* The eight generators, word by word. */
typedef struct dlf_fill_state {
	_Alignas(64) uint64_t s[4][DLF_FILL_LANES];
} dlf_fill_state;

/* Write the next blocks x DLF_FILL_BLOCK bytes to dst, or skip them where dst
 * is NULL. */
typedef void dlf_fill_blocks(dlf_fill_state *state, unsigned char *dst,
			     size_t blocks, enum dlf_fill_kind kind);

#if defined(__x86_64__)
#define DLF_FILL_X86 1

dlf_fill_blocks dlf_fill_blocks_avx2;
dlf_fill_blocks dlf_fill_blocks_avx512;
#endif

#endif
