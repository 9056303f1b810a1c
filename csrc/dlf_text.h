/* SPDX-License-Identifier: Apache-2.0
 *
 * Text put together in memory of fixed size.  What does not fit sets `full`, once
 * looked at, at the end.
 */
#ifndef DLF_TEXT_H
#define DLF_TEXT_H

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

typedef struct dlf_text {
	char *data;
	size_t len, cap;
	int full;
} dlf_text;

static inline void dlf_text_add(dlf_text *text, const char *data, size_t len)
{
	if (len >= text->cap - text->len) { /* room for a NUL, too */
		text->full = 1;
		return;
	}
	memcpy(text->data + text->len, data, len);
	text->len += len;
	text->data[text->len] = '\0';
}

static inline void dlf_text_str(dlf_text *text, const char *str)
{
	dlf_text_add(text, str, strlen(str));
}

__attribute__((format(printf, 2, 3)))
static inline void dlf_text_printf(dlf_text *text, const char *format, ...)
{
	va_list args;
	size_t room = text->cap - text->len;

	va_start(args, format);
	int n = vsnprintf(text->data + text->len, room, format, args);
	va_end(args);
	if (n < 0 || (size_t)n >= room) {
		text->full = 1;
		text->data[text->len] = '\0';
	} else {
		text->len += (size_t)n;
	}
}

#endif
