/* SPDX-License-Identifier: Apache-2.0
 *
 * The Python literals that occur in .npy headers: quoted strings as repr()
 * writes them, tuples of sizes, True and False.  Refuses everything else: what
 * passes here also passes ast.literal_eval, but for the L of Python 2.
 */
#ifndef DLF_LITERAL_H
#define DLF_LITERAL_H

#include <stddef.h>
#include <stdint.h>

#include "dlf_error.h"

#define DLF_LITERAL_MAX_SIZES 64

/* A place in the text. */
typedef struct dlf_literal {
	const unsigned char *p, *end;
	const unsigned char *start;
	uint64_t file_offset; /* of start, for faults */
	int utf8;             /* the text is UTF-8, else Latin-1 */
	dlf_fault *fault;
} dlf_literal;

typedef struct dlf_sizes {
	int count;
	uint64_t size[DLF_LITERAL_MAX_SIZES]; /* each below 2^63 */
} dlf_sizes;

/* Record a fault at the present place; returns code. */
int dlf_literal_fail(const dlf_literal *lit, int code, const char *what);

/* The next character that is not white space, 0 at the end. */
int dlf_literal_peek(dlf_literal *lit);

/* Past the next character if it is ch; returns whether it was. */
int dlf_literal_take(dlf_literal *lit, int ch);

/* The rest return 0 or DLF_EFORMAT with the fault recorded. */

/* *text is what stands between the quotes, escapes unresolved. */
int dlf_literal_string(dlf_literal *lit, const char **text, size_t *len);

/* (), (3,), (3, 4), and (3L, 4L) as Python 2 wrote it, before UTF-8. */
int dlf_literal_sizes(dlf_literal *lit, dlf_sizes *sizes);

int dlf_literal_bool(dlf_literal *lit, int *value);

/* The decimal number at *p, left behind it.  Returns 0 where there is none, it
 * exceeds max or has leading zeros. */
int dlf_literal_decimal(const char **p, const char *end, uint64_t max,
			uint64_t *value);

#endif
