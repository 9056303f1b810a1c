/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs the core's own tests: all of them, or those named on the command line; and
 * sees that each leaves nothing alive.
 */
#include <string.h>

#include "check.h"
#include "dlf_counters.h"

long check_count;
long check_failures;

static const struct {
	const char *name;
	void (*run)(void);
} tests[] = {
	{"crc", test_crc},     {"fill", test_fill}, {"permute", test_permute},
	{"order", test_order}, {"pages", test_pages}, {"store", test_store},
	{"disk_cache", test_disk_cache},
	{"column", test_column}, {"footer", test_footer},
	{"inflate", test_inflate}, {"npy", test_npy}, {"zip", test_zip},
	{"pool", test_pool},   {"file", test_file}, {"ring", test_ring},
	{"cache", test_cache}, {"batch", test_batch}, {"task", test_task},
	{"chunk", test_chunk}, {"hdf5", test_hdf5},
	{"indexed", test_indexed}, {"tfrecord", test_tfrecord},
	{"write", test_write}, {"http", test_http}, {"refusals", test_http_refusals},
	{"counters", test_counters},
};

static int wanted(const char *name, int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], name))
			return 1;
	return argc == 1;
}

int main(int argc, char **argv)
{
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		if (!wanted(tests[i].name, argc, argv))
			continue;
		long checks = check_count, failures = check_failures;
		tests[i].run();
		for (int k = 0; k < DLF_COUNTERS; k++)
			CHECK_EQ(dlf_counted((dlf_counter)k), 0);
		printf("%-8s %ld checks, %ld failed\n", tests[i].name,
		       check_count - checks, check_failures - failures);
	}
	printf("%ld passed, %ld failed\n", check_count - check_failures,
	       check_failures);
	return check_failures || !check_count;
}
