/* SPDX-License-Identifier: Apache-2.0
 *
 * https://parquet.apache.org/docs/file-format/data-pages/encodings/
 */
#include "dlf_column.h"

#include <string.h>

#include "dlf_crc.h"
#include "dlf_pages.h"

enum { PLAIN = 0, PLAIN_DICTIONARY = 2, RLE = 3, RLE_DICTIONARY = 8 };

/* How many packed values are unpacked at once. */
#define AT_ONCE 256

/* The hybrid of runs and packed values: values of `width` bits, at most 32. */
typedef struct hybrid {
	const unsigned char *at, *end;
	unsigned width;
	uint64_t left;               /* of the current run */
	int packed;
	uint32_t value;              /* of a run */
	const unsigned char *bits;   /* of packed values, and which comes next */
	uint64_t next;
	const unsigned char *bits_end;
} hybrid;

static int start_run(hybrid *h)
{
	uint64_t head = 0;
	unsigned shift = 0, b;

	do {
		if (h->at == h->end || shift > 28)
			return -1;
		b = *h->at++;
		head |= (uint64_t)(b & 0x7f) << shift;
		shift += 7;
	} while (b & 0x80);
	h->packed = head & 1;
	head >>= 1;
	if (!head)
		return -1;
	size_t rest = (size_t)(h->end - h->at);
	if (h->packed) {
		/* The last group may be cut short where its values end. */
		uint64_t bytes = head * h->width;
		h->left = head * 8;
		h->bits = h->at;
		h->next = 0;
		if (bytes > rest) {
			bytes = rest;
			h->left = h->width ? rest * 8 / h->width : h->left;
		}
		h->at += bytes;
		h->bits_end = h->at;
		return h->left ? 0 : -1;
	}
	unsigned bytes = (h->width + 7) / 8;
	if (bytes > rest)
		return -1;
	h->value = 0;
	for (unsigned i = 0; i < bytes; i++)
		h->value |= (uint32_t)h->at[i] << 8 * i;
	h->at += bytes;
	h->left = head;
	return 0;
}

/* The next `count` packed values of the current run. */
static void unpack(hybrid *h, uint32_t *out, size_t count)
{
	unsigned width = h->width;
	uint64_t mask = ((uint64_t)1 << width) - 1, bit = h->next * width;
	size_t i = 0;

	if (!width) {
		memset(out, 0, count * sizeof(*out));
		i = count;
	}
	if (width == 8)
		for (; i < count; i++)
			out[i] = h->bits[h->next + i];
	if (width == 16)
		for (uint16_t value; i < count; i++) {
			memcpy(&value, h->bits + 2 * (h->next + i), 2);
			out[i] = value;
		}
	/* Eight bytes hold any value wherever it begins: 7 + 32 bits. */
	for (; i < count && h->bits_end - (h->bits + bit / 8) >= 8; i++, bit += width) {
		uint64_t word;

		memcpy(&word, h->bits + bit / 8, 8);
		out[i] = (uint32_t)(word >> (bit & 7) & mask);
	}
	for (; i < count; i++, bit += width) {
		const unsigned char *from = h->bits + bit / 8;
		size_t rest = (size_t)(h->bits_end - from);
		uint64_t word = 0;

		memcpy(&word, from, rest < 8 ? rest : 8);
		out[i] = (uint32_t)(word >> (bit & 7) & mask);
	}
	h->next += count;
	h->left -= count;
}

/* Whether the next `count` values are all `value`. */
static int all_are(hybrid *h, uint64_t count, uint32_t value)
{
	uint32_t some[AT_ONCE];

	while (count) {
		if (!h->left && start_run(h))
			return 0;
		uint64_t n = h->left < count ? h->left : count;
		if (h->packed) {
			n = n < AT_ONCE ? n : AT_ONCE;
			unpack(h, some, n);
			for (uint64_t i = 0; i < n; i++)
				if (some[i] != value)
					return 0;
		} else {
			if (h->value != value)
				return 0;
			h->left -= n;
		}
		count -= n;
	}
	return 1;
}

/* Whether the next `count` values are 0 where a list of `size` begins and 1 elsewhere;
 * the first is number *position of its list. */
static int are_lists(hybrid *h, uint64_t count, uint64_t size, uint64_t *position)
{
	uint32_t some[AT_ONCE];
	uint64_t at = *position;

	while (count) {
		if (!h->left && start_run(h))
			return 0;
		uint64_t n = h->left < count ? h->left : count;
		if (h->packed) {
			n = n < AT_ONCE ? n : AT_ONCE;
			unpack(h, some, n);
			for (uint64_t i = 0; i < n; i++) {
				if (some[i] != (at != 0))
					return 0;
				at = at + 1 == size ? 0 : at + 1;
			}
		} else {
			/* A run of ones ends with its list; one of zeros is one
			 * list's beginning, unless lists are of one. */
			if (h->value != (at != 0) ||
			    n > (h->value ? size - at : size == 1 ? n : 1))
				return 0;
			at = (at + n) % size;
			h->left -= n;
		}
		count -= n;
	}
	*position = at;
	return 1;
}

static void put_plain(const dlf_column *column, const unsigned char *from,
		      unsigned char *out, uint64_t count)
{
	if (!column->stored) {
		for (uint64_t i = 0; i < count; i++)
			out[i] = from[i / 8] >> (i & 7) & 1;
	} else if (column->stored == column->itemsize) {
		memcpy(out, from, count * column->stored);
	} else if (column->itemsize == 1) {
		for (uint64_t i = 0; i < count; i++)
			out[i] = from[4 * i];
	} else {
		for (uint64_t i = 0; i < count; i++)
			memcpy(out + 2 * i, from + 4 * i, 2);
	}
}

/* Values by their numbers in a dictionary of `known`. */
static int gather(const dlf_column *column, const unsigned char *dictionary,
		  uint64_t known, const uint32_t *numbers, size_t count,
		  unsigned char *out)
{
	uint32_t largest = 0;

	for (size_t i = 0; i < count; i++)
		largest = numbers[i] > largest ? numbers[i] : largest;
	if (largest >= known)
		return -1;
#define GATHER(stored, size)                                                   \
	for (size_t i = 0; i < count; i++)                                     \
		memcpy(out + (size) * i,                                       \
		       dictionary + (size_t)(stored) * numbers[i], (size))
	if (column->stored == 4 && column->itemsize == 4)
		GATHER(4, 4);
	else if (column->stored == 8)
		GATHER(8, 8);
	else if (column->stored == 4 && column->itemsize == 1)
		GATHER(4, 1);
	else if (column->stored == 4)
		GATHER(4, 2);
	else
		GATHER(column->stored, column->itemsize);
#undef GATHER
	return 0;
}

static int put_numbered(const dlf_column *column, const unsigned char *dictionary,
			uint64_t known, hybrid *h, uint64_t count,
			unsigned char *out)
{
	uint32_t numbers[AT_ONCE];

	while (count) {
		if (!h->left && start_run(h))
			return -1;
		size_t n = h->left < count ? h->left : count;
		n = n < AT_ONCE ? n : AT_ONCE;
		if (h->packed) {
			unpack(h, numbers, n);
		} else {
			for (size_t i = 0; i < n; i++)
				numbers[i] = h->value;
			h->left -= n;
		}
		if (gather(column, dictionary, known, numbers, n, out))
			return -1;
		out += n * column->itemsize;
		count -= n;
	}
	return 0;
}

/* Levels of a page: of V1 they begin with their length. */
static int take_levels(const dlf_page *page, int which, unsigned width,
		       const unsigned char **at, const unsigned char *end, hybrid *h)
{
	uint64_t bytes;

	if (page->type == DLF_PAGE_DATA_V2) {
		if (page->level_bytes[which] < 0)
			return -1;
		bytes = (uint64_t)page->level_bytes[which];
	} else {
		uint32_t prefix;

		if (page->level_encodings[which] != RLE || end - *at < 4)
			return -1;
		memcpy(&prefix, *at, 4);
		*at += 4;
		bytes = prefix;
	}
	if (bytes > (uint64_t)(end - *at))
		return -1;
	*h = (hybrid){.at = *at, .end = *at + bytes, .width = width};
	*at += bytes;
	return 0;
}

typedef struct decoder {
	const dlf_column *column;
	const unsigned char *dictionary;
	uint64_t known;          /* values in it */
	uint64_t position;       /* of the next value in its list */
	unsigned char *out;
} decoder;

static int data_page(decoder *d, const dlf_page *page)
{
	const dlf_column *column = d->column;
	const unsigned char *at = page->body, *end = page->body + page->packed;
	uint64_t count = (uint64_t)page->values;
	unsigned width = 0;
	hybrid h;

	while (column->definition >> width)
		width++;
	/* Levels that this column cannot have would be taken for values. */
	if (page->type == DLF_PAGE_DATA_V2 &&
	    ((!column->list && page->level_bytes[1]) ||
	     (!width && page->level_bytes[0])))
		return -1;
	if (column->list && (take_levels(page, 1, 1, &at, end, &h) ||
			     !are_lists(&h, count, column->list, &d->position)))
		return -1;
	if (width && (take_levels(page, 0, width, &at, end, &h) ||
		      !all_are(&h, count, column->definition)))
		return -1;
	if (page->encoding == PLAIN) {
		uint64_t bytes = column->stored ? count * column->stored
						: (count + 7) / 8;
		if (bytes != (uint64_t)(end - at))
			return -1;
		put_plain(column, at, d->out, count);
	} else {
		if (!d->dictionary || at == end || *at > 32 ||
		    (page->encoding != RLE_DICTIONARY &&
		     page->encoding != PLAIN_DICTIONARY))
			return -1;
		h = (hybrid){.at = at + 1, .end = end, .width = *at};
		if (put_numbered(column, d->dictionary, d->known, &h, count, d->out))
			return -1;
	}
	d->out += count * column->itemsize;
	return 0;
}

int dlf_column_decode(const dlf_column *column, const unsigned char *chunk, size_t n,
		      uint64_t values, void *out)
{
	const unsigned char *at = chunk;
	decoder d = {.column = column, .out = out};
	dlf_page page;

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
	return DLF_EUNSUPPORTED;
#endif
	while (values) {
		if (dlf_page_next(&at, chunk + n, &page) ||
		    page.packed != page.unpacked ||
		    (page.has_crc && dlf_crc32(0, page.body, (size_t)page.packed) !=
					     (uint32_t)page.crc))
			return DLF_EUNSUPPORTED;
		if (page.type == DLF_PAGE_DICTIONARY) {
			if (d.dictionary || !column->stored ||
			    (page.encoding != PLAIN &&
			     page.encoding != PLAIN_DICTIONARY) ||
			    (uint64_t)page.values * column->stored >
				    (uint64_t)page.packed)
				return DLF_EUNSUPPORTED;
			d.dictionary = page.body;
			d.known = (uint64_t)page.values;
			continue;
		}
		if ((page.type != DLF_PAGE_DATA && page.type != DLF_PAGE_DATA_V2) ||
		    (uint64_t)page.values > values || data_page(&d, &page))
			return DLF_EUNSUPPORTED;
		values -= (uint64_t)page.values;
	}
	return d.position ? DLF_EUNSUPPORTED : 0;
}
