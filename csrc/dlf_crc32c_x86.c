/* SPDX-License-Identifier: Apache-2.0
 *
 * CRC-32C by carry-less multiplication: faster than the processor's own
 * instruction for it, which takes 8 bytes a step.
 */
#include "dlf_crc_impl.h"

#ifdef DLF_CRC_X86

#define CRC(part) dlf_crc32c##part
#define FOLD_128 0x0f20c0dfe, 0x14cd00bd6
#define FOLD_256 0x1384aa63a, 0x0ba4fc28e
#define FOLD_384 0x01c291d04, 0x1d82c63da
#define FOLD_512 0x0740eef02, 0x09e4addf8
#define FOLD_768 0x1c1733996, 0x102f9b8a2
#define FOLD_1024 0x06992cea2, 0x00d3b6092
#define FOLD_1536 0x0a87ab8a8, 0x0ab7aff2a
#define FOLD_2048 0x0dcb17aa4, 0x0b9e02b86
#define FOLD_64 0x0dd45aab8
#define CRC_POLY_MU 0x105ec76f1, 0x0dea713f1

#include "dlf_crc_fold.h"

#endif
