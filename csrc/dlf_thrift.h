/* SPDX-License-Identifier: Apache-2.0
 *
 * Thrift's compact protocol, as far as reading Parquet needs it:
 * https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
 *
 * Nothing is read beyond the end; whatever is malformed sets `bad`, after which values
 * mean nothing.
 */
#ifndef DLF_THRIFT_H
#define DLF_THRIFT_H

#include <stdint.h>

typedef struct dlf_thrift {
	const unsigned char *at, *end;
	int bad;
} dlf_thrift;

enum { DLF_THRIFT_STOP, DLF_THRIFT_TRUE, DLF_THRIFT_FALSE, DLF_THRIFT_BYTE,
       DLF_THRIFT_I16, DLF_THRIFT_I32, DLF_THRIFT_I64, DLF_THRIFT_DOUBLE,
       DLF_THRIFT_BINARY, DLF_THRIFT_LIST, DLF_THRIFT_SET, DLF_THRIFT_MAP,
       DLF_THRIFT_STRUCT };

uint64_t dlf_thrift_varint(dlf_thrift *r);

/* A value of type I16, I32 or I64. */
int64_t dlf_thrift_number(dlf_thrift *r);

void dlf_thrift_skip_bytes(dlf_thrift *r, uint64_t n);

/* The type of the next field of a structure, its number into *id, which is 0 before the
 * first; STOP at the end. */
unsigned dlf_thrift_field(dlf_thrift *r, int64_t *id);

/* How many elements a list has, their type into *type. */
uint64_t dlf_thrift_list(dlf_thrift *r, unsigned *type);

/* Pass over a value. */
void dlf_thrift_skip(dlf_thrift *r, unsigned type);

#endif
