/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the directory of a ZIP archive lies, from the records at the file's end
 * (APPNOTE 4.3.14-16).  Private to dlf_zip.
 */
#ifndef DLF_ZIP_END_H
#define DLF_ZIP_END_H

#include <stdlib.h>

#include "dlf_zip.h"

#define DLF_ZIP_ENTRY_SIZE 46 /* of a directory entry, without its names */

/* A field that stands for one of the ZIP64 records. */
#define DLF_IN_ZIP64_16 0xffffu
#define DLF_IN_ZIP64_32 0xffffffffu

typedef struct dlf_zip_reader {
	dlf_zip *zip;
	const dlf_src *src;
	dlf_fault *fault;
	uint64_t tail_offset; /* zip->directory holds the file from here on */
	size_t tail_size;
} dlf_zip_reader;

/* Where the directory lies in the file. */
typedef struct dlf_zip_extent {
	uint64_t begin, size, end;
	uint64_t shift;   /* bytes before the archive, not in its offsets */
	uint64_t count;   /* of its entries; they fit into size */
} dlf_zip_extent;

/* Find the directory and bring it into zip->directory, at begin - tail_offset.
 * Its extent is checked against the file; the entries are not looked at. */
int dlf_zip_find_directory(dlf_zip_reader *in, dlf_zip_extent *dir);

/* Memory for count items, whose former contents are lost; NULL without. */
static inline void *dlf_zip_reserve(void *memory, size_t *capacity,
				    size_t count, size_t size)
{
	if (count <= *capacity)
		return memory;
	free(memory);
	memory = malloc(count * size);
	*capacity = memory ? count : 0;
	return memory;
}

static inline uint32_t dlf_get16(const unsigned char *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

static inline uint32_t dlf_get32(const unsigned char *p)
{
	return dlf_get16(p) | dlf_get16(p + 2) << 16;
}

static inline uint64_t dlf_get64(const unsigned char *p)
{
	return dlf_get32(p) | (uint64_t)dlf_get32(p + 4) << 32;
}

#endif
