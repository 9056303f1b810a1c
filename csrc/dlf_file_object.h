/* SPDX-License-Identifier: Apache-2.0
 *
 * What dlf_file does where the file is an object of a store.  For dlf_file.c, and for
 * stores that stand before others.
 */
#ifndef DLF_FILE_OBJECT_H
#define DLF_FILE_OBJECT_H

#include "dlf_file.h"

int dlf_file_open_object(dlf_file *file, dlf_io *io, const char *address,
			 const dlf_hint *hint, dlf_fault *fault);

/* Announce a range that is to be read next, in pieces if a checksum is taken of it; as
 * long as what is returned, or shorter. */
size_t dlf_file_object_piece(dlf_file *file, dlf_io *io, uint64_t offset, size_t len,
			     int checked);
int dlf_file_check_object(const dlf_file *file, dlf_fault *fault);
void dlf_file_close_object(dlf_file *file);

/* Make an open object the file. */
void dlf_file_take_object(dlf_file *file, dlf_io *io, dlf_object *object);

/* Open a local file, wherever the io's paths lead.  It is counted by nobody: where it
 * is not handed on, close its descriptor. */
int dlf_file_open_local(dlf_file *file, dlf_io *io, const char *path, int flags,
			dlf_fault *fault);

#endif
