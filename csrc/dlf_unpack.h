/* SPDX-License-Identifier: Apache-2.0
 *
 * A whole gzip or zlib stream of unknown length, unpacked into memory.
 *
 * What unpacks to more than 64 MiB, and to more than 100 times its own size, is
 * taken for a bomb and refused, as is what unpacks to more than 4 GiB.
 */
#ifndef DLF_UNPACK_H
#define DLF_UNPACK_H

#include "dlf_error.h"
#include "dlf_file.h"
#include "dlf_memory.h"

#define DLF_UNPACK_ALWAYS ((uint64_t)64 << 20)
#define DLF_UNPACK_RATIO ((uint64_t)100)
#define DLF_UNPACK_NEVER ((uint64_t)4 << 30)

/* Unpack the file; *out has `*size` bytes of data.  Memory is asked for as it fills.
 * DLF_EFORMAT, DLF_ETRUNCATED, DLF_EUNSUPPORTED (a bomb), -ENOMEM. */
int dlf_unpack_file(dlf_file *file, dlf_io *io, const dlf_memory *memory,
		    dlf_buf **out, uint64_t *size, dlf_fault *fault);

#endif
