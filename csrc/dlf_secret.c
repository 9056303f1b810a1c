/* SPDX-License-Identifier: Apache-2.0 */
#include "dlf_secret.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RENEW_BEFORE 300 /* seconds */
#define RENEW_AGAIN 10
#define SLICE_NS 50000000

static void wipe(char *text)
{
	if (text) {
		explicit_bzero(text, strlen(text));
		free(text);
	}
}

int dlf_secret_new(const char *id, const char *key, const char *token,
		   int64_t expires, dlf_secret **out)
{
	dlf_secret *secret = calloc(1, sizeof(*secret));

	*out = NULL;
	if (!secret)
		return -ENOMEM;
	atomic_init(&secret->refs, 1);
	secret->expires = expires;
	secret->id = strdup(id ? id : "");
	secret->key = strdup(key ? key : "");
	secret->token = strdup(token ? token : "");
	if (!secret->id || !secret->key || !secret->token) {
		dlf_secret_unref(secret);
		return -ENOMEM;
	}
	*out = secret;
	return 0;
}

void dlf_secret_unref(dlf_secret *secret)
{
	if (!secret || atomic_fetch_sub(&secret->refs, 1) != 1)
		return;
	wipe(secret->id);
	wipe(secret->key);
	wipe(secret->token);
	explicit_bzero(secret->signing, sizeof(secret->signing));
	free(secret);
}

void dlf_secrets_init(dlf_secrets *secrets, dlf_renew_fn *renew, void *ctx)
{
	memset(secrets, 0, sizeof(*secrets));
	pthread_mutex_init(&secrets->lock, NULL);
	pthread_cond_init(&secrets->renewed, NULL);
	secrets->renew = renew;
	secrets->ctx = ctx;
}

void dlf_secrets_free(dlf_secrets *secrets)
{
	dlf_secret_unref(secrets->secret);
	pthread_cond_destroy(&secrets->renewed);
	pthread_mutex_destroy(&secrets->lock);
}

/* Called with the lock, which is let go meanwhile. */
static int renew(dlf_secrets *secrets, dlf_fault *fault)
{
	dlf_secret *fresh = NULL;

	secrets->renewing = 1;
	pthread_mutex_unlock(&secrets->lock);
	int rc = secrets->renew(secrets->ctx, &fresh, fault);
	pthread_mutex_lock(&secrets->lock);
	secrets->renewing = 0;
	secrets->again = time(NULL) + RENEW_AGAIN;
	if (!rc) {
		dlf_secret_unref(secrets->secret);
		secrets->secret = fresh;
	}
	pthread_cond_broadcast(&secrets->renewed);
	return rc;
}

static void wait_a_while(dlf_secrets *secrets)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += SLICE_NS;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_cond_timedwait(&secrets->renewed, &secrets->lock, &until);
}

int dlf_secrets_get(dlf_secrets *secrets, dlf_io *io, dlf_secret **out,
		    dlf_fault *fault)
{
	int rc = 0, renewed = 0;

	*out = NULL;
	if (!secrets->renew)
		return 0;
	pthread_mutex_lock(&secrets->lock);
	for (;;) {
		int64_t now = time(NULL);
		dlf_secret *secret = secrets->secret;
		int valid = secret && (!secret->expires || now < secret->expires);
		int due = !secret || (secret->expires &&
				      now >= secret->expires - RENEW_BEFORE);
		if (valid && (!due || renewed || secrets->renewing ||
			      now < secrets->again)) {
			atomic_fetch_add(&secret->refs, 1);
			*out = secret;
			break;
		}
		if (renewed) {
			rc = rc ? rc : dlf_fail(fault, -EACCES, 0,
						"the credentials have expired, and "
						"those that replace them, too");
			break;
		}
		if (!secrets->renewing) {
			dlf_fault failed = {0};
			rc = renew(secrets, &failed);
			renewed = 1;
			if (rc && fault)
				*fault = failed;
			continue;
		}
		wait_a_while(secrets);
		pthread_mutex_unlock(&secrets->lock);
		int cancelled = dlf_io_cancelled(io);
		pthread_mutex_lock(&secrets->lock);
		if (cancelled) {
			rc = dlf_fail(fault, DLF_ECANCELLED, 0, "cancelled");
			break;
		}
	}
	pthread_mutex_unlock(&secrets->lock);
	return *out ? 0 : rc;
}

void dlf_secrets_expire(dlf_secrets *secrets, const dlf_secret *secret)
{
	pthread_mutex_lock(&secrets->lock);
	if (secrets->secret == secret) {
		dlf_secret_unref(secrets->secret);
		secrets->secret = NULL;
	}
	pthread_mutex_unlock(&secrets->lock);
}
