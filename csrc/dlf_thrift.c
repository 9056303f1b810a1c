/* SPDX-License-Identifier: Apache-2.0 */
#include "dlf_thrift.h"

/* Parquet's structures are nested four deep. */
#define MAX_DEPTH 12

static unsigned byte(dlf_thrift *r)
{
	if (r->at == r->end) {
		r->bad = 1;
		return 0;
	}
	return *r->at++;
}

uint64_t dlf_thrift_varint(dlf_thrift *r)
{
	uint64_t value = 0;

	for (int shift = 0; shift < 64; shift += 7) {
		unsigned b = byte(r);

		value |= (uint64_t)(b & 0x7f) << shift;
		if (!(b & 0x80))
			return value;
	}
	r->bad = 1;
	return 0;
}

int64_t dlf_thrift_number(dlf_thrift *r)
{
	uint64_t zigzag = dlf_thrift_varint(r);

	return (int64_t)(zigzag >> 1) ^ -(int64_t)(zigzag & 1);
}

void dlf_thrift_skip_bytes(dlf_thrift *r, uint64_t n)
{
	if (n > (uint64_t)(r->end - r->at))
		r->bad = 1;
	else
		r->at += n;
}

unsigned dlf_thrift_field(dlf_thrift *r, int64_t *id)
{
	unsigned head = byte(r);

	if (r->bad || !(head & 0x0f))
		return DLF_THRIFT_STOP;
	/* Only the low bits are a field's number: adding them up cannot overflow. */
	*id = head >> 4 ? (*id + (head >> 4)) & 0xffff : dlf_thrift_number(r) & 0xffff;
	return head & 0x0f;
}

uint64_t dlf_thrift_list(dlf_thrift *r, unsigned *type)
{
	unsigned head = byte(r);
	uint64_t count = head >> 4 == 15 ? dlf_thrift_varint(r) : head >> 4;

	*type = head & 0x0f;
	if (count > (uint64_t)(r->end - r->at)) { /* each takes a byte at least */
		r->bad = 1;
		return 0;
	}
	return r->bad ? 0 : count;
}

static void skip(dlf_thrift *r, unsigned type, int depth)
{
	uint64_t count;
	int64_t id = 0;

	if (depth > MAX_DEPTH) {
		r->bad = 1;
		return;
	}
	switch (type) {
	case DLF_THRIFT_TRUE: case DLF_THRIFT_FALSE: break;
	case DLF_THRIFT_BYTE: byte(r); break;
	case DLF_THRIFT_I16: case DLF_THRIFT_I32: case DLF_THRIFT_I64:
		dlf_thrift_varint(r);
		break;
	case DLF_THRIFT_DOUBLE: dlf_thrift_skip_bytes(r, 8); break;
	case DLF_THRIFT_BINARY: dlf_thrift_skip_bytes(r, dlf_thrift_varint(r)); break;
	case DLF_THRIFT_LIST: case DLF_THRIFT_SET:
		for (count = dlf_thrift_list(r, &type); count && !r->bad; count--)
			if (type == DLF_THRIFT_TRUE || type == DLF_THRIFT_FALSE)
				byte(r); /* in a list, a boolean is one */
			else
				skip(r, type, depth + 1);
		break;
	case DLF_THRIFT_STRUCT:
		while (!r->bad && (type = dlf_thrift_field(r, &id)) != DLF_THRIFT_STOP)
			skip(r, type, depth + 1);
		break;
	default: r->bad = 1; /* a map: Parquet has none */
	}
}

void dlf_thrift_skip(dlf_thrift *r, unsigned type)
{
	skip(r, type, 0);
}
