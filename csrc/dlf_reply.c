/* SPDX-License-Identifier: Apache-2.0 */
#include "dlf_reply.h"

#include <errno.h>
#include <string.h>

#include "dlf_text.h"

int dlf_reply_fail(dlf_failure *failure, dlf_failure_kind kind, int code,
		   const char *what)
{
	failure->kind = kind;
	failure->retry_after = 0;
	return dlf_fail(&failure->fault, code, 0, what);
}

static int one_of(const char *code, const char *const *list)
{
	for (; *list; list++)
		if (!strcmp(code, *list))
			return 1;
	return 0;
}

static int expired(const char *code, const char *message)
{
	static const char *const codes[] = {
		"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired",
		"RequestExpired", "InvalidToken", NULL};

	return one_of(code, codes) ||
	       (!strcmp(code, "AuthenticationFailed") && strstr(message, "xpired"));
}

/* Some stores answer 400 to what passes. */
static int passing(int status, const char *code)
{
	static const char *const codes[] = {
		"RequestTimeout", "SlowDown", "InternalError", "ServerBusy",
		"OperationTimedOut", "IncompleteBody", NULL};

	return status == 408 || status == 429 || status == 500 ||
	       (status >= 502 && status <= 504) || one_of(code, codes);
}

static int classify(dlf_failure *failure, const dlf_head *head, const char *code,
		    const char *message, const char *region)
{
	int status = head->status;

	if (expired(code, message))
		return dlf_reply_fail(failure, DLF_EXPIRED, -EACCES,
				      "the store calls the credentials expired");
	if (passing(status, code)) {
		int rc = dlf_reply_fail(failure, DLF_TRANSIENT, DLF_ESTORE,
					"the store failed");
		failure->retry_after = head->retry_after;
		return rc;
	}
	if ((status / 100 == 3 || status == 400) && *region)
		return dlf_reply_fail(failure, DLF_FATAL, DLF_ESTORE,
				      "the bucket lies in another region: set it");
	if (status == 404)
		return dlf_reply_fail(failure, DLF_FATAL, -ENOENT,
				      "the store does not have it");
	if (status == 401 || status == 403)
		return dlf_reply_fail(failure, DLF_FATAL, -EACCES,
				      "the store refuses access; check the "
				      "credentials, and what they may do");
	if (status == 412)
		return dlf_reply_fail(failure, DLF_FATAL, DLF_ECHANGED,
				      "the object changed");
	if (status / 100 == 3)
		return dlf_reply_fail(failure, DLF_FATAL, DLF_ESTORE,
				      "the store sends elsewhere; check endpoint "
				      "and region");
	return dlf_reply_fail(failure, DLF_FATAL, DLF_ESTORE,
			      "the store refuses the request");
}

int dlf_reply_refused(dlf_failure *failure, const dlf_head *head,
		      const char *body, size_t len)
{
	char code[48], message[DLF_DETAIL_MAX], region[sizeof(head->region)];

	memcpy(region, head->region, sizeof(region));
	dlf_head_error(body, len, code, sizeof(code), message, sizeof(message),
		       region, sizeof(region));
	if (!*code)
		memcpy(code, head->code, sizeof(code));
	int rc = classify(failure, head, code, message, region);
	dlf_text detail = {.data = failure->fault.detail, .cap = DLF_DETAIL_MAX};
	dlf_text_printf(&detail, "HTTP %d%s%s", head->status, *code ? " " : "", code);
	if (*region)
		dlf_text_printf(&detail, ", region %s", region);
	if (*message)
		dlf_text_str(&detail, ": ");
	size_t room = detail.cap - detail.len - 1, n = strlen(message);
	dlf_text_add(&detail, message, n < room ? n : room);
	return rc;
}

static int changed(dlf_failure *failure, const char *what)
{
	return dlf_reply_fail(failure, DLF_FATAL, DLF_ECHANGED, what);
}

static int absurd(dlf_failure *failure, const char *what)
{
	return dlf_reply_fail(failure, DLF_FATAL, DLF_ESTORE, what);
}

static int same_object(dlf_failure *failure, const dlf_head *head, uint64_t total,
		       const dlf_known *known)
{
	if (known->version && !head->version)
		return changed(failure, "the response names no ETag to tell the "
			       "object's version");
	if (known->version && head->version != known->version)
		return changed(failure, "the object changed since it was listed or "
			       "opened: another ETag");
	if (known->size != DLF_LENGTH_UNKNOWN && total != DLF_LENGTH_UNKNOWN &&
	    total != known->size)
		return changed(failure, "the object changed since it was listed or "
			       "opened: another size");
	return 0;
}

static int check_whole(dlf_failure *failure, const dlf_head *head, int ranged,
		       uint64_t first, uint64_t last, dlf_known *known)
{
	int rc = same_object(failure, head, head->length, known);

	if (rc)
		return rc;
	if (ranged && (first || (head->length && last < head->length - 1)))
		return absurd(failure, "the store ignores ranges, without which it "
			      "cannot be read");
	return 0;
}

static int check_part(dlf_failure *failure, const dlf_head *head, uint64_t first,
		      uint64_t last, dlf_known *known)
{
	int rc = same_object(failure, head, head->total, known);

	if (rc)
		return rc;
	if (head->first > head->last)
		return absurd(failure, "a response without the range that it holds");
	if (known->size == DLF_LENGTH_UNKNOWN) {
		if (head->total == DLF_LENGTH_UNKNOWN || !head->total)
			return absurd(failure, "a response without the object's size");
		if (last > head->total - 1)
			last = head->total - 1;
	}
	if (head->first != first || head->last != last ||
	    head->length != last - first + 1)
		return absurd(failure, "a response with another range than was asked "
			      "for");
	return 0;
}

int dlf_reply_check(dlf_failure *failure, const dlf_head *head, int ranged,
		    uint64_t first, uint64_t last, dlf_known *known)
{
	uint64_t total = head->status == 206 ? head->total : head->length;
	int rc;

	if (head->length == DLF_LENGTH_UNKNOWN)
		return absurd(failure, "a response without a Content-Length");
	if (head->status == 206)
		rc = ranged ? check_part(failure, head, first, last, known)
			    : absurd(failure, "a part of an object, of which all "
				     "was asked for");
	else if (head->status == 200)
		rc = check_whole(failure, head, ranged, first, last, known);
	else
		rc = absurd(failure, "a response of an unexpected kind");
	if (rc) {
		snprintf(failure->fault.detail, sizeof(failure->fault.detail),
			 "HTTP %d", head->status);
		return rc;
	}
	if (known->size == DLF_LENGTH_UNKNOWN)
		known->size = total;
	if (!known->version)
		known->version = head->version;
	return 0;
}
