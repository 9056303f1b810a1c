/* SPDX-License-Identifier: Apache-2.0 */
#include "dlf_array.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "dlf_crc.h"
#include "dlf_pool.h"

/* Holds a ZIP local header padded to a page and the .npy header behind it. */
#define HEAD_GUESS ((size_t)4096)
/* numpy pads its headers to 64 bytes; nearly all are of this size. */
#define NPY_HEADER_GUESS ((size_t)128)
/* Inflate and checksum in pieces that stay in the second-level cache. */
#define PIECE ((size_t)256 << 10)
/* The most that is inflated behind an array only to verify its checksum. */
#define BEHIND_MAX ((uint64_t)64 << 20)

void dlf_array_scratch_free(dlf_array_scratch *scratch)
{
	dlf_zip_free(&scratch->zip);
	if (scratch->inflater)
		dlf_inflater_free(scratch->inflater);
	if (scratch->small)
		munmap(scratch->small, DLF_SMALL_FILE);
	free(scratch->head);
}

static int grow(unsigned char **block, size_t *capacity, size_t need)
{
	if (need <= *capacity)
		return 0;
	unsigned char *larger = realloc(*block, need);
	if (!larger)
		return -ENOMEM;
	*block = larger;
	*capacity = need;
	return 0;
}

int dlf_view_open(dlf_view *view, const dlf_file *file, dlf_io *io,
		  dlf_array_scratch *scratch, dlf_memory memory, dlf_fault *fault)
{
	int rc = 0;

	view->file = *file;
	view->io = io;
	view->scratch = scratch;
	view->memory = memory;
	view->whole = NULL;
	if (view->file.size > DLF_SMALL_FILE)
		return 0;
	if (!scratch->small)
		scratch->small = dlf_map(DLF_SMALL_FILE);
	if (!scratch->small)
		rc = dlf_fail(fault, -ENOMEM, 0, "out of memory");
	else
		rc = dlf_file_read(&view->file, io, 0, scratch->small,
				   view->file.size, NULL, fault);
	view->whole = scratch->small;
	if (rc)
		dlf_file_close(&view->file);
	return rc;
}

void dlf_view_close(dlf_view *view)
{
	dlf_file_close(&view->file);
}

int dlf_view_read(dlf_view *view, uint64_t offset, void *dst, size_t n,
		  uint32_t *crc, dlf_fault *fault)
{
	if (!view->whole)
		return dlf_file_read(&view->file, view->io, offset, dst, n, crc,
				     fault);
	if (offset > view->file.size || n > view->file.size - offset)
		return dlf_fail(fault, DLF_ETRUNCATED, view->file.size,
				"the file is shorter than its own headers say");
	if (crc)
		*crc = dlf_crc32_copy(*crc, dst, view->whole + offset, n);
	else
		memcpy(dst, view->whole + offset, n);
	return 0;
}

int dlf_view_directory(dlf_view *view, dlf_fault *fault)
{
	dlf_file_src ctx = {&view->file, view->io};
	dlf_src src = view->whole
			      ? dlf_src_memory(view->whole, view->file.size)
			      : dlf_src_file(&ctx);

	return dlf_zip_open(&view->scratch->zip, &src, fault);
}

/* Bytes [offset, offset + n) of the file: in memory already, or read to
 * scratch->head. */
static int peek(dlf_view *view, uint64_t offset, size_t n,
		const unsigned char **bytes, dlf_fault *fault)
{
	dlf_array_scratch *scratch = view->scratch;

	if (view->whole && offset <= view->file.size &&
	    n <= view->file.size - offset) {
		*bytes = view->whole + offset;
		return 0;
	}
	int rc = grow(&scratch->head, &scratch->head_capacity, n);
	if (rc)
		return dlf_fail(fault, rc, offset, "out of memory");
	*bytes = scratch->head;
	return dlf_view_read(view, offset, scratch->head, n, NULL, fault);
}

/* Parse the header at array->start, of which head[0..have) is at hand. */
static int parse_stored(dlf_array *array, const unsigned char *head,
			size_t have, dlf_fault *fault)
{
	size_t need = 0;
	int rc;

	if (have > array->size)
		have = array->size;
	rc = dlf_npy_parse(head, have, array->size, array->start, &array->npy,
			   &need, fault);
	while (rc == DLF_EMORE) {
		rc = peek(array->view, array->start, need, &head, fault);
		if (!rc)
			rc = dlf_npy_parse(head, need, array->size,
					   array->start, &array->npy, &need,
					   fault);
	}
	if (rc)
		return rc;
	array->position = array->npy.data_offset;
	if (array->checked)
		array->crc = dlf_crc32(0, head, array->npy.data_offset);
	return 0;
}

int dlf_array_open_npy(dlf_array *array, dlf_view *view, dlf_fault *fault)
{
	const unsigned char *head;
	size_t have = view->file.size < HEAD_GUESS ? view->file.size
						   : HEAD_GUESS;

	*array = (dlf_array){.view = view, .size = view->file.size};
	if (!view->whole)
		dlf_file_will_read(&view->file, view->io, 0, view->file.size);
	int rc = peek(view, 0, have, &head, fault);
	return rc ? rc : parse_stored(array, head, have, fault);
}

/* The inflater's faults count from the first packed byte, and it leaves it to its
 * caller to report a lack of memory. */
static int in_file(const dlf_array *array, int rc, dlf_fault *fault)
{
	if (rc == DLF_EFORMAT && fault)
		fault->offset += array->start;
	else if (rc)
		dlf_fail(fault, rc, array->start, "cannot be inflated");
	return rc;
}

static int inflate(dlf_array *array, void *dst, size_t n, dlf_fault *fault)
{
	return in_file(array,
		       dlf_inflate_read(array->view->scratch->inflater, dst, n,
					fault),
		       fault);
}

/* Bring the packed bytes into memory; their size was checked against the file
 * when the directory was read. */
static int load_packed(dlf_array *array, uint64_t packed_size,
		       const unsigned char **bytes, dlf_fault *fault)
{
	dlf_view *view = array->view;

	if (view->whole)
		return peek(view, array->start, packed_size, bytes, fault);
	int rc = dlf_memory_get(&view->memory, packed_size, &array->packed);
	if (rc)
		return dlf_fail(fault, rc, array->start, "out of memory");
	*bytes = array->packed->data;
	return dlf_view_read(view, array->start, array->packed->data, packed_size,
			 NULL, fault);
}

/* The header of a deflated array comes out of the inflater piece by piece. */
static int parse_deflated(dlf_array *array, dlf_fault *fault)
{
	dlf_array_scratch *scratch = array->view->scratch;
	size_t have = 0, need = NPY_HEADER_GUESS;
	int rc;

	do {
		if (need > array->size)
			need = array->size;
		rc = grow(&scratch->head, &scratch->head_capacity, need);
		if (rc)
			return dlf_fail(fault, rc, array->start,
					"out of memory");
		rc = inflate(array, scratch->head + have, need - have, fault);
		if (rc)
			return rc;
		have = need;
		rc = dlf_npy_parse(scratch->head, have, array->size,
				   array->start, &array->npy, &need, fault);
	} while (rc == DLF_EMORE && need > have);
	if (rc) /* the header itself has no place in the file */
		return dlf_fail(fault, rc, array->start, fault->what);
	if (array->checked)
		array->crc = dlf_crc32(0, scratch->head, have);
	array->position = array->npy.data_offset;
	array->ahead = have - array->npy.data_offset;
	return 0;
}

static int start_inflater(dlf_array *array, const dlf_zip_member *member,
			  dlf_fault *fault)
{
	dlf_view *view = array->view;
	const unsigned char *packed;
	int rc = 0;

	if (!view->scratch->inflater)
		rc = dlf_inflater_new(NULL, &view->scratch->inflater);
	if (rc)
		return dlf_fail(fault, rc, array->start, "out of memory");
	rc = load_packed(array, member->packed_size, &packed, fault);
	if (rc)
		return rc;
	rc = dlf_inflate_begin(view->scratch->inflater, packed,
			       member->packed_size, member->size, fault);
	return in_file(array, rc, fault);
}

/* Find the member's data; *head[0..*have) are the bytes at hand there. */
static int open_data(dlf_array *array, dlf_view *view,
		     const dlf_zip_member *member, int verify,
		     const unsigned char **head, size_t *have,
		     dlf_fault *fault)
{
	uint64_t left = member->limit - member->header_offset;
	size_t guess = left < HEAD_GUESS ? left : HEAD_GUESS;

	*array = (dlf_array){
		.view = view,
		.size = member->size,
		.checked = verify,
		.crc_stored = member->crc,
		.deflated = member->method == DLF_ZIP_DEFLATED,
	};
	if (!view->whole)
		dlf_file_will_read(&view->file, view->io, member->header_offset,
				   left);
	int rc = peek(view, member->header_offset, guess, head, fault);
	if (!rc)
		rc = dlf_zip_data_offset(member, *head, guess, &array->start,
					 fault);
	if (rc)
		return rc;
	size_t skip = array->start - member->header_offset;
	if (skip > guess)
		skip = guess;
	*head += skip;
	*have = guess - skip;
	return array->deflated ? start_inflater(array, member, fault) : 0;
}

int dlf_array_open_member(dlf_array *array, dlf_view *view,
			  const dlf_zip_member *member, int verify,
			  dlf_fault *fault)
{
	const unsigned char *head;
	size_t have;
	int rc = open_data(array, view, member, verify, &head, &have, fault);

	if (rc)
		return rc;
	return array->deflated ? parse_deflated(array, fault)
			       : parse_stored(array, head, have, fault);
}

int dlf_array_open_raw(dlf_array *array, dlf_view *view,
		       const dlf_zip_member *member, int verify,
		       dlf_fault *fault)
{
	const unsigned char *head;
	size_t have;

	return open_data(array, view, member, verify, &head, &have, fault);
}

static int inflate_payload(dlf_array *array, unsigned char *dst, size_t n,
			   dlf_fault *fault)
{
	dlf_array_scratch *scratch = array->view->scratch;
	size_t ahead = n < array->ahead ? n : array->ahead;

	if (ahead) {
		memcpy(dst, scratch->head + array->position, ahead);
		array->ahead -= ahead;
		dst += ahead;
		n -= ahead;
	}
	while (n) {
		size_t part = n < PIECE ? n : PIECE;
		if (dlf_io_cancelled(array->view->io))
			return dlf_fail(fault, DLF_ECANCELLED, array->start,
					"cancelled");
		int rc = inflate(array, dst, part, fault);
		if (rc)
			return rc;
		if (array->checked)
			array->crc = dlf_crc32(array->crc, dst, part);
		dst += part;
		n -= part;
	}
	return 0;
}

int dlf_array_read(dlf_array *array, void *dst, size_t n, dlf_fault *fault)
{
	int rc;

	if (array->deflated)
		rc = inflate_payload(array, dst, n, fault);
	else
		rc = dlf_view_read(array->view, array->start + array->position, dst,
			       n, array->checked ? &array->crc : NULL, fault);
	array->position += n;
	return rc;
}

int dlf_array_finish(dlf_array *array, dlf_fault *fault)
{
	unsigned char rest[4096];
	int rc = 0;

	if (!array->checked)
		return 0;
	if (array->deflated && array->size - array->position > BEHIND_MAX)
		return dlf_fail(fault, DLF_EUNSUPPORTED, array->start,
				"more than 64 MiB follow the array in its "
				"member");
	while (!rc && array->position < array->size) {
		uint64_t left = array->size - array->position;
		rc = dlf_array_read(array, rest,
				    left < sizeof(rest) ? left : sizeof(rest),
				    fault);
	}
	if (!rc && array->deflated)
		rc = in_file(array,
			     dlf_inflate_end(array->view->scratch->inflater,
					     fault),
			     fault);
	if (!rc && array->crc != array->crc_stored)
		rc = dlf_fail(fault, DLF_ECHECKSUM, array->start,
			      "the stored CRC-32 does not match the bytes");
	return rc;
}

void dlf_array_close(dlf_array *array)
{
	if (array->packed)
		dlf_memory_put(&array->view->memory, array->packed);
	array->packed = NULL;
}
