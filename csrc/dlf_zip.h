/* SPDX-License-Identifier: Apache-2.0
 *
 * The directory of a ZIP or ZIP64 archive (PKWARE APPNOTE 6.3.10), read as an
 * untrusted file: the central directory is the authority, every extent is
 * checked against the file, and members may not overlap.
 */
#ifndef DLF_ZIP_H
#define DLF_ZIP_H

#include <stddef.h>
#include <stdint.h>

#include "dlf_error.h"
#include "dlf_src.h"

enum { DLF_ZIP_STORED = 0, DLF_ZIP_DEFLATED = 8 };

typedef struct dlf_zip_member {
	const char *name;       /* as stored, NUL-terminated, none inside */
	size_t name_len;
	uint64_t header_offset; /* local header, from the start of the file */
	uint64_t packed_size;   /* bytes in the archive */
	uint64_t size;          /* bytes once unpacked */
	uint64_t limit;         /* first byte after it that belongs to another
				 * member or to the directory */
	uint32_t crc;
	uint16_t method;
	int encrypted;
	int utf8;               /* name is UTF-8, else code page 437 */
} dlf_zip_member;

/* Zero-initialise before the first use; one dlf_zip serves any number of
 * archives, one after another, and keeps its memory between them. */
typedef struct dlf_zip {
	dlf_zip_member *members; /* in directory order */
	size_t count;
	size_t capacity;         /* private, like all below */
	unsigned char *directory;
	size_t directory_capacity;
	uint32_t *order;
	size_t order_capacity;
} dlf_zip;

/* Read the directory; members and names are valid until the next open.
 * DLF_EFORMAT, DLF_ETRUNCATED, DLF_EUNSUPPORTED (several disks, a directory
 * over 256 MiB), -ENOMEM or what src->read returns; no member is left then.
 * An archive preceded by other bytes or followed by a comment is accepted, and
 * one followed by other bytes if nothing precedes it.  The usual small archive
 * takes one read, of its last 4096 bytes. */
int dlf_zip_open(dlf_zip *zip, const dlf_src *src, dlf_fault *fault);

/* The member of that name (the last one, where a name is repeated, as in
 * Python's zipfile), or NULL. */
const dlf_zip_member *dlf_zip_find(const dlf_zip *zip, const char *name,
				   size_t name_len);

#define DLF_ZIP_LOCAL_SIZE 30

/* Where the member's data begins, from its local header at head[0..have) (which
 * is at least DLF_ZIP_LOCAL_SIZE bytes).  Checks signature, name and method
 * against the directory, that the packed bytes end before member->limit, and
 * that a stored member's two sizes are the same.  Name bytes beyond have are
 * not compared.  Refuses encrypted members and methods other than stored and
 * deflated (DLF_EUNSUPPORTED). */
int dlf_zip_data_offset(const dlf_zip_member *member, const void *head,
			size_t have, uint64_t *data_offset, dlf_fault *fault);

void dlf_zip_free(dlf_zip *zip);

#endif
