/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading samples out of an NPZ or NPY file: find the arrays, check them against
 * what the data set expects, and bring each wanted sample to its place, with the
 * checksum taken on the way.  With a cache, arrays that samples are copied out of
 * are read into it and found there; a file that it has whole is not opened again.
 */
#ifndef DLF_ARCHIVE_H
#define DLF_ARCHIVE_H

#include "dlf_task.h"

extern const dlf_container dlf_npy_container;
extern const dlf_container dlf_npz_container;

#endif
