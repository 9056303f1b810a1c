/* SPDX-License-Identifier: Apache-2.0
 *
 * Indexed binary files: raw samples, and beside them the table that says where
 * each lies; see dlf_index.h.
 */
#ifndef DLF_INDEXED_H
#define DLF_INDEXED_H

#include "dlf_task.h"

/* The plan's one field says what a sample of its size is.  A sample of another size
 * is a list of elements of that type, or of bytes where its size is no multiple of
 * theirs. */
extern const dlf_container dlf_indexed_container;

#endif
