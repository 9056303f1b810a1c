/* SPDX-License-Identifier: Apache-2.0
 *
 * .npy headers put together by hand, for the tests of dlf_npy.
 */
#ifndef NPY_FILE_H
#define NPY_FILE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dlf_npy.h"

#define F4 "'descr': '<f4'"
#define C_ORDER "'fortran_order': False"
#define SHAPE_3 "'shape': (3,)"

/* The bytes of a .npy so far, and what came out of parsing it. */
struct npy_file {
	unsigned char bytes[4096];
	size_t header_end;
	uint64_t size;
	dlf_npy npy;
	dlf_fault fault;
	size_t need;
};

static inline void build(struct npy_file *f, int major, const char *text)
{
	size_t begin = major == 1 ? 10 : 12, len = strlen(text);

	memset(f, 0, sizeof(*f));
	memcpy(f->bytes, "\x93NUMPY", 6);
	f->bytes[6] = (unsigned char)major;
	f->bytes[8] = (unsigned char)len;
	f->bytes[9] = (unsigned char)(len >> 8);
	memcpy(f->bytes + begin, text, len);
	f->header_end = begin + len;
	f->size = UINT64_MAX; /* by default no payload is too long */
}

/* Parse a copy of exactly have bytes, so that the sanitizer sees a byte read
 * too many.  npy->descr is then only good for its length. */
static inline int parse_part(struct npy_file *f, size_t have)
{
	unsigned char *copy = malloc(have + !have);
	int rc;

	memcpy(copy, f->bytes, have);
	dlf_fault_clear(&f->fault);
	rc = dlf_npy_parse(copy, have, f->size, 1000, &f->npy, &f->need,
			   &f->fault);
	free(copy);
	return rc;
}

/* Build, and parse as the whole of the file. */
static inline int parse(struct npy_file *f, int major, const char *text)
{
	build(f, major, text);
	return parse_part(f, f->header_end);
}

/* The return code for a header of these three values. */
static inline int parse_values(struct npy_file *f, const char *descr,
			const char *order, const char *shape)
{
	char text[3000];

	snprintf(text, sizeof(text),
		 "{'descr': %s, 'fortran_order': %s, 'shape': %s, }", descr,
		 order, shape);
	return parse(f, 1, text);
}

/* The part of test_npy that is about dtypes. */
void test_npy_dtypes(void);

#endif
