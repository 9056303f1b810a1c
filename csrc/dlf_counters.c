/* SPDX-License-Identifier: Apache-2.0 */
#include "dlf_counters.h"

#include <stdatomic.h>

#include "dlf_pool.h"

static atomic_int_least64_t counters[DLF_COUNTERS];

void dlf_count(dlf_counter which, int64_t change)
{
	dlf_fork_generation(); /* which watches for forks from now on */
	atomic_fetch_add_explicit(&counters[which], change,
				  memory_order_relaxed);
}

int64_t dlf_counted(dlf_counter which)
{
	return atomic_load_explicit(&counters[which], memory_order_relaxed);
}

void dlf_counters_reset(void)
{
	for (int i = 0; i < DLF_COUNTERS; i++)
		atomic_store_explicit(&counters[i], 0, memory_order_relaxed);
}
