/* SPDX-License-Identifier: Apache-2.0
 *
 * The smallest test harness that says what failed and where.
 */
#ifndef DLF_CHECK_H
#define DLF_CHECK_H

#include <stdio.h>

extern long check_count;
extern long check_failures;

#define CHECK(cond)                                                            \
	do {                                                                   \
		__atomic_add_fetch(&check_count, 1, __ATOMIC_RELAXED);         \
		if (!(cond)) {                                                 \
			__atomic_add_fetch(&check_failures, 1,                 \
					   __ATOMIC_RELAXED);                  \
			fprintf(stderr, "%s:%d: failed: %s\n", __FILE__,       \
				__LINE__, #cond);                              \
		}                                                              \
	} while (0)

#define CHECK_EQ(a, b)                                                         \
	do {                                                                   \
		long long check_a = (long long)(a), check_b = (long long)(b);  \
		__atomic_add_fetch(&check_count, 1, __ATOMIC_RELAXED);         \
		if (check_a != check_b) {                                      \
			__atomic_add_fetch(&check_failures, 1,                 \
					   __ATOMIC_RELAXED);                  \
			fprintf(stderr, "%s:%d: failed: %s is %lld, not %lld\n", \
				__FILE__, __LINE__, #a, check_a, check_b);     \
		}                                                              \
	} while (0)

/* One function a concern; test_main.c calls them by name. */
void test_crc(void);
void test_fill(void);
void test_permute(void);
void test_order(void);
void test_store(void);
void test_disk_cache(void);
void test_pages(void);
void test_column(void);
void test_footer(void);
void test_inflate(void);
void test_npy(void);
void test_zip(void);
void test_pool(void);
void test_file(void);
void test_ring(void);
void test_cache(void);
void test_batch(void);
void test_task(void);
void test_indexed(void);
void test_chunk(void);
void test_hdf5(void);
void test_write(void);
void test_tfrecord(void);
void test_http(void);
void test_http_refusals(void);
void test_counters(void);

#endif
