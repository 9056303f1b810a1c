/* SPDX-License-Identifier: Apache-2.0
 *
 * How many of the core's objects this process has alive now, so that tests can
 * tell that nothing was left behind.  What a process inherited through fork is its
 * parent's and not counted.
 */
#ifndef DLF_COUNTERS_H
#define DLF_COUNTERS_H

#include <stdint.h>

typedef enum dlf_counter {
	DLF_COUNT_RINGS,
	DLF_COUNT_RING_THREADS,
	DLF_COUNT_CACHES,
	DLF_COUNT_BUFFERS_LENT,
	DLF_COUNT_BUFFER_BYTES, /* mapped, lent or idle */
	DLF_COUNT_OPEN_FILES,   /* by dlf_file_open */
	DLF_COUNT_CONNECTIONS,  /* to object stores */
	DLF_COUNTERS
} dlf_counter;

void dlf_count(dlf_counter which, int64_t change);
int64_t dlf_counted(dlf_counter which);

/* In the child of a fork. */
void dlf_counters_reset(void);

#endif
