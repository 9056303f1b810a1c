/* SPDX-License-Identifier: Apache-2.0
 *
 * The framing of TFRecord files, and where their records lie.
 *
 *   record  { length u64, masked CRC-32C of these 8 bytes u32, data,
 *             masked CRC-32C of the data u32 }, little endian
 *
 * An index is a text file, a line a record: its offset and its length with the 16
 * bytes of framing, as NVIDIA DALI's tfrecord2idx writes it.  It lies beside the
 * file as FILE.idx, or where DLIO puts it: for .../train/.../FILE in
 * .../index/train/FILE.idx, the same for valid.
 */
#ifndef DLF_RECORD_H
#define DLF_RECORD_H

#include "dlf_plan.h"
#include "dlf_src.h"

#define DLF_RECORD_HEAD ((size_t)12)
#define DLF_RECORD_FRAME ((size_t)16)

/* What TFRecord stores of a CRC-32C. */
static inline uint32_t dlf_record_mask(uint32_t crc)
{
	return (crc >> 15 | crc << 17) + 0xa282ead8;
}

uint32_t dlf_record_u32(const unsigned char *p); /* little endian */
void dlf_record_put(unsigned char *head, uint64_t length); /* of 12 bytes */

/* The length of the data of a record that begins at `offset`.  DLF_ECHECKSUM. */
int dlf_record_length(const unsigned char *head, uint64_t offset, uint64_t *length,
		      dlf_fault *fault);

/* Is this no record but the beginning of a gzip or zlib stream? */
int dlf_record_is_packed(const unsigned char *first, size_t n);

enum dlf_records_found {
	DLF_RECORDS_SCANNED,
	DLF_RECORDS_INDEXED,
};

/* Where the records of a file lie: record i in [offsets[i], offsets[i + 1]). */
typedef struct dlf_records {
	dlf_table base;
	int packed;            /* the offsets are those of the unpacked bytes */
	enum dlf_records_found found;
	uint64_t count;
	uint64_t *offsets;     /* [count + 1] */
} dlf_records;

void dlf_records_free(dlf_table *records); /* NULL is fine */

/* Find the records by going from header to header. */
int dlf_records_scan(const dlf_src *src, dlf_records **out, dlf_fault *fault);

/* Find them in the file's index; *out is NULL where it has none.  DLF_EFORMAT: the
 * index does not fit the file of `size` bytes. */
int dlf_records_from_index(const char *path, uint64_t size, dlf_io *io,
			   dlf_records **out,
			   dlf_fault *fault);

/* DLF_EFORMAT: the index says something else than the file at `offset`. */
int dlf_records_disagree(uint64_t offset, dlf_fault *fault);

/* Where DLIO puts the index of a file, into out[PATH_MAX]; 0: nowhere. */
int dlf_record_index_path(const char *path, char *out);

#endif
