/* SPDX-License-Identifier: Apache-2.0 */
#include "dlf_example.h"

#include <string.h>

enum wire { VARINT = 0, FIXED64 = 1, DELIMITED = 2, FIXED32 = 5 };

enum { VARINT_MAX = 10 };

/* One field of a message; of DELIMITED ones, `value` spans the contents. */
typedef struct field {
	uint64_t number;
	enum wire wire;
	dlf_span value;
} field;

const unsigned char *dlf_bytes_at(const dlf_bytes *bytes, uint64_t at, uint64_t n)
{
	if (at <= bytes->head_size && n <= bytes->head_size - at)
		return bytes->head + at;
	if (at >= bytes->tail_from && bytes->tail)
		return bytes->tail + (at - bytes->tail_from);
	return NULL;
}

static int malformed(uint64_t at, const char *what, dlf_fault *fault)
{
	return dlf_fail(fault, DLF_EFORMAT, at, what);
}

/* The varint at *at, which must end before `end`. */
static int read_varint(const dlf_bytes *bytes, uint64_t *at, uint64_t end,
		       uint64_t *value, dlf_fault *fault)
{
	uint64_t left = end - *at;
	uint64_t most = left < VARINT_MAX ? left : VARINT_MAX;
	const unsigned char *p = dlf_bytes_at(bytes, *at, most);
	uint64_t sum = 0;

	if (!p)
		return DLF_EMORE;
	for (uint64_t i = 0; i < most; i++) {
		sum |= (uint64_t)(p[i] & 127) << (7 * i);
		if (p[i] & 128)
			continue;
		if (i == VARINT_MAX - 1 && p[i] > 1)
			break;
		*at += i + 1;
		*value = sum;
		return 0;
	}
	return malformed(*at, left < VARINT_MAX
				      ? "the Example ends inside a varint"
				      : "a varint of more than 64 bits",
			 fault);
}

/* The field at *at of a message that ends at `end`. */
static int next_field(const dlf_bytes *bytes, uint64_t *at, uint64_t end,
		      field *out, dlf_fault *fault)
{
	uint64_t begin = *at, tag, length = 0;
	int rc = read_varint(bytes, at, end, &tag, fault);

	if (rc)
		return rc;
	out->number = tag >> 3;
	out->wire = (enum wire)(tag & 7);
	if (!out->number || out->number >= (uint64_t)1 << 29)
		return malformed(begin, "the Example has a field of an "
					"impossible number", fault);
	out->value.from = *at;
	switch (out->wire) {
	case VARINT:
		rc = read_varint(bytes, at, end, &tag, fault);
		break;
	case FIXED64:
		length = 8;
		break;
	case FIXED32:
		length = 4;
		break;
	case DELIMITED:
		rc = read_varint(bytes, at, end, &length, fault);
		out->value.from = *at;
		break;
	default:
		return malformed(begin, "the Example has a field of an "
					"unknown kind", fault);
	}
	if (rc)
		return rc;
	if (length > end - *at)
		return malformed(begin, "a field of the Example is longer than "
					"what holds it", fault);
	*at += length;
	out->value.to = *at;
	return 0;
}

/* Walk over the values of a list.  `each` gets every piece of them: one value, or a
 * packed run. */
static int walk_list(const dlf_bytes *bytes, const dlf_feature *feature,
		     int (*each)(const dlf_bytes *bytes, const field *piece,
				 void *ctx, dlf_fault *fault),
		     void *ctx, dlf_fault *fault)
{
	static const enum wire alone[] = {
		[DLF_FEATURE_BYTES] = DELIMITED,
		[DLF_FEATURE_FLOAT] = FIXED32,
		[DLF_FEATURE_INT64] = VARINT,
	};
	uint64_t at = feature->list.from;
	field piece;
	int rc = 0;

	while (!rc && at < feature->list.to) {
		rc = next_field(bytes, &at, feature->list.to, &piece, fault);
		if (!rc && piece.number == 1 &&
		    (piece.wire == alone[feature->kind] || piece.wire == DELIMITED))
			rc = each(bytes, &piece, ctx, fault);
	}
	return rc;
}

/* ---- counting ---- */

static int count_bytes(const dlf_bytes *bytes, const field *piece, void *ctx,
		       dlf_fault *fault)
{
	dlf_feature *feature = ctx;
	uint64_t size = piece->value.to - piece->value.from;

	(void)bytes, (void)fault;
	feature->plain = feature->count ? (dlf_span){0, 0} : piece->value;
	if (feature->count && feature->value_size != size)
		size = UINT64_MAX;
	feature->value_size = size;
	feature->count++;
	return 0;
}

static int count_floats(const dlf_bytes *bytes, const field *piece, void *ctx,
			dlf_fault *fault)
{
	dlf_feature *feature = ctx;
	uint64_t size = piece->value.to - piece->value.from;

	(void)bytes;
	if (size % 4)
		return malformed(piece->value.from,
				 "packed floats that are cut short", fault);
	if (size)
		feature->plain = feature->count ? (dlf_span){0, 0}
						: piece->value;
	feature->count += size / 4;
	return 0;
}

static int count_int64s(const dlf_bytes *bytes, const field *piece, void *ctx,
			dlf_fault *fault)
{
	dlf_feature *feature = ctx;
	uint64_t size = piece->value.to - piece->value.from;
	const unsigned char *p;

	if (piece->wire == VARINT) {
		feature->count++;
		return 0;
	}
	p = dlf_bytes_at(bytes, piece->value.from, size);
	if (!p)
		return DLF_EMORE;
	if (size && p[size - 1] & 128)
		return malformed(piece->value.from,
				 "packed integers that are cut short", fault);
	for (uint64_t i = 0; i < size; i++)
		feature->count += !(p[i] & 128);
	return 0;
}

static int count_values(const dlf_bytes *bytes, dlf_feature *feature,
			dlf_fault *fault)
{
	switch (feature->kind) {
	case DLF_FEATURE_BYTES:
		return walk_list(bytes, feature, count_bytes, feature, fault);
	case DLF_FEATURE_FLOAT:
		feature->value_size = 4;
		return walk_list(bytes, feature, count_floats, feature, fault);
	case DLF_FEATURE_INT64:
		feature->value_size = 8;
		return walk_list(bytes, feature, count_int64s, feature, fault);
	default:
		return 0;
	}
}

int dlf_feature_parse(const dlf_bytes *bytes, dlf_span where,
		      dlf_feature *feature, dlf_fault *fault)
{
	field list;
	int rc = 0;

	*feature = (dlf_feature){0};
	while (!rc && where.from < where.to) {
		uint64_t begin = where.from;
		rc = next_field(bytes, &where.from, where.to, &list, fault);
		if (rc || list.number > DLF_FEATURE_INT64 || list.wire != DELIMITED)
			continue;
		if (feature->kind)
			return dlf_fail(fault, DLF_EUNSUPPORTED, begin,
					"a feature of several lists");
		feature->kind = (enum dlf_feature_kind)list.number;
		feature->list = list.value;
	}
	return rc ? rc : count_values(bytes, feature, fault);
}

/* ---- values ---- */

static int put_raw(const dlf_bytes *bytes, const field *piece, void *ctx,
		   dlf_fault *fault)
{
	unsigned char **dst = ctx;
	uint64_t size = piece->value.to - piece->value.from;
	const unsigned char *p = dlf_bytes_at(bytes, piece->value.from, size);

	(void)fault;
	if (!p)
		return DLF_EMORE;
	if (size)
		memcpy(*dst, p, size);
	*dst += size;
	return 0;
}

static int put_int64s(const dlf_bytes *bytes, const field *piece, void *ctx,
		      dlf_fault *fault)
{
	unsigned char **dst = ctx;
	uint64_t at = piece->value.from, value;

	while (at < piece->value.to) {
		int rc = read_varint(bytes, &at, piece->value.to, &value, fault);
		if (rc)
			return rc;
		memcpy(*dst, &value, sizeof(value));
		*dst += sizeof(value);
	}
	return 0;
}

int dlf_feature_values(const dlf_bytes *bytes, const dlf_feature *feature,
		       void *dst, dlf_fault *fault)
{
	unsigned char *to = dst;

	return walk_list(bytes, feature,
			 feature->kind == DLF_FEATURE_INT64 ? put_int64s : put_raw,
			 &to, fault);
}

/* ---- the map ---- */

typedef int visitor(void *ctx, const unsigned char *key, size_t key_size,
		    dlf_span feature, dlf_fault *fault);

static int walk_entry(const dlf_bytes *bytes, dlf_span entry, visitor *visit,
		      void *ctx, dlf_fault *fault)
{
	dlf_span key = {0, 0}, feature = {0, 0};
	const unsigned char *name;
	int valued = 0;
	field part;

	while (entry.from < entry.to) {
		uint64_t begin = entry.from;
		int rc = next_field(bytes, &entry.from, entry.to, &part, fault);
		if (rc)
			return rc;
		if (part.wire != DELIMITED)
			continue;
		if (part.number == 1)
			key = part.value;
		if (part.number == 2 && valued++)
			return dlf_fail(fault, DLF_EUNSUPPORTED, begin,
					"a feature of several values");
		if (part.number == 2)
			feature = part.value;
	}
	name = dlf_bytes_at(bytes, key.from, key.to - key.from);
	return name ? visit(ctx, name, key.to - key.from, feature, fault)
		    : DLF_EMORE;
}

int dlf_example_walk(const dlf_bytes *bytes, visitor *visit, void *ctx,
		     dlf_fault *fault)
{
	uint64_t at = 0;
	field features, entry;
	int rc = 0;

	while (!rc && at < bytes->size) {
		rc = next_field(bytes, &at, bytes->size, &features, fault);
		if (rc || features.number != 1 || features.wire != DELIMITED)
			continue;
		uint64_t inner = features.value.from;
		while (!rc && inner < features.value.to) {
			rc = next_field(bytes, &inner, features.value.to, &entry,
					fault);
			if (!rc && entry.number == 1 && entry.wire == DELIMITED)
				rc = walk_entry(bytes, entry.value, visit, ctx,
						fault);
		}
	}
	return rc;
}
