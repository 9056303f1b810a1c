/* SPDX-License-Identifier: Apache-2.0
 *
 * tf.train.Example, the message that a TFRecord file usually holds, read without
 * protobuf:
 *
 *   Example   { 1: Features }         Feature { oneof 1: BytesList
 *   Features  { 1: map entry ... }                    2: FloatList
 *   map entry { 1: key  2: Feature }                  3: Int64List }
 *   *List     { 1: values, numbers packed or one by one }
 *
 * As protobuf does, it takes the last of entries with the same key, and skips
 * fields that it does not know.  It refuses groups, and a feature of several lists.
 */
#ifndef DLF_EXAMPLE_H
#define DLF_EXAMPLE_H

#include <stddef.h>
#include <stdint.h>

#include "dlf_error.h"

/* A record's bytes, of which those in the middle may not be at hand: whatever
 * needs to look at them is DLF_EMORE. */
typedef struct dlf_bytes {
	uint64_t size;             /* of the record */
	const unsigned char *head; /* its first head_size bytes */
	uint64_t head_size;        /* = size: all are at hand */
	const unsigned char *tail; /* those from tail_from on */
	uint64_t tail_from;
} dlf_bytes;

/* Bytes [at, at + n) of the record, or NULL where some are not at hand; they must
 * lie in the record. */
const unsigned char *dlf_bytes_at(const dlf_bytes *bytes, uint64_t at, uint64_t n);

typedef struct dlf_span {
	uint64_t from, to;
} dlf_span;

enum dlf_feature_kind {
	DLF_FEATURE_NONE,  /* the feature has no value */
	DLF_FEATURE_BYTES,
	DLF_FEATURE_FLOAT,
	DLF_FEATURE_INT64,
};

typedef struct dlf_feature {
	enum dlf_feature_kind kind;
	uint64_t count;        /* of the values */
	uint64_t value_size;   /* bytes of each, UINT64_MAX where they differ */
	dlf_span list;         /* the list's message */
	/* The values as they will lie in memory, where they do so in the record,
	 * which is where there is one piece of them; else empty. */
	dlf_span plain;
} dlf_feature;

/* Call visit for every entry of the map, in order, with the bytes of its key and
 * where its Feature lies; what it returns other than 0 ends the walk.  Faults count
 * from the record's first byte. */
int dlf_example_walk(const dlf_bytes *bytes,
		     int (*visit)(void *ctx, const unsigned char *key,
				  size_t key_size, dlf_span feature,
				  dlf_fault *fault),
		     void *ctx, dlf_fault *fault);

/* See what lies in a Feature. */
int dlf_feature_parse(const dlf_bytes *bytes, dlf_span where,
		      dlf_feature *feature, dlf_fault *fault);

/* Write the values of a feature that was parsed, one after the other, to dst:
 * count * value_size bytes. */
int dlf_feature_values(const dlf_bytes *bytes, const dlf_feature *feature,
		       void *dst, dlf_fault *fault);

#endif
