/* SPDX-License-Identifier: Apache-2.0
 *
 * Data sets of several samples a file, of every layout, for the tests of batches
 * through a cache.
 */
#ifndef SAMPLE_FILES_H
#define SAMPLE_FILES_H

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "array_file.h"

enum {
	FILES = 5,
	FIELDS = 2,
	EACH = 6,            /* samples a file */
	VARIANTS = 96,
};

typedef struct set {
	dlf_plan plan;
	dlf_field fields[FIELDS];
	struct array arrays[FILES][FIELDS];
	char root[64];
	char names[FILES * 8];
	uint64_t offsets[FILES];
} set;

static inline uint64_t draw(uint64_t below)
{
	static uint64_t state = 1;

	state = state * 6364136223846793005u + 1442695040888963407u;
	return (state >> 33) % below;
}

static inline const char *path_of(const set *s, uint64_t file)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s%s", s->root,
		 s->names + s->offsets[file]);
	return path;
}

/* A field of samples shaped (rows, 7), or of single items where there are no
 * rows. */
static inline void make_field(set *s, size_t f, const char *descr,
			      uint64_t itemsize, uint64_t rows, int fortran)
{
	static const char *const members[FIELDS] = {"x.npy", "y.npy"};
	dlf_field *field = &s->fields[f];
	uint64_t items = rows ? rows * 7 : 1;

	*field = (dlf_field){
		.member = members[f], .member_len = 5, .descr = descr,
		.descr_len = 3, .itemsize = itemsize, .ndim = rows ? 2 : 0,
		.shape = {rows, 7}, .sample_bytes = items * itemsize,
	};
	for (int i = 0; i < FILES; i++) {
		struct array *a = &s->arrays[i][f];
		*a = (struct array){.ndim = field->ndim + 1, .fortran = fortran,
				    .itemsize = itemsize,
				    .nbytes = items * itemsize * EACH,
				    .shape = {rows, 7, EACH}};
		if (!rows || !s->plan.axis) {
			a->shape[0] = EACH;
			a->shape[1] = rows;
			a->shape[2] = 7;
		}
		a->bytes = malloc(a->nbytes);
		for (size_t k = 0; k < a->nbytes; k++)
			a->bytes[k] = (unsigned char)draw(16);
	}
}

/* Stored or deflated NPZ, or NPY; in either order, along either axis, with and
 * without checksums, O_DIRECT, buffers of their own. */
static inline void make_set(set *s, const char *folder, int variant,
			    uint64_t rows)
{
	int deflated = variant % 3 == 1, fortran = variant / 3 % 2;

	memset(s, 0, sizeof(*s));
	s->plan = (dlf_plan){
		.container = variant % 3 == 2 ? &dlf_npy_container : &dlf_npz_container,
		.has_axis = 1,
		.axis = variant / 6 % 2 ? -1 : 0,
		.verify = variant / 12 % 2,
		.direct = variant / 24 % 2,
		.ragged = variant / 48 % 2,
		.samples_per_file = EACH,
		.root = s->root,
		.names = s->names,
		.offsets = s->offsets,
		.n_files = FILES,
		.fields = s->fields,
		.n_fields = variant % 3 == 2 ? 1 : 2,
	};
	make_field(s, 0, "<f4", 4, rows, fortran);
	make_field(s, 1, "<i8", 8, 0, 0);
	snprintf(s->root, sizeof(s->root), "%s/", folder);
	for (uint64_t i = 0; i < FILES; i++) {
		s->offsets[i] = i * 8;
		s->names[i * 8] = (char)('a' + i);
		size_t padding[FIELDS] = {draw(100), draw(100)};
		write_array_file(path_of(s, i), &s->plan, s->arrays[i], deflated,
				 padding);
	}
}

static inline void drop_set(set *s)
{
	for (uint64_t i = 0; i < FILES; i++) {
		unlink(path_of(s, i));
		for (size_t f = 0; f < FIELDS; f++)
			free(s->arrays[i][f].bytes);
	}
}

#endif
