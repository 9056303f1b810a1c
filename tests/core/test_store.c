/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "check.h"
#include "dlf_store.h"

static uint64_t version(const char *etag)
{
	return dlf_store_version(etag, strlen(etag));
}

static void same_etag_same_version(void)
{
	CHECK(version("\"abc\"") == version("abc"));
	CHECK(version("W/\"abc\"") == version("\"abc\""));
	CHECK(version("\"abc\"") != version("\"abd\""));
	CHECK(version("") != 0);
}

void test_store(void)
{
	same_etag_same_version();
}
