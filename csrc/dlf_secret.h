/* SPDX-License-Identifier: Apache-2.0
 *
 * Credentials of a store: what requests are signed with, and how they are renewed.
 */
#ifndef DLF_SECRET_H
#define DLF_SECRET_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "dlf_error.h"
#include "dlf_file.h"

/* Immutable but for the cached signing key, which the keeper's lock guards. */
typedef struct dlf_secret {
	atomic_int refs;
	int64_t expires;   /* seconds since 1970; 0: never */
	char *id;          /* access key, or Azure's account; "" if none */
	char *key;         /* secret key; Azure's key in base64 */
	char *token;       /* session token, bearer token or SAS query */
	char day[9];       /* what the signing key below was made for */
	unsigned char signing[32];
} dlf_secret;

int dlf_secret_new(const char *id, const char *key, const char *token,
		   int64_t expires, dlf_secret **out);
void dlf_secret_unref(dlf_secret *secret);

/* Fetch new credentials; called by one thread at a time, which holds no lock.
 * 0, or a code with the fault filled in (its detail must hold no secret). */
typedef int dlf_renew_fn(void *ctx, dlf_secret **out, dlf_fault *fault);

typedef struct dlf_secrets {
	pthread_mutex_t lock;
	pthread_cond_t renewed;
	dlf_secret *secret; /* NULL: none yet */
	int renewing;
	int64_t again;      /* after a failure, not before this second */
	dlf_renew_fn *renew;
	void *ctx;
} dlf_secrets;

void dlf_secrets_init(dlf_secrets *secrets, dlf_renew_fn *renew, void *ctx);
void dlf_secrets_free(dlf_secrets *secrets);

/* A reference to credentials that are valid now.  They are renewed five minutes
 * before they expire, by the thread that finds it is time; others go on with the
 * old ones as long as these last.  *out is NULL where there is nothing to renew
 * them.  -EACCES, DLF_ECANCELLED, what renew() returned. */
int dlf_secrets_get(dlf_secrets *secrets, dlf_io *io, dlf_secret **out,
		    dlf_fault *fault);

/* The server calls these expired: they are renewed at the next get. */
void dlf_secrets_expire(dlf_secrets *secrets, const dlf_secret *secret);

#endif
