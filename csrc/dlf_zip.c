/* SPDX-License-Identifier: Apache-2.0 */
#include "dlf_zip.h"

#include <errno.h>
#include <stdlib.h>

#include "dlf_zip_end.h"

#define LOCAL_SIG 0x04034b50u
#define ENTRY_SIG 0x02014b50u
#define ZIP64_EXTRA 1

/* Encrypted, patch data, strong encryption, masked headers. */
#define FLAGS_ENCRYPTED (1u << 0 | 1u << 5 | 1u << 6 | 1u << 13)
#define FLAG_UTF8 (1u << 11)

/* Take from the ZIP64 extra field what the entry's own fields refer to it. */
static int read_zip64(const unsigned char *extra, size_t left,
		      dlf_zip_member *m)
{
	uint64_t *fields[] = {&m->size, &m->packed_size, &m->header_offset};
	size_t size;

	for (;; extra += 4 + size, left -= 4 + size) {
		if (left < 4)
			return 0;
		size = dlf_get16(extra + 2);
		if (size > left - 4)
			return 0;
		if (dlf_get16(extra) == ZIP64_EXTRA)
			break;
	}
	extra += 4;
	for (int i = 0; i < 3; i++) {
		if (*fields[i] != DLF_IN_ZIP64_32)
			continue;
		if (size < 8)
			return 0;
		*fields[i] = dlf_get64(extra);
		extra += 8;
		size -= 8;
	}
	return 1;
}

/* Read the directory entry at p, of which left bytes are there; *used is its
 * length. */
static int read_entry(const dlf_zip_reader *in, const dlf_zip_extent *dir,
		      unsigned char *p, size_t left, dlf_zip_member *m,
		      size_t *used)
{
	unsigned char *name = p + DLF_ZIP_ENTRY_SIZE;
	uint64_t at = dir->end - left;
	uint32_t flags, disk;
	size_t extra_len;

	m->name = "";
	if (left < DLF_ZIP_ENTRY_SIZE || dlf_get32(p) != ENTRY_SIG)
		return dlf_fail(in->fault, DLF_EFORMAT, at,
				"no entry where the directory must have one");
	flags = dlf_get16(p + 8);
	m->method = (uint16_t)dlf_get16(p + 10);
	m->crc = dlf_get32(p + 16);
	m->packed_size = dlf_get32(p + 20);
	m->size = dlf_get32(p + 24);
	m->name_len = dlf_get16(p + 28);
	extra_len = dlf_get16(p + 30);
	*used = DLF_ZIP_ENTRY_SIZE + m->name_len + extra_len +
		dlf_get16(p + 32);
	disk = dlf_get16(p + 34);
	m->header_offset = dlf_get32(p + 42);
	m->encrypted = (flags & FLAGS_ENCRYPTED) != 0;
	m->utf8 = (flags & FLAG_UTF8) != 0;
	if (*used > left)
		return dlf_fail(in->fault, DLF_EFORMAT, at,
				"an entry reaches beyond the directory");

	/* One byte to the left there is room for the NUL. */
	m->name = memmove(name - 1, name, m->name_len);
	name[(ptrdiff_t)m->name_len - 1] = '\0';
	if (memchr(m->name, '\0', m->name_len))
		return dlf_fail(in->fault, DLF_EFORMAT, at,
				"NUL in a member's name");
	if ((m->size == DLF_IN_ZIP64_32 || m->packed_size == DLF_IN_ZIP64_32 ||
	     m->header_offset == DLF_IN_ZIP64_32) &&
	    !read_zip64(name + m->name_len, extra_len, m))
		return dlf_fail(in->fault, DLF_EFORMAT, at,
				"the ZIP64 extra field is missing or too "
				"short");
	if (disk != 0 && disk != DLF_IN_ZIP64_16)
		return dlf_fail(in->fault, DLF_EUNSUPPORTED, at,
				"the archive spans several disks");
	if (m->header_offset > dir->begin - dir->shift)
		return dlf_fail(in->fault, DLF_EFORMAT, at,
				"the member does not lie before the directory");
	m->header_offset += dir->shift;
	return 0;
}

static int read_members(const dlf_zip_reader *in, const dlf_zip_extent *dir)
{
	dlf_zip *zip = in->zip;
	unsigned char *p = zip->directory + (dir->begin - in->tail_offset);
	size_t left = (size_t)dir->size, used;

	for (size_t i = 0; i < dir->count; i++, p += used, left -= used) {
		int rc = read_entry(in, dir, p, left, &zip->members[i], &used);

		if (rc) {
			dlf_fault_member(in->fault, zip->members[i].name);
			return rc;
		}
	}
	if (left)
		return dlf_fail(in->fault, DLF_EFORMAT, dir->end - left,
				"the directory goes on after its last member");
	return 0;
}

static int by_header_offset(const void *a, const void *b, void *ctx)
{
	const dlf_zip_member *members = ctx;
	uint64_t x = members[*(const uint32_t *)a].header_offset;
	uint64_t y = members[*(const uint32_t *)b].header_offset;

	return (x > y) - (x < y);
}

/* Number the members by where they lie, if the directory does not. */
static int sort_members(const dlf_zip_reader *in, size_t count, int *sorted)
{
	dlf_zip *zip = in->zip;
	const dlf_zip_member *m = zip->members;
	size_t ahead = 1;

	while (ahead < count &&
	       m[ahead - 1].header_offset <= m[ahead].header_offset)
		ahead++;
	*sorted = ahead >= count;
	if (*sorted)
		return 0;
	zip->order = dlf_zip_reserve(zip->order, &zip->order_capacity, count,
				     sizeof(*zip->order));
	if (!zip->order)
		return dlf_fail(in->fault, -ENOMEM, 0,
				"no memory for the archive's directory");
	for (size_t i = 0; i < count; i++)
		zip->order[i] = (uint32_t)i;
	qsort_r(zip->order, count, sizeof(*zip->order), by_header_offset,
		zip->members);
	return 0;
}

/* Set every member's limit, and check that it keeps to it. */
static int set_limits(const dlf_zip_reader *in, const dlf_zip_extent *dir)
{
	dlf_zip *zip = in->zip;
	uint64_t limit = dir->begin;
	int sorted;
	int rc = sort_members(in, dir->count, &sorted);

	if (rc)
		return rc;
	for (size_t i = dir->count; i-- > 0;) {
		dlf_zip_member *m = &zip->members[sorted ? i : zip->order[i]];
		uint64_t room = limit - m->header_offset;
		uint64_t header = DLF_ZIP_LOCAL_SIZE + m->name_len;

		if (room < header || m->packed_size > room - header) {
			const char *what = "overlapping members";

			if (limit == dir->begin)
				what = "the member reaches into the directory";
			dlf_fault_member(in->fault, m->name);
			return dlf_fail(in->fault, DLF_EFORMAT,
					m->header_offset, what);
		}
		m->limit = limit;
		limit = m->header_offset;
	}
	return 0;
}

int dlf_zip_open(dlf_zip *zip, const dlf_src *src, dlf_fault *fault)
{
	dlf_zip_reader in = {zip, src, fault, 0, 0};
	dlf_zip_extent dir = {0};
	int rc;

	zip->count = 0;
	rc = dlf_zip_find_directory(&in, &dir);
	if (rc)
		return rc;
	zip->members = dlf_zip_reserve(zip->members, &zip->capacity, dir.count,
				       sizeof(*zip->members));
	if (!zip->members && dir.count)
		return dlf_fail(fault, -ENOMEM, dir.begin,
				"no memory for the archive's directory");
	rc = read_members(&in, &dir);
	if (!rc)
		rc = set_limits(&in, &dir);
	if (!rc)
		zip->count = dir.count;
	return rc;
}

const dlf_zip_member *dlf_zip_find(const dlf_zip *zip, const char *name,
				   size_t name_len)
{
	for (size_t i = zip->count; i-- > 0;) {
		const dlf_zip_member *m = &zip->members[i];

		if (m->name_len == name_len && !memcmp(m->name, name, name_len))
			return m;
	}
	return NULL;
}

/* What is wrong with the local header for this member; NULL if nothing is. */
static const char *local_mismatch(const dlf_zip_member *m,
				  const unsigned char *p, size_t have)
{
	size_t name_len = dlf_get16(p + 26);
	size_t known = have - DLF_ZIP_LOCAL_SIZE;

	if (dlf_get16(p + 6) & FLAGS_ENCRYPTED)
		return "only the local header calls the member encrypted";
	if (dlf_get16(p + 8) != m->method)
		return "the local header has another compression method than "
		       "the directory";
	if (known > name_len)
		known = name_len;
	if (name_len != m->name_len ||
	    memcmp(p + DLF_ZIP_LOCAL_SIZE, m->name, known))
		return "the local header has another name than the directory";
	if (m->method == DLF_ZIP_STORED && m->packed_size != m->size)
		return "a stored member whose two sizes differ";
	return NULL;
}

static int find_data(const dlf_zip_member *m, const unsigned char *p,
		     size_t have, uint64_t *data_offset, dlf_fault *fault)
{
	uint64_t room = m->limit - m->header_offset, header;
	const char *mismatch;

	if (have < DLF_ZIP_LOCAL_SIZE || dlf_get32(p) != LOCAL_SIG)
		return dlf_fail(fault, DLF_EFORMAT, m->header_offset,
				"no local header where the directory says");
	if (m->encrypted)
		return dlf_fail(fault, DLF_EUNSUPPORTED, m->header_offset,
				"the member is encrypted");
	if (m->method != DLF_ZIP_STORED && m->method != DLF_ZIP_DEFLATED)
		return dlf_fail(fault, DLF_EUNSUPPORTED, m->header_offset,
				"a compression method other than stored and "
				"deflated");
	mismatch = local_mismatch(m, p, have);
	if (mismatch)
		return dlf_fail(fault, DLF_EFORMAT, m->header_offset, mismatch);
	header = DLF_ZIP_LOCAL_SIZE + dlf_get16(p + 26) + dlf_get16(p + 28);
	if (header > room || m->packed_size > room - header)
		return dlf_fail(fault, DLF_EFORMAT, m->header_offset,
				"the member's data reaches beyond its place");
	*data_offset = m->header_offset + header;
	return 0;
}

int dlf_zip_data_offset(const dlf_zip_member *member, const void *head,
			size_t have, uint64_t *data_offset, dlf_fault *fault)
{
	int rc = find_data(member, head, have, data_offset, fault);

	if (rc)
		dlf_fault_member(fault, member->name);
	return rc;
}

void dlf_zip_free(dlf_zip *zip)
{
	free(zip->members);
	free(zip->directory);
	free(zip->order);
	memset(zip, 0, sizeof(*zip));
}
