/* SPDX-License-Identifier: Apache-2.0
 *
 * ZIP archives put together by hand, for the tests of dlf_zip.
 */
#ifndef ZIP_FILE_H
#define ZIP_FILE_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "dlf_zip.h"

enum { LOCAL_SIZE = 30, ENTRY_SIZE = 46, END_SIZE = 22 };

/* A member to be; what is zero takes the value that fits the data. */
struct member {
	const char *name;
	size_t name_len;
	const char *data;
	size_t len;        /* of the data, which is zeros where data is NULL */
	uint16_t method;
	uint16_t flags;
	uint64_t packed_size, size; /* what the directory declares */
	int zip64_local;   /* sizes in the local extra field, as numpy.savez */
	int zip64_entry;   /* all in the directory's extra field */
	uint16_t padding;  /* an extra field of so many bytes, to align */
	int descriptor;    /* sizes behind the data */
	uint64_t offset;   /* where it came to lie, set by add_member */
};

struct zip_file {
	unsigned char bytes[200000];
	size_t size;
	struct member members[400];
	size_t count;
	size_t directory; /* where it came to lie */
	size_t end;       /* the end record */
};

static inline void put(struct zip_file *z, const void *data, size_t len)
{
	if (data)
		memcpy(z->bytes + z->size, data, len);
	else
		memset(z->bytes + z->size, 0, len);
	z->size += len;
}

/* A little-endian number. */
static inline void put_n(struct zip_file *z, uint64_t value, int bytes)
{
	for (; bytes > 0; bytes--, value >>= 8)
		z->bytes[z->size++] = (unsigned char)value;
}

/* Overwrite a little-endian number. */
static inline void patch(struct zip_file *z, size_t at, uint64_t value,
			 int bytes)
{
	for (; bytes > 0; bytes--, value >>= 8)
		z->bytes[at++] = (unsigned char)value;
}

static inline void put_local(struct zip_file *z, const struct member *m)
{
	int later = m->descriptor || m->zip64_local;
	size_t extra = (m->zip64_local ? 20 : 0) +
		       (m->padding ? 4 + m->padding : 0);

	put_n(z, 0x04034b50, 4);
	put_n(z, 45, 2);
	put_n(z, m->flags | (m->descriptor ? 8 : 0), 2);
	put_n(z, m->method, 2);
	put_n(z, 0, 4);
	put_n(z, m->descriptor ? 0 : 0x12345678, 4);
	put_n(z, later ? 0xffffffff : m->packed_size, 4);
	put_n(z, later ? 0xffffffff : m->size, 4);
	put_n(z, m->name_len, 2);
	put_n(z, extra, 2);
	put(z, m->name, m->name_len);
	if (m->zip64_local) {
		put_n(z, 1, 2);
		put_n(z, 16, 2);
		put_n(z, m->size, 8);
		put_n(z, m->packed_size, 8);
	}
	if (m->padding) {
		put_n(z, 0xd935, 2);
		put_n(z, m->padding, 2);
		put(z, NULL, m->padding);
	}
}

/* Append a local header and its data. */
static inline struct member *add_member(struct zip_file *z, struct member m)
{
	if (m.name && !m.name_len)
		m.name_len = strlen(m.name);
	if (m.data && !m.len)
		m.len = strlen(m.data);
	if (!m.packed_size)
		m.packed_size = m.len;
	if (!m.size)
		m.size = m.len;
	m.offset = z->size;
	put_local(z, &m);
	put(z, m.data, m.len);
	if (m.descriptor)
		put(z, NULL, 16);
	z->members[z->count] = m;
	return &z->members[z->count++];
}

static inline void put_entry(struct zip_file *z, const struct member *m)
{
	put_n(z, 0x02014b50, 4);
	put_n(z, 45, 2);
	put_n(z, 45, 2);
	put_n(z, m->flags | (m->descriptor ? 8 : 0), 2);
	put_n(z, m->method, 2);
	put_n(z, 0, 4);
	put_n(z, 0x12345678, 4);
	put_n(z, m->zip64_entry ? 0xffffffff : m->packed_size, 4);
	put_n(z, m->zip64_entry ? 0xffffffff : m->size, 4);
	put_n(z, m->name_len, 2);
	put_n(z, m->zip64_entry ? 6 + 28 : 0, 2);
	put_n(z, 0, 2);
	put_n(z, 0, 2);
	put_n(z, 0, 6);
	put_n(z, m->zip64_entry ? 0xffffffff : m->offset, 4);
	put(z, m->name, m->name_len);
	if (m->zip64_entry) { /* behind a field that is to be skipped */
		put_n(z, 0xcafe, 2);
		put_n(z, 2, 2);
		put_n(z, 0, 2);
		put_n(z, 1, 2);
		put_n(z, 24, 2);
		put_n(z, m->size, 8);
		put_n(z, m->packed_size, 8);
		put_n(z, m->offset, 8);
	}
}

/* Append the directory.  Offsets count from begin: bytes before it are no part
 * of the archive. */
static inline void put_directory(struct zip_file *z, size_t begin)
{
	z->directory = z->size;
	for (size_t i = 0; i < z->count; i++) {
		z->members[i].offset -= begin;
		put_entry(z, &z->members[i]);
	}
}

static inline void put_end(struct zip_file *z, size_t begin, int zip64,
			   const void *comment, size_t comment_len)
{
	z->end = z->size;
	put_n(z, 0x06054b50, 4);
	put_n(z, 0, 4);
	put_n(z, zip64 ? 0xffff : z->count, 2);
	put_n(z, zip64 ? 0xffff : z->count, 2);
	put_n(z, zip64 ? 0xffffffff : z->end - z->directory, 4);
	put_n(z, zip64 ? 0xffffffff : z->directory - begin, 4);
	put_n(z, comment_len, 2);
	put(z, comment, comment_len);
}

/* The ZIP64 end record, data of so many bytes in it, and its locator. */
static inline void put_end64(struct zip_file *z, size_t begin, size_t data)
{
	size_t at = z->size;

	put_n(z, 0x06064b50, 4);
	put_n(z, 44 + data, 8);
	put_n(z, 45, 2);
	put_n(z, 45, 2);
	put_n(z, 0, 8);
	put_n(z, z->count, 8);
	put_n(z, z->count, 8);
	put_n(z, at - z->directory, 8);
	put_n(z, z->directory - begin, 8);
	put(z, NULL, data);
	put_n(z, 0x07064b50, 4);
	put_n(z, 0, 4);
	put_n(z, at - begin, 8);
	put_n(z, 1, 4);
}

/* Directory and plain end record. */
static inline void finish(struct zip_file *z)
{
	put_directory(z, 0);
	put_end(z, 0, 0, NULL, 0);
}

/* Two stored members as numpy.savez writes them. */
static inline void build_npz(struct zip_file *z)
{
	z->size = z->count = 0;
	add_member(z, (struct member){.name = "x.npy", .data = "first array",
				      .zip64_local = 1});
	add_member(z, (struct member){.name = "y.npy", .data = "the second",
				      .zip64_local = 1});
	finish(z);
}

/* The part of test_zip that is about bad archives. */
void test_zip_damage(void);

#endif
