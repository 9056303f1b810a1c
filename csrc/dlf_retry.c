/* SPDX-License-Identifier: Apache-2.0 */
#include "dlf_fetch.h"

#ifdef DLF_HAVE_OPENSSL

#define SECOND UINT64_C(1000000000)
#define PAUSE_FIRST (SECOND / 10)
#define PAUSE_MOST (5 * SECOND)
#define RETRY_AFTER_MOST 10

void dlf_retry_begin(dlf_retry *retry, uint64_t now)
{
	*retry = (dlf_retry){.since = now};
}

/* Before the store has ever answered its address is more likely wrong. */
static uint64_t patience(dlf_http *http)
{
	uint64_t first = http->options.first_ns, later = http->options.retry_ns;

	if (atomic_load_explicit(&http->contacted, memory_order_relaxed))
		return later;
	return first < later ? first : later;
}

dlf_exchange_limits dlf_retry_limits(const dlf_retry *retry, dlf_http *http)
{
	return (dlf_exchange_limits){
		.connect_ns = http->options.connect_ns,
		.read_ns = http->options.read_ns,
		.until = retry->since + patience(http),
	};
}

/* xorshift64*; the clock is seed enough to keep clients apart. */
static uint64_t random_below(uint64_t bound, uint64_t seed)
{
	static _Thread_local uint64_t state;

	state ^= seed | 1;
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return state * UINT64_C(0x2545F4914F6CDD1D) % (bound + 1);
}

static int give_up(const dlf_retry *retry, dlf_failure *failure)
{
	char *detail = failure->fault.detail;
	size_t used = strlen(detail);

	snprintf(detail + used, DLF_DETAIL_MAX - used, "%safter %u attempts",
		 used ? "; " : "", retry->attempts);
	return failure->fault.code;
}

int dlf_retry_again(dlf_retry *retry, dlf_http *http, dlf_secret *secret,
		    dlf_failure *failure, uint64_t now)
{
	switch (failure->kind) {
	case DLF_FATAL:
		return failure->fault.code;
	case DLF_STALE:
		retry->fresh = 1;
		retry->not_before = now;
		return 0;
	case DLF_EXPIRED:
		if (retry->renewed || !secret)
			return failure->fault.code;
		dlf_secrets_expire(&http->secrets, secret);
		retry->renewed = 1;
		retry->not_before = now;
		return 0;
	case DLF_UNREACHED:
		if (retry->moves < http->endpoints.count - 1 &&
		    dlf_endpoints_others(&http->endpoints, now)) {
			retry->moves++;
			retry->not_before = now;
			return 0;
		}
		break;
	case DLF_TRANSIENT:
		break;
	}
	retry->attempts++;
	uint64_t most = PAUSE_FIRST << (retry->attempts < 8 ? retry->attempts : 8);
	uint64_t pause = random_below(most < PAUSE_MOST ? most : PAUSE_MOST, now);
	unsigned asked = failure->retry_after;
	if (asked)
		pause += (asked < RETRY_AFTER_MOST ? asked : RETRY_AFTER_MOST) *
			 SECOND;
	if (retry->attempts >= http->options.attempts ||
	    now + pause >= retry->since + patience(http))
		return give_up(retry, failure);
	retry->moves = 0;
	/* A connection that brought an answer, if a bad one, is well. */
	retry->fresh = failure->fault.code != DLF_ESTORE;
	retry->not_before = now + pause;
	return 0;
}

#endif
