/* SPDX-License-Identifier: Apache-2.0
 *
 * Column chunks of Parquet: numbers come out as they lie in pages, and whatever is
 * otherwise, nulls, other lists, damage, is left to others without reading or writing
 * beyond.
 */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "dlf_column.h"

static const dlf_column lists = {4, 4, 3, 3};

/* A data page V1 of two lists of three int32: repetition levels 0 1 1 0 1 1, packed;
 * definition levels in a run of 3; PLAIN values 1 ... 6. */
static const unsigned char plain[] = {
	0x15, 0x00, 0x15, 0x48, 0x15, 0x48, 0x2c, 0x15, 0x0c, 0x15, 0x00, 0x15, 0x06,
	0x15, 0x06, 0x00, 0x00,
	2, 0, 0, 0, 0x03, 0x36, 2, 0, 0, 0, 0x0c, 0x03,
	1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 5, 0, 0, 0, 6, 0, 0, 0,
};

/* A dictionary of the int32 7 and 260, and a data page V2 of six values without levels:
 * the numbers 0 1 1 0 1 0 of 1 bit, packed. */
static const unsigned char numbered[] = {
	0x15, 0x04, 0x15, 0x10, 0x15, 0x10, 0x4c, 0x15, 0x04, 0x15, 0x00, 0x00, 0x00,
	7, 0, 0, 0, 4, 1, 0, 0,
	0x15, 0x06, 0x15, 0x06, 0x15, 0x06, 0x5c, 0x15, 0x0c, 0x15, 0x00, 0x15, 0x0c,
	0x15, 0x10, 0x15, 0x00, 0x15, 0x00, 0x00, 0x00,
	0x01, 0x03, 0x16,
};

/* In memory of its own size, so that a sanitizer sees what lies beyond it. */
static int decode(const dlf_column *column, const unsigned char *data, size_t n,
		  uint64_t values, void *out)
{
	unsigned char *copy = malloc(n + !n);
	unsigned char *own = malloc(values * column->itemsize + 1);

	memcpy(copy, data, n);
	int rc = dlf_column_decode(column, copy, n, values, own);
	if (!rc)
		memcpy(out, own, values * column->itemsize);
	free(copy);
	free(own);
	return rc;
}

static void test_numbers_come_out(void)
{
	const dlf_column scalar = {4, 4, 0, 0}, narrow = {4, 1, 0, 0};
	unsigned char bytes[6];
	int32_t out[6];

	CHECK_EQ(decode(&lists, plain, sizeof(plain), 6, out), 0);
	for (int i = 0; i < 6; i++)
		CHECK_EQ(out[i], i + 1);
	CHECK_EQ(decode(&scalar, numbered, sizeof(numbered), 6, out), 0);
	CHECK(out[0] == 7 && out[1] == 260 && out[2] == 260 && out[3] == 7 &&
	      out[4] == 260 && out[5] == 7);
	CHECK_EQ(decode(&narrow, numbered, sizeof(numbered), 6, bytes), 0);
	CHECK(bytes[0] == 7 && bytes[1] == 4);
}

static void test_what_is_otherwise_is_refused(void)
{
	const dlf_column others[] = {{4, 4, 3, 2}, {4, 4, 3, 6}, {4, 4, 2, 3},
				     {4, 4, 0, 3}, {8, 8, 3, 3}, {4, 4, 3, 0}};
	unsigned char out[64];

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		CHECK_EQ(decode(&others[i], plain, sizeof(plain), 6, out),
			 DLF_EUNSUPPORTED);
	CHECK_EQ(decode(&lists, plain, sizeof(plain), 5, out), DLF_EUNSUPPORTED);
	CHECK_EQ(decode(&lists, plain, sizeof(plain), 7, out), DLF_EUNSUPPORTED);
	for (size_t n = 0; n < sizeof(plain); n++)
		CHECK_EQ(decode(&lists, plain, n, 6, out), DLF_EUNSUPPORTED);
}

static void test_any_bytes_end(void)
{
	static const struct {
		const unsigned char *data;
		size_t n;
	} images[] = {{plain, sizeof(plain)}, {numbered, sizeof(numbered)}};
	const dlf_column columns[] = {{4, 4, 3, 3}, {4, 1, 0, 0}, {4, 2, 0, 0},
				      {8, 8, 0, 0}, {0, 1, 0, 0}, {2, 2, 3, 3}};
	unsigned char data[128], out[64];
	uint64_t state = 1;

	for (int round = 0; round < 60000; round++) {
		size_t n = images[round % 2].n;

		memcpy(data, images[round % 2].data, n);
		for (int k = 0; k < 1 + round % 5; k++) {
			state = state * 6364136223846793005u + 1442695040888963407u;
			data[(state >> 33) % n] = (unsigned char)(state >> 24);
		}
		int rc = decode(&columns[round % 6], data, n, 6, out);
		CHECK(rc == 0 || rc == DLF_EUNSUPPORTED);
	}
}

void test_column(void)
{
	test_numbers_come_out();
	test_what_is_otherwise_is_refused();
	test_any_bytes_end();
}
