/* SPDX-License-Identifier: Apache-2.0
 *
 * PageHeader of
 * https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
 */
#include "dlf_pages.h"

#include <string.h>

#include "dlf_thrift.h"

/* A structure of numbers: field i of it, where it is an i32, into *numbers[i - 1]. */
static void read_numbers(dlf_thrift *r, int64_t *const *numbers, int64_t count)
{
	int64_t id = 0;

	for (unsigned type; !r->bad && (type = dlf_thrift_field(r, &id)) != DLF_THRIFT_STOP;)
		if (type == DLF_THRIFT_I32 && id >= 1 && id <= count && numbers[id - 1])
			*numbers[id - 1] = dlf_thrift_number(r);
		else
			dlf_thrift_skip(r, type);
}

static void read_header(dlf_thrift *r, dlf_page *page)
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

	for (unsigned type; !r->bad && (type = dlf_thrift_field(r, &id)) != DLF_THRIFT_STOP;)
		if (type == DLF_THRIFT_I32 && id >= 1 && id <= 4) {
			*head[id - 1] = dlf_thrift_number(r);
			page->has_crc |= id == 4;
		} else if (type == DLF_THRIFT_STRUCT && (id == 5 || id == 7)) {
			read_numbers(r, data, 4);
		} else if (type == DLF_THRIFT_STRUCT && id == 8) {
			read_numbers(r, data_v2, 6);
		} else {
			dlf_thrift_skip(r, type);
		}
}

static int in_range(int64_t value)
{
	return value >= 0 && value <= INT32_MAX;
}

const char *dlf_page_next(const unsigned char **at, const unsigned char *end,
			  dlf_page *page)
{
	dlf_thrift r = {*at, end, 0};

	*page = (dlf_page){-1, -1, -1, 0, -1, 0, 0, {-1, -1}, {-1, -1}, NULL};
	read_header(&r, page);
	if (r.bad)
		return "the page header is malformed";
	if (!in_range(page->type) || !in_range(page->unpacked) ||
	    !in_range(page->packed) || !in_range(page->values))
		return "the page header lacks what it must say, or has a size that "
		       "cannot be";
	page->body = r.at;
	dlf_thrift_skip_bytes(&r, (uint64_t)page->packed);
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
