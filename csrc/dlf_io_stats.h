/* SPDX-License-Identifier: Apache-2.0
 *
 * What reading costs, counted.
 */
#ifndef DLF_IO_STATS_H
#define DLF_IO_STATS_H

#include <stddef.h>
#include <stdint.h>

/* Latencies are counted in buckets of a quarter octave of microseconds: bucket b
 * covers [2^(b/4), 2^((b+1)/4)) us; the last one takes all that is slower. */
#define DLF_LATENCY_BUCKETS 96

typedef struct dlf_io_stats {
	uint64_t bytes;        /* delivered by the kernel */
	uint64_t direct_bytes; /* of these, by O_DIRECT */
	uint64_t staged_bytes; /* of these, through a staging block */
	uint64_t reads;        /* system calls that returned bytes */
	uint64_t files;        /* opened */
	uint64_t retries;      /* requests to a store made again after a failure */
	uint64_t fallbacks;    /* files that O_DIRECT was refused for */
	const char *fallback_reason; /* of the last such; NULL: none */
	int fallback_errno;
	uint64_t core_samples;  /* read by the core */
	uint64_t maker_samples; /* by the plan's maker */
	uint64_t disk_cache_hits;    /* objects that were on local disk */
	uint64_t disk_cache_misses;  /* that were not, though they might */
	uint64_t disk_cache_bytes;   /* of all bytes, from there */
	uint64_t disk_cache_written; /* bytes of objects brought there */
	uint64_t latency[DLF_LATENCY_BUCKETS];
} dlf_io_stats;

/* CLOCK_MONOTONIC. */
uint64_t dlf_now_ns(void);

void dlf_io_stats_add(dlf_io_stats *sum, const dlf_io_stats *more);

/* The bucket that a read of that long is counted in. */
int dlf_latency_bucket(uint64_t ns);

#endif
