/* SPDX-License-Identifier: Apache-2.0
 *
 * Arrays and NPZ members written item by item, for the tests of dlf_batch.
 */
#ifndef ARRAY_FILE_H
#define ARRAY_FILE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "check.h"
#include "dlf_crc.h"
#include "dlf_archive.h"

/* An array as it lies in a file. */
struct array {
	int ndim, fortran;
	uint64_t shape[4];
	uint64_t itemsize;
	size_t nbytes;
	unsigned char *bytes;
};

static inline size_t npy_header(char *head, const struct array *a, const char *descr)
{
	char text[256], shape[128] = "";

	for (int d = 0; d < a->ndim; d++)
		snprintf(shape + strlen(shape), sizeof(shape) - strlen(shape),
			 "%llu,", (unsigned long long)a->shape[d]);
	snprintf(text, sizeof(text),
		 "{'descr': '%s', 'fortran_order': %s, 'shape': (%s), }", descr,
		 a->fortran ? "True" : "False", shape);
	size_t len = (strlen(text) + 1 + 10 + 63) / 64 * 64 - 10;
	memcpy(head, "\x93NUMPY\x01\x00", 8);
	head[8] = (char)len;
	head[9] = (char)(len >> 8);
	memset(head + 10, ' ', len);
	memcpy(head + 10, text, strlen(text));
	head[10 + len - 1] = '\n';
	return 10 + len;
}

static inline void put_n(FILE *f, uint64_t value, int bytes)
{
	for (; bytes > 0; bytes--, value >>= 8)
		fputc((int)(value & 0xff), f);
}

static inline size_t deflate_raw(const unsigned char *src, size_t len,
			  unsigned char *dst, size_t room)
{
	z_stream z = {.next_in = (unsigned char *)(uintptr_t)src,
		      .avail_in = (unsigned)len, .next_out = dst,
		      .avail_out = (unsigned)room};

	deflateInit2(&z, 1, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY);
	CHECK_EQ(deflate(&z, Z_FINISH), Z_STREAM_END);
	deflateEnd(&z);
	return room - z.avail_out;
}

/* Append a member, and its entry to the directory. */
static inline void put_member(FILE *f, FILE *directory, const char *name,
		       const unsigned char *npy, size_t size, int deflated,
		       size_t padding)
{
	size_t room = size + size / 1000 + 100, packed_size = size;
	unsigned char *packed = malloc(room);
	const unsigned char *data = npy;
	long offset = ftell(f);
	FILE *headers[] = {f, directory};

	if (deflated) {
		packed_size = deflate_raw(npy, size, packed, room);
		data = packed;
	}
	for (int central = 0; central < 2; central++) {
		FILE *h = headers[central];
		put_n(h, central ? 0x02014b50 : 0x04034b50, 4);
		put_n(h, 20, central ? 4 : 2);
		put_n(h, 0, 2);
		put_n(h, deflated ? 8 : 0, 2);
		put_n(h, 0, 4);
		put_n(h, dlf_crc32(0, npy, size), 4);
		put_n(h, packed_size, 4);
		put_n(h, size, 4);
		put_n(h, strlen(name), 2);
		put_n(h, central ? 0 : padding, 2);
		if (central)
			put_n(h, 0, 10);
		if (central)
			put_n(h, (uint64_t)offset, 4);
		fputs(name, h);
		if (!central)
			put_n(h, 0, (int)padding);
	}
	fwrite(data, 1, packed_size, f);
	free(packed);
}

/* Write the arrays, one for each field of the plan, as a file of its container;
 * padding[] are bytes between the members.  Returns the file's size. */
static inline size_t write_array_file(const char *path, const dlf_plan *plan,
				      const struct array *arrays, int deflated,
				      const size_t *padding)
{
	char *directory = NULL;
	size_t size = 0;
	FILE *f = fopen(path, "w+b"), *d = open_memstream(&directory, &size);

	for (size_t i = 0; i < plan->n_fields; i++) {
		unsigned char *npy = malloc(arrays[i].nbytes + 512);
		size_t head = npy_header((char *)npy, &arrays[i],
					 plan->fields[i].descr);
		memcpy(npy + head, arrays[i].bytes, arrays[i].nbytes);
		if (plan->container == &dlf_npz_container)
			put_member(f, d, plan->fields[i].member, npy,
				   head + arrays[i].nbytes, deflated,
				   padding[i]);
		else
			fwrite(npy, 1, head + arrays[i].nbytes, f);
		free(npy);
	}
	fclose(d);
	if (plan->container == &dlf_npz_container) {
		long begin = ftell(f);
		fwrite(directory, 1, size, f);
		put_n(f, 0x06054b50, 4);
		put_n(f, 0, 4);
		put_n(f, plan->n_fields, 2);
		put_n(f, plan->n_fields, 2);
		put_n(f, size, 4);
		put_n(f, (uint64_t)begin, 4);
		put_n(f, 0, 2);
	}
	free(directory);
	size = (size_t)ftell(f);
	fclose(f);
	return size;
}

/* Is got[] sample `index` of the array, in C order?  Item by item. */
static inline int is_sample(const struct array *a, int axis, uint64_t index,
		     const unsigned char *got)
{
	uint64_t at[4] = {0}, items = 1;

	if (axis < 0 && axis + a->ndim >= 0)
		axis += a->ndim;
	for (int d = 0; d < a->ndim; d++)
		items *= d == axis ? 1 : a->shape[d];
	if (axis >= 0)
		at[axis] = index;
	for (uint64_t i = 0; i < items; i++) {
		uint64_t item = 0;
		for (int k = 0; k < a->ndim; k++) {
			int d = a->fortran ? a->ndim - 1 - k : k;
			item = item * a->shape[d] + at[d];
		}
		if (memcmp(got + i * a->itemsize, a->bytes + item * a->itemsize,
			   a->itemsize))
			return 0;
		for (int d = a->ndim - 1; d >= 0; d--) {
			if (d == axis)
				continue;
			if (++at[d] < a->shape[d])
				break;
			at[d] = 0;
		}
	}
	return 1;
}

#endif
