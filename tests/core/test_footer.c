/* SPDX-License-Identifier: Apache-2.0
 *
 * Footers of Parquet: chunks are found, and malformed ones are an error that reads and
 * writes nothing beyond.
 */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "dlf_footer.h"

/* Version 2, no schema, 7 rows, and one row group of 7 rows and two chunks: codec 1, 7
 * values, 100 bytes of 50 at 60, with a dictionary at 4; the other in the file "f". */
static const unsigned char footer[] = {
	0x15, 0x04, 0x19, 0x0c, 0x16, 0x0e, 0x19, 0x1c,
	0x19, 0x2c,
	0x26, 0x00, 0x1c, 0x15, 0x02, 0x19, 0x15, 0x00, 0x19, 0x18, 0x01, 'a', 0x15, 0x02,
	0x16, 0x0e, 0x16, 0xc8, 0x01, 0x16, 0x64, 0x26, 0x78, 0x26, 0x08, 0x00, 0x00,
	0x18, 0x01, 'f', 0x16, 0x00, 0x1c, 0x00, 0x00,
	0x16, 0x00, 0x16, 0x0e, 0x00,
	0x00,
};

static int read(const unsigned char *data, size_t n, uint64_t groups, uint64_t columns,
		int64_t *chunks)
{
	unsigned char *copy = malloc(n + !n);
	int64_t *own = malloc((groups * columns * DLF_CHUNK_NUMBERS + 1) * sizeof(*own));
	int64_t *rows = malloc((groups + 1) * sizeof(*rows));
	dlf_fault fault;

	dlf_fault_clear(&fault);
	memcpy(copy, data, n);
	int rc = dlf_footer_read(copy, n, groups, columns, rows, own, &fault);
	CHECK(rc == 0 || (rc == DLF_EFORMAT && fault.offset <= n));
	CHECK(rc || !groups || rows[0] >= 0);
	if (!rc && chunks)
		memcpy(chunks, own,
		       groups * columns * DLF_CHUNK_NUMBERS * sizeof(*own));
	free(copy);
	free(own);
	free(rows);
	return rc;
}

void test_footer(void)
{
	static const int64_t first[] = {1, 7, 100, 50, 60, 4, -1};
	int64_t chunks[2][DLF_CHUNK_NUMBERS];
	unsigned char data[sizeof(footer)];
	uint64_t state = 1;

	CHECK_EQ(read(footer, sizeof(footer), 1, 2, chunks[0]), 0);
	CHECK(!memcmp(chunks[0], first, sizeof(first)));
	CHECK_EQ(chunks[1][DLF_CHUNK_ELSEWHERE], 1);
	CHECK_EQ(chunks[1][DLF_CHUNK_CODEC], -1);
	for (size_t n = 0; n < sizeof(footer); n++)
		CHECK_EQ(read(footer, n, 1, 2, NULL), DLF_EFORMAT);
	CHECK_EQ(read(footer, sizeof(footer), 2, 2, NULL), DLF_EFORMAT);
	CHECK_EQ(read(footer, sizeof(footer), 1, 1, NULL), DLF_EFORMAT);
	CHECK_EQ(read(footer, sizeof(footer), 0, 0, NULL), DLF_EFORMAT);
	for (int round = 0; round < 30000; round++) {
		memcpy(data, footer, sizeof(footer));
		for (int k = 0; k < 1 + round % 4; k++) {
			state = state * 6364136223846793005u + 1442695040888963407u;
			data[(state >> 33) % sizeof(data)] = (unsigned char)(state >> 24);
		}
		read(data, sizeof(data), 1, 2, NULL);
	}
}
