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

typedef struct reader {
	const unsigned char *at, *end;
	int bad;
} reader;

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

/* A structure of numbers: field i of it, where it is an i32, into *numbers[i - 1]. */
static void read_numbers(reader *r, int64_t *const *numbers, int64_t count)
{
	int64_t id = 0;

	for (unsigned type; !r->bad && (type = next_field(r, &id)) != STOP;)
		if (type == I32 && id >= 1 && id <= count && numbers[id - 1])
			*numbers[id - 1] = number(r);
		else
			skip(r, type, 1);
}

static void read_header(reader *r, dlf_page *page)
{
	int64_t *const head[] = {&page->type, &page->unpacked, &page->packed,
				 &page->crc};
	/* DataPageHeader, DictionaryPageHeader and DataPageHeaderV2 */
	int64_t *const data[] = {&page->values, &page->encoding,
				 &page->level_encodings[0],
				 &page->level_encodings[1]};
	int64_t *const data_v2[] = {&page->values, NULL, NULL, &page->encoding,
				    &page->level_bytes[0],
				    &page->level_bytes[1]};
	int64_t id = 0;

	for (unsigned type; !r->bad && (type = next_field(r, &id)) != STOP;)
		if (type == I32 && id >= 1 && id <= 4) {
			*head[id - 1] = number(r);
			page->has_crc |= id == 4;
		} else if (type == STRUCT && (id == 5 || id == 7)) {
			read_numbers(r, data, 4);
		} else if (type == STRUCT && id == 8) {
			read_numbers(r, data_v2, 6);
		} else {
			skip(r, type, 0);
		}
}

static int in_range(int64_t value)
{
	return value >= 0 && value <= INT32_MAX;
}

const char *dlf_page_next(const unsigned char **at, const unsigned char *end,
			  dlf_page *page)
{
	reader r = {*at, end, 0};

	*page = (dlf_page){-1, -1, -1, 0, -1, 0, 0, {-1, -1}, {-1, -1}, NULL};
	read_header(&r, page);
	if (r.bad)
		return "the page header is malformed";
	if (!in_range(page->type) || !in_range(page->unpacked) ||
	    !in_range(page->packed) || !in_range(page->values))
		return "the page header lacks what it must say, or has a size that "
		       "cannot be";
	page->body = r.at;
	skip_bytes(&r, (uint64_t)page->packed);
	if (r.bad)
		return "the page reaches beyond its column chunk";
	*at = r.at;
	return NULL;
}

int dlf_pages_scan(const unsigned char *chunk, size_t n, uint64_t start,
		   uint64_t values, dlf_pages *pages, dlf_fault *fault)
{
	const unsigned char *at = chunk;
	dlf_page page;

	memset(pages, 0, sizeof(*pages));
	while (pages->values < values) {
		uint64_t offset = start + (uint64_t)(at - chunk);
		const char *wrong = dlf_page_next(&at, chunk + n, &page);

		if (wrong)
			return dlf_fail(fault, DLF_EFORMAT, offset, wrong);
		pages->count++;
		pages->unpacked += (uint64_t)page.unpacked;
		if (page.type == DLF_PAGE_DATA || page.type == DLF_PAGE_DATA_V2) {
			pages->values += (uint64_t)page.values;
			if (page.encoding >= 0 && page.encoding < 32)
				pages->encodings |= 1u << page.encoding;
		}
	}
	return 0;
}
