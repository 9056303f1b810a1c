/* SPDX-License-Identifier: Apache-2.0 */
#include "dlf_zip_end.h"

#include <errno.h>

/* Signatures and fixed sizes of the records. */
#define END_SIG 0x06054b50u
#define END_SIZE 22
#define END64_SIG 0x06064b50u
#define END64_SIZE 56
#define LOCATOR_SIG 0x07064b50u
#define LOCATOR_SIZE 20
#define MAX_COMMENT 0xffffu

/* What is read first, which is all of an NPZ's directory; and enough for the
 * longest comment. */
#define SMALL_TAIL ((size_t)4096)
#define LARGE_TAIL ((size_t)END64_SIZE + LOCATOR_SIZE + END_SIZE + MAX_COMMENT)

/* Some three million members.  A sparse file costs nothing to make, so its size
 * alone must not decide how much memory we fill. */
#define MAX_DIRECTORY ((uint64_t)256 << 20)

/* Fill zip->directory with a range of the file. */
static int load(dlf_zip_reader *in, uint64_t offset, size_t size)
{
	dlf_zip *zip = in->zip;

	zip->directory = dlf_zip_reserve(zip->directory,
					 &zip->directory_capacity, size, 1);
	if (!zip->directory)
		return dlf_fail(in->fault, -ENOMEM, offset,
				"no memory for the archive's directory");
	return dlf_src_read(in->src, offset, zip->directory, size, in->fault);
}

static int load_tail(dlf_zip_reader *in, size_t size)
{
	if (size > in->src->size)
		size = (size_t)in->src->size;
	in->tail_offset = in->src->size - size;
	in->tail_size = size;
	return load(in, in->tail_offset, size);
}

/* Copy a few bytes before the end record, out of the tail if they are there. */
static int fetch(const dlf_zip_reader *in, uint64_t offset, unsigned char *dst,
		 size_t size)
{
	if (offset < in->tail_offset)
		return dlf_src_read(in->src, offset, dst, size, in->fault);
	memcpy(dst, in->zip->directory + (offset - in->tail_offset), size);
	return 0;
}

/* Find the last end record in the tail whose comment ends with the file, or
 * before it if junk is set, and whose directory can lie before it.  Returns 0
 * where there is none. */
static int find_end(const dlf_zip_reader *in, int junk, uint64_t *offset)
{
	const unsigned char *tail = in->zip->directory;

	for (size_t i = in->tail_size - END_SIZE + 1; i-- > 0;) {
		const unsigned char *p = tail + i;
		size_t behind = in->tail_size - i - END_SIZE;
		uint64_t size, begin;
		size_t comment;

		if (p[0] != 'P' || dlf_get32(p) != END_SIG)
			continue;
		size = dlf_get32(p + 12);
		begin = dlf_get32(p + 16);
		comment = dlf_get16(p + 20);
		*offset = in->tail_offset + i;
		if ((junk ? comment < behind : comment == behind) &&
		    (size == DLF_IN_ZIP64_32 || begin == DLF_IN_ZIP64_32 ||
		     begin + size <= *offset))
			return 1;
	}
	return 0;
}

/* Say why a file without an end record is none of ours. */
static int refuse(const dlf_zip_reader *in)
{
	static const unsigned char first[] = {'P', 'K', 3, 4};
	unsigned char head[sizeof(first)];
	size_t size = sizeof(head);
	int rc;

	if (size > in->src->size)
		size = (size_t)in->src->size;
	rc = dlf_src_read(in->src, 0, head, size, in->fault);
	if (rc)
		return rc;
	if (memcmp(head, first, size))
		return dlf_fail(in->fault, DLF_EFORMAT, 0,
				"not a ZIP archive");
	return dlf_fail(in->fault, DLF_ETRUNCATED, in->src->size,
			"the archive ends before its directory");
}

/* Find the ZIP64 end record that belongs to the end record at end: 1 and a copy
 * of it, 0 where there is none. */
static int fetch_end64(const dlf_zip_reader *in, uint64_t end,
		       unsigned char *record, uint64_t *offset)
{
	unsigned char locator[LOCATOR_SIZE];
	uint64_t places[2];
	int rc;

	if (end < END64_SIZE + LOCATOR_SIZE)
		return 0;
	rc = fetch(in, end - LOCATOR_SIZE, locator, LOCATOR_SIZE);
	if (rc)
		return rc;
	if (dlf_get32(locator) != LOCATOR_SIG)
		return 0;
	if (dlf_get32(locator + 4) != 0 || dlf_get32(locator + 16) > 1)
		return dlf_fail(in->fault, DLF_EUNSUPPORTED, end - LOCATOR_SIZE,
				"the archive spans several disks");
	/* Right before the locator, where bytes before the archive do not move
	 * it; elsewhere only if it has an extensible data sector. */
	places[0] = end - LOCATOR_SIZE - END64_SIZE;
	places[1] = dlf_get64(locator + 8);
	for (int i = 0; i < 2; i++) {
		if (places[i] > places[0])
			continue;
		rc = fetch(in, places[i], record, END64_SIZE);
		if (rc)
			return rc;
		*offset = places[i];
		if (dlf_get32(record) == END64_SIG)
			return 1;
	}
	return dlf_fail(in->fault, DLF_EFORMAT, end - LOCATOR_SIZE,
			"the ZIP64 end record is not where its locator says");
}

/* Check the extent that the end records give against the file. */
static int check_extent(const dlf_zip_reader *in, dlf_zip_extent *dir,
			uint64_t offset)
{
	if (dir->size > dir->end || offset > dir->end - dir->size)
		return dlf_fail(in->fault, DLF_EFORMAT, dir->end,
				"the directory does not fit before its end "
				"record");
	dir->begin = dir->end - dir->size;
	dir->shift = dir->begin - offset;
	if (dir->count > dir->size / DLF_ZIP_ENTRY_SIZE)
		return dlf_fail(in->fault, DLF_EFORMAT, dir->end,
				"more members than the directory has room for");
	if (dir->size > MAX_DIRECTORY)
		return dlf_fail(in->fault, DLF_EUNSUPPORTED, dir->begin,
				"the directory is larger than 256 MiB");
	return 0;
}

/* Read the end record at end, and the ZIP64 one where there is one. */
static int read_end(const dlf_zip_reader *in, uint64_t end, dlf_zip_extent *dir)
{
	const unsigned char *p = in->zip->directory + (end - in->tail_offset);
	uint32_t disk = dlf_get16(p + 4), dir_disk = dlf_get16(p + 6);
	uint64_t here = dlf_get16(p + 8), count = dlf_get16(p + 10);
	uint64_t size = dlf_get32(p + 12), offset = dlf_get32(p + 16);
	unsigned char record[END64_SIZE];
	uint64_t count64, size64, offset64;
	int rc;

	dir->end = end;
	rc = fetch_end64(in, end, record, &dir->end);
	if (rc < 0)
		return rc;
	if (rc) {
		disk = dlf_get32(record + 16);
		dir_disk = dlf_get32(record + 20);
		here = dlf_get64(record + 24);
		count64 = dlf_get64(record + 32);
		size64 = dlf_get64(record + 40);
		offset64 = dlf_get64(record + 48);
		if ((count != DLF_IN_ZIP64_16 && count != count64) ||
		    (size != DLF_IN_ZIP64_32 && size != size64) ||
		    (offset != DLF_IN_ZIP64_32 && offset != offset64))
			return dlf_fail(in->fault, DLF_EFORMAT, dir->end,
					"the two end records disagree");
		count = count64;
		size = size64;
		offset = offset64;
	}
	if (disk || dir_disk || here != count)
		return dlf_fail(in->fault, DLF_EUNSUPPORTED, dir->end,
				"the archive spans several disks");
	dir->count = count;
	dir->size = size;
	return check_extent(in, dir, offset);
}

int dlf_zip_find_directory(dlf_zip_reader *in, dlf_zip_extent *dir)
{
	uint64_t end;
	int found, junk, rc;

	if (in->src->size < END_SIZE)
		return refuse(in);
	rc = load_tail(in, SMALL_TAIL);
	if (rc)
		return rc;
	found = find_end(in, 0, &end);
	if (!found && in->src->size > SMALL_TAIL) {
		rc = load_tail(in, LARGE_TAIL);
		if (rc)
			return rc;
		found = find_end(in, 0, &end);
	}
	junk = !found;
	if (junk && !find_end(in, 1, &end))
		return refuse(in);
	rc = read_end(in, end, dir);
	if (rc)
		return rc;
	/* Of an archive that was cut off inside a member which is an archive
	 * itself, the inner one would be read. */
	if (junk && dir->shift)
		return dlf_fail(in->fault, DLF_ETRUNCATED, in->src->size,
				"the archive ends before its directory");
	if (dir->begin >= in->tail_offset)
		return 0;
	in->tail_offset = dir->begin;
	return load(in, dir->begin, (size_t)dir->size);
}

