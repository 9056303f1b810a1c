/* SPDX-License-Identifier: Apache-2.0
 *
 * The features of one record, each to its place.
 *
 * A field's member is a letter and the feature's name.  The letter says what the
 * data set's first record has there: 'b' one value of bytes, 'm' another number of
 * them, 'f' floats, 'i' integers.  What a record has otherwise gets a buffer of its
 * own: bytes in one dimension (of the field's dtype where that is of bytes, too),
 * several of them in two, numbers in one, and a single number in none.
 */
#ifndef DLF_RECORD_PUT_H
#define DLF_RECORD_PUT_H

#include "dlf_example.h"
#include "dlf_task.h"

typedef struct dlf_record {
	dlf_bytes bytes;       /* its data */
	uint64_t start;        /* of the data in the file, for faults */
	uint32_t crc_stored;   /* masked */
	/* Where not all bytes are at hand: bring the rest, those from span.from to
	 * span.to, to dst, and continue the CRC-32C unless it is NULL. */
	int (*read)(void *ctx, dlf_span span, void *dst, uint32_t *crc,
		    dlf_fault *fault);
	void *ctx;
} dlf_record;

/* `features` has room for one a field.  DLF_EMORE, before anything got a place: all
 * bytes have to be at hand. */
int dlf_record_put_sample(dlf_task *task, dlf_place *place,
			  const dlf_record *record, dlf_feature *features,
			  dlf_fault *fault);

#endif
