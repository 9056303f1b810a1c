/* SPDX-License-Identifier: Apache-2.0
 *
 * Thrift's compact protocol, as far as Parquet's PageHeader needs it:
 * https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
 * https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
 */
#include "dlf_pages.h"

#include <string.h>

#define MAX_DEPTH 8

enum { STOP, TRUE_, FALSE_, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP,
       STRUCT };
enum { DATA_PAGE = 0, DICTIONARY_PAGE = 2, DATA_PAGE_V2 = 3 };

typedef struct reader {
	const unsigned char *at, *end;
	int bad;
} reader;

typedef struct page {
	int64_t type, unpacked, packed, values, encoding;
} page;

static unsigned byte(reader *r)
{
	if (r->at == r->end) {
		r->bad = 1;
		return 0;
	}
	return *r->at++;
}

static uint64_t varint(reader *r)
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

static int64_t number(reader *r)
{
	uint64_t zigzag = varint(r);

	return (int64_t)(zigzag >> 1) ^ -(int64_t)(zigzag & 1);
}

static void skip_bytes(reader *r, uint64_t n)
{
	if (n > (uint64_t)(r->end - r->at))
		r->bad = 1;
	else
		r->at += n;
}

/* The type of the next field of a structure, its number into *id; STOP at the end. */
static unsigned next_field(reader *r, int64_t *id)
{
	unsigned head = byte(r);

	if (r->bad || !(head & 0x0f))
		return STOP;
	*id = head >> 4 ? *id + (head >> 4) : number(r);
	return head & 0x0f;
}

static void skip(reader *r, unsigned type, int depth);

static void skip_struct(reader *r, int depth)
{
	int64_t id = 0;

	for (unsigned type; !r->bad && (type = next_field(r, &id)) != STOP;)
		skip(r, type, depth);
}

/* An element of a list takes at least a byte, but for booleans' and structures' sake it
 * is only the reader's end that bounds the loop. */
static void skip_list(reader *r, int depth)
{
	unsigned head = byte(r);
	uint64_t count = head >> 4 == 15 ? varint(r) : head >> 4;

	for (; count && !r->bad; count--) {
		unsigned type = head & 0x0f;

		if (type == TRUE_ || type == FALSE_)
			byte(r);
		else
			skip(r, type, depth);
	}
}

static void skip(reader *r, unsigned type, int depth)
{
	if (depth >= MAX_DEPTH) {
		r->bad = 1;
		return;
	}
	switch (type) {
	case TRUE_: case FALSE_: break;
	case BYTE: byte(r); break;
	case I16: case I32: case I64: varint(r); break;
	case DOUBLE: skip_bytes(r, 8); break;
	case BINARY: skip_bytes(r, varint(r)); break;
	case LIST: case SET: skip_list(r, depth + 1); break;
	case STRUCT: skip_struct(r, depth + 1); break;
	default: r->bad = 1; /* a map: Parquet's page headers have none */
	}
}

/* DataPageHeader, DictionaryPageHeader or DataPageHeaderV2. */
static void read_details(reader *r, int64_t encoding_id, page *page)
{
	int64_t id = 0;

	for (unsigned type; !r->bad && (type = next_field(r, &id)) != STOP;)
		if (type == I32 && id == 1)
			page->values = number(r);
		else if (type == I32 && id == encoding_id)
			page->encoding = number(r);
		else
			skip(r, type, 1);
}

static void read_header(reader *r, page *page)
{
	int64_t id = 0;

	*page = (struct page){-1, -1, -1, 0, 0};
	for (unsigned type; !r->bad && (type = next_field(r, &id)) != STOP;)
		if (type == I32 && id == 1)
			page->type = number(r);
		else if (type == I32 && id == 2)
			page->unpacked = number(r);
		else if (type == I32 && id == 3)
			page->packed = number(r);
		else if (type == STRUCT && (id == 5 || id == 7))
			read_details(r, 2, page);
		else if (type == STRUCT && id == 8)
			read_details(r, 4, page);
		else
			skip(r, type, 0);
}

static int in_range(int64_t value)
{
	return value >= 0 && value <= INT32_MAX;
}

int dlf_pages_scan(const unsigned char *chunk, size_t n, uint64_t start,
		   uint64_t values, dlf_pages *pages, dlf_fault *fault)
{
	reader r = {chunk, chunk + n, 0};
	page page;

	memset(pages, 0, sizeof(*pages));
	while (pages->values < values) {
		uint64_t offset = start + (uint64_t)(r.at - chunk);

		read_header(&r, &page);
		if (r.bad)
			return dlf_fail(fault, DLF_EFORMAT, offset,
					"the page header is malformed");
		if (!in_range(page.type) || !in_range(page.unpacked) ||
		    !in_range(page.packed) || !in_range(page.values))
			return dlf_fail(fault, DLF_EFORMAT, offset,
					"the page header lacks what it must "
					"say, or has a size that cannot be");
		skip_bytes(&r, (uint64_t)page.packed);
		if (r.bad)
			return dlf_fail(fault, DLF_EFORMAT, offset,
					"the page reaches beyond its column "
					"chunk");
		pages->count++;
		pages->unpacked += (uint64_t)page.unpacked;
		if (page.type == DATA_PAGE || page.type == DATA_PAGE_V2) {
			pages->values += (uint64_t)page.values;
			if (page.encoding >= 0 && page.encoding < 32)
				pages->encodings |= 1u << page.encoding;
		}
	}
	return 0;
}
