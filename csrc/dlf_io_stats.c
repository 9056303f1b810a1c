/* SPDX-License-Identifier: Apache-2.0 */
#include "dlf_io_stats.h"

#include <time.h>

void dlf_io_stats_add(dlf_io_stats *sum, const dlf_io_stats *more)
{
	sum->bytes += more->bytes;
	sum->direct_bytes += more->direct_bytes;
	sum->staged_bytes += more->staged_bytes;
	sum->reads += more->reads;
	sum->files += more->files;
	sum->retries += more->retries;
	sum->fallbacks += more->fallbacks;
	sum->core_samples += more->core_samples;
	sum->maker_samples += more->maker_samples;
	sum->disk_cache_hits += more->disk_cache_hits;
	sum->disk_cache_misses += more->disk_cache_misses;
	sum->disk_cache_bytes += more->disk_cache_bytes;
	sum->disk_cache_written += more->disk_cache_written;
	if (more->fallback_reason) {
		sum->fallback_reason = more->fallback_reason;
		sum->fallback_errno = more->fallback_errno;
	}
	for (int i = 0; i < DLF_LATENCY_BUCKETS; i++)
		sum->latency[i] += more->latency[i];
}

uint64_t dlf_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* floor(4 * log2(us)) without floating point: the octave from the leading bit,
 * the quarter from 2^(k/4) in 16.16 fixed point. */
int dlf_latency_bucket(uint64_t ns)
{
	static const uint32_t quarter[] = {65536, 77936, 92682, 110218};
	uint64_t us = ns / 1000;
	int octave, q;

	if (us < 1)
		return 0;
	octave = 63 - __builtin_clzll(us);
	uint64_t mantissa = octave >= 16 ? us >> (octave - 16)
					 : us << (16 - octave);
	for (q = 3; mantissa < quarter[q]; q--)
		;
	int bucket = 4 * octave + q;
	return bucket < DLF_LATENCY_BUCKETS ? bucket : DLF_LATENCY_BUCKETS - 1;
}
