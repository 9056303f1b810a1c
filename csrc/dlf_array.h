/* SPDX-License-Identifier: Apache-2.0
 *
 * One .npy array inside a file, read front to back whatever wraps it: the file
 * itself, a stored ZIP member, or a deflated one.
 */
#ifndef DLF_ARRAY_H
#define DLF_ARRAY_H

#include "dlf_file.h"
#include "dlf_inflate.h"
#include "dlf_memory.h"
#include "dlf_npy.h"
#include "dlf_zip.h"

/* Files up to this size are read whole, in one system call. */
#define DLF_SMALL_FILE ((size_t)256 << 10)

/* A thread's reusable memory for parsing. */
typedef struct dlf_array_scratch {
	dlf_zip zip;
	dlf_inflater *inflater;
	unsigned char *head;     /* header bytes */
	size_t head_capacity;
	unsigned char *small;    /* a small file's bytes */
} dlf_array_scratch;

void dlf_array_scratch_free(dlf_array_scratch *scratch);

/* An open file, and its bytes where it is small. */
typedef struct dlf_view {
	dlf_file file;
	dlf_io *io;
	dlf_array_scratch *scratch;
	dlf_memory memory;
	const unsigned char *whole; /* NULL: not in memory */
} dlf_view;

/* Over a file that was just opened, and is the view's from now on: it is closed after
 * a failure. */
int dlf_view_open(dlf_view *view, const dlf_file *file, dlf_io *io,
		  dlf_array_scratch *scratch, dlf_memory memory, dlf_fault *fault);
void dlf_view_close(dlf_view *view);

/* Read exactly n bytes at offset; see dlf_file_read. */
int dlf_view_read(dlf_view *view, uint64_t offset, void *dst, size_t n,
		  uint32_t *crc, dlf_fault *fault);

/* Read the archive's directory into scratch->zip. */
int dlf_view_directory(dlf_view *view, dlf_fault *fault);

typedef struct dlf_array {
	dlf_view *view;
	dlf_npy npy;
	uint64_t start;       /* of the .npy in the file, where it is not deflated */
	uint64_t size;        /* of the whole .npy, unpacked */
	uint64_t position;    /* next byte to read, from the .npy's start */
	int deflated;
	int checked;          /* there is a checksum and it is to be verified */
	uint32_t crc;         /* so far */
	uint32_t crc_stored;
	dlf_buf *packed;      /* the deflated bytes, where they were loaded */
	size_t ahead;         /* payload bytes already inflated behind the header,
			       * at scratch->head + npy.data_offset */
} dlf_array;

/* Open the .npy that fills the whole file.  An array that was opened, well or not,
 * is to be closed. */
int dlf_array_open_npy(dlf_array *array, dlf_view *view, dlf_fault *fault);

/* Open a member of the directory in scratch->zip. */
int dlf_array_open_member(dlf_array *array, dlf_view *view,
			  const dlf_zip_member *member, int verify,
			  dlf_fault *fault);

/* Open a member as plain bytes, whatever they are: all of it is payload. */
int dlf_array_open_raw(dlf_array *array, dlf_view *view,
		       const dlf_zip_member *member, int verify,
		       dlf_fault *fault);

/* The next n bytes of the payload to dst. */
int dlf_array_read(dlf_array *array, void *dst, size_t n, dlf_fault *fault);

/* After the payload: read what may follow it in the member and compare the
 * checksum. */
int dlf_array_finish(dlf_array *array, dlf_fault *fault);

void dlf_array_close(dlf_array *array);

#endif
