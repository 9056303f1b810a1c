/* SPDX-License-Identifier: Apache-2.0 */
#include "dlf_npy.h"

#include <string.h>

#include "dlf_literal.h"

#define MAGIC "\x93NUMPY"
#define MAGIC_LEN 6
/* Magic and version; the header's length (2 or 4 bytes) follows. */
#define VERSION_END 8

/* Far beyond any real record type, and little enough of the stack. */
#define MAX_DEPTH 32

/* What numpy can hold: an itemsize in a C int, an array in a ptrdiff_t. */
#define MAX_ITEMSIZE ((uint64_t)INT32_MAX)
#define MAX_BYTES ((uint64_t)INT64_MAX)

_Static_assert(DLF_LITERAL_MAX_SIZES == DLF_NPY_MAX_DIMS,
	       "a shape is read as a tuple of sizes");

static int malformed(const dlf_literal *lit, const char *what)
{
	return dlf_literal_fail(lit, DLF_EFORMAT, what);
}

static int truncated(const dlf_literal *lit, const char *what)
{
	return dlf_literal_fail(lit, DLF_ETRUNCATED, what);
}

static int unsupported(const dlf_literal *lit, const char *what)
{
	return dlf_literal_fail(lit, DLF_EUNSUPPORTED, what);
}

/* unit x product of the sizes.  Like numpy, refuses (returns 0) a product that
 * overflows without its zeros. */
static int extent(const dlf_sizes *sizes, uint64_t unit, uint64_t *total)
{
	uint64_t product = unit ? unit : 1;
	int empty = !unit;

	for (int i = 0; i < sizes->count; i++) {
		uint64_t size = sizes->size[i];

		if (!size)
			empty = 1;
		else if (product > MAX_BYTES / size)
			return 0;
		else
			product *= size;
	}
	*total = empty ? 0 : product;
	return 1;
}

/* The [ns] of <M8[ns]: a unit with an optional multiple, or nothing. */
static int is_time_unit(const char *p, const char *end)
{
	static const char *const units[] = {"Y",  "M",  "W",  "D",  "h",
					    "m",  "s",  "ms", "us", "ns",
					    "ps", "fs", "as"};
	size_t len;
	uint64_t multiple;

	if (p == end)
		return 1;
	if (end - p < 3 || *p++ != '[' || *--end != ']')
		return 0;
	if (*p >= '0' && *p <= '9' &&
	    !dlf_literal_decimal(&p, end, INT32_MAX, &multiple))
		return 0;
	len = (size_t)(end - p);
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (strlen(units[i]) == len && !memcmp(units[i], p, len))
			return 1;
	return 0;
}

/* A dtype of one word: byte order, kind, size ("<f4", "|S10", ">M8[us]"). */
static int simple_dtype(dlf_literal *lit, const char *p, size_t len,
			uint64_t *itemsize)
{
	const char *unknown = "unknown dtype", *end = p + len;
	uint64_t size;
	int kind, known;

	if (len < 2 || !memchr("<>|=", *p, 4))
		return malformed(lit, unknown);
	kind = p[1];
	p += 2;
	if (kind == 'O')
		return unsupported(lit, "object dtype: its values are pickled, "
					"and pickle is never loaded");
	if (!dlf_literal_decimal(&p, end, MAX_ITEMSIZE, &size))
		return malformed(lit, unknown);
	switch (kind) {
	case 'b':
		known = size == 1;
		break;
	case 'i':
	case 'u':
		known = size == 1 || size == 2 || size == 4 || size == 8;
		break;
	case 'f':
		known = size == 2 || size == 4 || size == 8 || size == 16;
		break;
	case 'c':
		known = size == 8 || size == 16 || size == 32;
		break;
	case 'M':
	case 'm':
		known = size == 8 && is_time_unit(p, end);
		p = end;
		break;
	case 'U':
		size *= 4; /* a character is a code point of four bytes */
		known = size <= MAX_ITEMSIZE;
		break;
	case 'S':
	case 'V':
		known = 1;
		break;
	default:
		known = 0;
	}
	if (!known || p != end)
		return malformed(lit, unknown);
	*itemsize = size;
	return 0;
}

static int parse_fields(dlf_literal *lit, int depth, uint64_t *itemsize);

/* A field's or the array's dtype: a word or a list of fields. */
static int parse_dtype(dlf_literal *lit, int depth, uint64_t *itemsize)
{
	const char *text;
	size_t len;
	int rc;

	if (dlf_literal_peek(lit) == '[')
		return parse_fields(lit, depth, itemsize);
	rc = dlf_literal_string(lit, &text, &len);
	return rc ? rc : simple_dtype(lit, text, len, itemsize);
}

/* A field's name, or ('title', 'name'). */
static int parse_name(dlf_literal *lit)
{
	int titled = dlf_literal_take(lit, '(');
	const char *text;
	size_t len;
	int rc = dlf_literal_string(lit, &text, &len);

	if (rc || !titled)
		return rc;
	if (!dlf_literal_take(lit, ','))
		return malformed(lit, "a field's title has no name");
	rc = dlf_literal_string(lit, &text, &len);
	if (!rc && !dlf_literal_take(lit, ')'))
		rc = malformed(lit, "a field's title and name lack a bracket");
	return rc;
}

/* ('name', '<i4') or ('name', '<i4', (2, 3)). */
static int parse_field(dlf_literal *lit, int depth, uint64_t *itemsize)
{
	dlf_sizes sizes;
	int rc;

	sizes.count = 0;
	if (!dlf_literal_take(lit, '('))
		return malformed(lit, "a field of the dtype is not a tuple");
	rc = parse_name(lit);
	if (!rc && !dlf_literal_take(lit, ','))
		rc = malformed(lit, "a field of the dtype has no type");
	if (!rc)
		rc = parse_dtype(lit, depth, itemsize);
	if (!rc && dlf_literal_take(lit, ',') && dlf_literal_peek(lit) != ')') {
		rc = dlf_literal_sizes(lit, &sizes);
		if (!rc)
			dlf_literal_take(lit, ',');
	}
	if (!rc && !dlf_literal_take(lit, ')'))
		rc = malformed(lit, "a field of the dtype is not closed");
	if (!rc && !extent(&sizes, *itemsize, itemsize))
		rc = malformed(lit, "the dtype's size overflows");
	return rc;
}

/* A list of fields, which lie back to back: numpy writes gaps as fields. */
static int parse_fields(dlf_literal *lit, int depth, uint64_t *itemsize)
{
	int comma = 1;

	if (depth == MAX_DEPTH)
		return unsupported(lit, "the dtype is nested too deeply");
	*itemsize = 0;
	dlf_literal_take(lit, '[');
	while (!dlf_literal_take(lit, ']')) {
		uint64_t size;
		int rc;

		if (!comma)
			return malformed(lit, "comma or bracket missing in the "
					      "dtype's fields");
		rc = parse_field(lit, depth + 1, &size);
		if (rc)
			return rc;
		if (size > MAX_ITEMSIZE - *itemsize)
			return malformed(lit, "the dtype's size overflows");
		*itemsize += size;
		comma = dlf_literal_take(lit, ',');
	}
	return 0;
}

static int parse_descr(dlf_literal *lit, dlf_npy *npy)
{
	int rc;

	npy->structured = dlf_literal_peek(lit) == '[';
	npy->descr = (const char *)lit->p;
	rc = parse_dtype(lit, 0, &npy->itemsize);
	npy->descr_len = (size_t)((const char *)lit->p - npy->descr);
	if (!npy->structured) {
		npy->descr++;
		npy->descr_len -= 2;
	}
	return rc;
}

/* The dictionary that the header consists of. */
static int parse_header(dlf_literal *lit, dlf_npy *npy, dlf_sizes *shape)
{
	enum { DESCR, FORTRAN_ORDER, SHAPE, KEYS };
	static const char *const keys[] = {"descr", "fortran_order", "shape"};
	int seen[KEYS] = {0};
	int comma = 1;

	if (!dlf_literal_take(lit, '{'))
		return malformed(lit, "the header is not a dictionary");
	while (!dlf_literal_take(lit, '}')) {
		const char *text;
		size_t len;
		int rc, key = 0;

		if (!comma)
			return malformed(lit, "comma or brace missing in the "
					      "header");
		rc = dlf_literal_string(lit, &text, &len);
		if (rc)
			return rc;
		while (key < KEYS && (strlen(keys[key]) != len ||
				      memcmp(keys[key], text, len)))
			key++;
		if (key == KEYS)
			return malformed(lit, "unknown key in the header");
		if (seen[key]++)
			return malformed(lit, "repeated key in the header");
		if (!dlf_literal_take(lit, ':'))
			return malformed(lit, "a key of the header has no "
					      "value");
		if (key == DESCR)
			rc = parse_descr(lit, npy);
		else if (key == FORTRAN_ORDER)
			rc = dlf_literal_bool(lit, &npy->fortran_order);
		else
			rc = dlf_literal_sizes(lit, shape);
		if (rc)
			return rc;
		comma = dlf_literal_take(lit, ',');
	}
	if (!seen[DESCR] || !seen[FORTRAN_ORDER] || !seen[SHAPE])
		return malformed(lit, "the header lacks descr, fortran_order "
				      "or shape");
	if (dlf_literal_peek(lit) || lit->p < lit->end)
		return malformed(lit, "something follows the header's "
				      "dictionary");
	return 0;
}

/* Where the header's text begins, once the version is known. */
static size_t text_begin(const unsigned char *head)
{
	return VERSION_END + (head[6] == 1 ? 2 : 4);
}

/* Find the end of the header; it is *need when the return code is 0. */
static int locate_header(const unsigned char *head, size_t have,
			 uint64_t npy_size, const dlf_literal *lit,
			 size_t *need)
{
	size_t known = have < MAGIC_LEN ? have : MAGIC_LEN;
	uint64_t len;

	if (known && memcmp(head, MAGIC, known))
		return malformed(lit, "not an .npy file");
	*need = VERSION_END + 2;
	if (have >= VERSION_END) {
		if (head[6] < 1 || head[6] > 3 || head[7] != 0)
			return malformed(lit, "unknown .npy version");
		*need = text_begin(head);
	}
	if (npy_size < *need)
		return truncated(lit, "the .npy ends inside its header");
	if (have < *need)
		return DLF_EMORE;
	len = head[8] | (uint32_t)head[9] << 8;
	if (head[6] > 1)
		len |= (uint32_t)head[10] << 16 | (uint32_t)head[11] << 24;
	if (len > DLF_NPY_MAX_HEADER - *need)
		return malformed(lit, "the .npy header is longer than 16 MiB");
	if (len > npy_size - *need)
		return truncated(lit, "the .npy ends inside its header");
	*need += (size_t)len;
	return have < *need ? DLF_EMORE : 0;
}

int dlf_npy_parse(const void *head, size_t have, uint64_t npy_size,
		  uint64_t file_offset, dlf_npy *npy, size_t *need,
		  dlf_fault *fault)
{
	const unsigned char *bytes = head;
	dlf_literal lit = {bytes, bytes, bytes, file_offset, 0, fault};
	dlf_sizes shape;
	int rc;

	if (have > npy_size)
		have = (size_t)npy_size;
	rc = locate_header(bytes, have, npy_size, &lit, need);
	if (rc)
		return rc;
	lit.p = bytes + text_begin(bytes);
	lit.end = bytes + *need;
	lit.utf8 = bytes[6] == 3;
	rc = parse_header(&lit, npy, &shape);
	if (rc)
		return rc;

	npy->major = bytes[6];
	npy->data_offset = *need;
	npy->ndim = shape.count;
	memcpy(npy->shape, shape.size, (size_t)shape.count * sizeof(uint64_t));
	lit.p = lit.end;
	if (!extent(&shape, 1, &npy->items) ||
	    !extent(&shape, npy->itemsize, &npy->nbytes))
		return malformed(&lit, "the shape's product overflows");
	if (npy->nbytes > npy_size - npy->data_offset)
		return truncated(&lit, "the .npy holds fewer bytes than its "
				       "shape says");
	return 0;
}
