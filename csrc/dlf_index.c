/* SPDX-License-Identifier: Apache-2.0 */
#include "dlf_index.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { OFFSETS, SIZES, HALVES };

static const char *const endings[HALVES] = {".off.idx", ".sz.idx"};
static const char *const missing[HALVES] = {
	"the index of offsets beside it (.off.idx) cannot be opened",
	"the index of sizes beside it (.sz.idx) cannot be opened",
};

static int fail_half(dlf_fault *fault, int half, int code, uint64_t offset,
		     const char *what)
{
	dlf_fault_member(fault, endings[half]);
	return dlf_fail(fault, code, offset, what);
}

static void free_table(dlf_table *table)
{
	dlf_index *index = (dlf_index *)table;

	free(index->extents);
	free(index);
}

void dlf_index_free(dlf_index *index)
{
	if (index)
		free_table(&index->table);
}

int dlf_index_fits(const dlf_index *index, const dlf_file *data)
{
	return index->data_size == data->size &&
	       index->mtime_sec == data->mtime_sec &&
	       index->mtime_nsec == data->mtime_nsec;
}

/* From sample `known` on the rule does not hold: list those before it, and go on
 * with a list. */
static int list_extents(dlf_index *index, uint64_t known)
{
	uint64_t *extents = malloc(index->samples * 2 * sizeof(*extents));

	if (!extents)
		return -ENOMEM;
	for (uint64_t i = 0; i < known; i++)
		dlf_index_at(index, i, &extents[2 * i], &extents[2 * i + 1]);
	index->extents = extents;
	return 0;
}

static int add(dlf_index *index, uint64_t i, uint64_t offset, uint64_t size,
	       dlf_fault *fault)
{
	if (offset > index->data_size)
		return fail_half(fault, OFFSETS, DLF_ETRUNCATED, 8 * i,
				 "a sample begins beyond the end of the file");
	if (size > index->data_size - offset)
		return fail_half(fault, SIZES, DLF_ETRUNCATED, 8 * i,
				 "a sample ends beyond the end of the file");
	if (!i)
		index->size = size;
	if (!index->extents && size == index->size) {
		if (offset == i % index->period * size)
			return 0;
		if (!offset && index->period == index->samples) {
			index->period = i;
			return 0;
		}
	}
	if (!index->extents && list_extents(index, i))
		return dlf_fail(fault, -ENOMEM, 0, "out of memory");
	index->extents[2 * i] = offset;
	index->extents[2 * i + 1] = size;
	return 0;
}

static int read_entries(dlf_index *index, dlf_file *files, dlf_io *io,
			unsigned char *block, dlf_fault *fault)
{
	enum { AT_ONCE = DLF_INDEX_BLOCK / HALVES / sizeof(uint64_t) };
	uint64_t entries[HALVES], first, filled;

	for (first = 0; first < index->samples; first += AT_ONCE) {
		uint64_t n = index->samples - first;
		if (n > AT_ONCE)
			n = AT_ONCE;
		for (int half = 0; half < HALVES; half++) {
			int rc = dlf_file_read(&files[half], io, 8 * first,
					       block + half * AT_ONCE * 8, 8 * n,
					       NULL, fault);
			if (rc) {
				dlf_fault_member(fault, endings[half]);
				return rc;
			}
		}
		for (uint64_t i = 0; i < n; i++) {
			for (int half = 0; half < HALVES; half++)
				memcpy(&entries[half],
				       block + (half * AT_ONCE + i) * 8, 8);
			int rc = add(index, first + i, entries[OFFSETS],
				     entries[SIZES], fault);
			if (rc)
				return rc;
		}
	}
	if (!index->extents &&
	    !__builtin_mul_overflow(index->samples, index->size, &filled) &&
	    filled == index->data_size)
		index->period = index->samples;
	return 0;
}

static int check_halves(const dlf_file *files, dlf_fault *fault)
{
	for (int half = 0; half < HALVES; half++)
		if (files[half].size % sizeof(uint64_t))
			return fail_half(fault, half, DLF_EFORMAT,
					 files[half].size,
					 "the index is no list of 64-bit numbers");
	if (files[OFFSETS].size != files[SIZES].size)
		return fail_half(fault, SIZES, DLF_EFORMAT, files[SIZES].size,
				 "there are more offsets than sizes, or fewer");
	if (files[OFFSETS].size / sizeof(uint64_t) > DLF_INDEX_MOST)
		return fail_half(fault, OFFSETS, DLF_EUNSUPPORTED, 0,
				 "the file has too many samples, 2^27 are the "
				 "limit");
	return 0;
}

static int read_table(const dlf_file *data, dlf_file *files, dlf_io *io,
		      unsigned char *block, dlf_index **out, dlf_fault *fault)
{
	int rc = check_halves(files, fault);
	if (rc)
		return rc;
	dlf_index *index = calloc(1, sizeof(*index));
	if (!index)
		return dlf_fail(fault, -ENOMEM, 0, "out of memory");
	index->table.free = free_table;
	index->samples = index->period = files[OFFSETS].size / sizeof(uint64_t);
	index->data_size = data->size;
	index->mtime_sec = data->mtime_sec;
	index->mtime_nsec = data->mtime_nsec;
	rc = read_entries(index, files, io, block, fault);
	for (int half = 0; half < HALVES && !rc; half++) {
		rc = dlf_file_check_unchanged(&files[half], fault);
		if (rc)
			dlf_fault_member(fault, endings[half]);
	}
	if (rc)
		dlf_index_free(index);
	else
		*out = index;
	return rc;
}

int dlf_index_read(const char *path, const dlf_file *data, dlf_io *io, int flags,
		   unsigned char *block, dlf_index **out, dlf_fault *fault)
{
	char name[PATH_MAX + 16];
	dlf_file files[HALVES];
	int rc = 0, opened = 0;

	while (opened < HALVES && !rc) {
		snprintf(name, sizeof(name), "%s%s", path, endings[opened]);
		rc = dlf_file_open(&files[opened], io, name, flags, fault);
		if (!rc)
			opened++;
		else if (rc > -4096) /* whoever sees it, sees the path of the data */
			dlf_fail(fault, rc, 0, missing[opened]);
		else
			dlf_fault_member(fault, endings[opened]);
	}
	if (!rc)
		rc = read_table(data, files, io, block, out, fault);
	while (opened)
		dlf_file_close(&files[--opened]);
	return rc;
}
