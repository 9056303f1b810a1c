/* SPDX-License-Identifier: Apache-2.0
 *
 * Page headers of Parquet: found and summed up; malformed, truncated and random ones
 * are an error and read nothing beyond the chunk.
 */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "dlf_pages.h"

/* A dictionary page of 3 bytes (24 unpacked), a data page of 2 (100 unpacked, 50 values,
 * RLE_DICTIONARY), a data page V2 of 1 (1000 unpacked, 7 values, PLAIN). */
static const unsigned char chunk[] = {
	0x15, 0x04, 0x15, 0x30, 0x15, 0x06, 0x4c, 0x15, 0x06, 0x15, 0x04, 0x00, 0x00,
	'a', 'b', 'c',
	0x15, 0x00, 0x15, 0xc8, 0x01, 0x15, 0x04, 0x2c, 0x15, 0x64, 0x15, 0x10, 0x15,
	0x06, 0x15, 0x06, 0x1c, 0x18, 0x02, 'x', 'y', 0x16, 0x00, 0x00, 0x00, 0x00,
	'd', 'e',
	0x15, 0x06, 0x15, 0xd0, 0x0f, 0x15, 0x02, 0x5c, 0x15, 0x0e, 0x15, 0x00, 0x15,
	0x0e, 0x15, 0x00, 0x15, 0x00, 0x15, 0x00, 0x11, 0x00, 0x00,
	'f',
};

/* In memory of its own size, so that a sanitizer sees what is read beyond it. */
static int scan(const unsigned char *data, size_t n, uint64_t values,
		dlf_pages *pages, dlf_fault *fault)
{
	unsigned char *copy = malloc(n + !n);
	int rc;

	memcpy(copy, data, n);
	rc = dlf_pages_scan(copy, n, 1000, values, pages, fault);
	free(copy);
	return rc;
}

static void test_pages_are_summed_up(void)
{
	dlf_pages pages;
	dlf_fault fault;

	dlf_fault_clear(&fault);
	CHECK_EQ(scan(chunk, sizeof(chunk), 57, &pages, &fault), 0);
	CHECK_EQ(pages.count, 3);
	CHECK_EQ(pages.unpacked, 24 + 100 + 1000);
	CHECK_EQ(pages.values, 57);
	CHECK_EQ(pages.encodings, 1u << 8 | 1u << 0);
	/* what follows the last value is nobody's */
	CHECK_EQ(scan(chunk, sizeof(chunk) - 1, 50, &pages, &fault), 0);
	CHECK_EQ(pages.values, 50);
	CHECK_EQ(scan(chunk, 0, 0, &pages, &fault), 0);
}

static void test_bad_pages_are_refused(void)
{
	dlf_pages pages;
	dlf_fault fault;

	for (size_t n = 0; n < sizeof(chunk); n++) {
		dlf_fault_clear(&fault);
		CHECK_EQ(scan(chunk, n, 57, &pages, &fault), DLF_EFORMAT);
		CHECK(fault.offset >= 1000 && fault.offset <= 1000 + n);
	}
	CHECK_EQ(scan(chunk, sizeof(chunk), 58, &pages, &fault), DLF_EFORMAT);

	static const unsigned char endless[] = {0x15, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
						0xff, 0xff, 0xff, 0xff, 0x01};
	CHECK_EQ(scan(endless, sizeof(endless), 1, &pages, &fault), DLF_EFORMAT);
	static const unsigned char many[] = {0x19, 0xf1, 0xff, 0xff, 0xff, 0xff, 0x7f};
	CHECK_EQ(scan(many, sizeof(many), 1, &pages, &fault), DLF_EFORMAT);
	unsigned char deep[400];
	memset(deep, 0x1c, sizeof(deep));
	CHECK_EQ(scan(deep, sizeof(deep), 1, &pages, &fault), DLF_EFORMAT);
	static const unsigned char huge[] = {0x15, 0x00, 0x15, 0x02, 0x15, 0xfe, 0xff,
					     0xff, 0xff, 0x0f, 0x00};
	CHECK_EQ(scan(huge, sizeof(huge), 1, &pages, &fault), DLF_EFORMAT);
}

static void test_any_bytes_end(void)
{
	unsigned char data[sizeof(chunk)];
	uint64_t state = 1;
	dlf_pages pages;

	for (int round = 0; round < 20000; round++) {
		memcpy(data, chunk, sizeof(chunk));
		for (int k = 0; k < 1 + round % 4; k++) {
			state = state * 6364136223846793005u + 1442695040888963407u;
			data[(state >> 33) % sizeof(data)] = (unsigned char)(state >> 24);
		}
		int rc = scan(data, sizeof(data), 57, &pages, NULL);
		CHECK(rc == 0 || rc == DLF_EFORMAT);
	}
}

void test_pages(void)
{
	test_pages_are_summed_up();
	test_bad_pages_are_refused();
	test_any_bytes_end();
}
