/* SPDX-License-Identifier: Apache-2.0 */
#include "dlf_record_put.h"

#include <string.h>

#include "dlf_crc.h"
#include "dlf_record.h"

typedef struct putting {
	const dlf_plan *plan;
	const dlf_record *record;
	dlf_feature *features; /* [plan->n_fields] */
	size_t next;           /* the field that the next feature may well be */
} putting;

/* ---- finding them ---- */

static int note(void *ctx, const unsigned char *key, size_t key_size, dlf_span where,
		dlf_fault *fault)
{
	putting *p = ctx;

	for (size_t i = 0; i < p->plan->n_fields; i++) {
		size_t f = (p->next + i) % p->plan->n_fields;
		const dlf_field *field = &p->plan->fields[f];

		if (field->member_len != key_size + 1 ||
		    memcmp(field->member + 1, key, key_size))
			continue;
		p->next = f + 1;
		return dlf_feature_parse(&p->record->bytes, where,
					 &p->features[f], fault);
	}
	return 0;
}

static int find_features(putting *p, dlf_fault *fault)
{
	const dlf_plan *plan = p->plan;

	memset(p->features, 0, plan->n_fields * sizeof(*p->features));
	int rc = dlf_example_walk(&p->record->bytes, note, p, fault);
	for (size_t f = 0; f < plan->n_fields && !rc; f++) {
		dlf_feature *feature = &p->features[f];
		if (!feature->kind)
			rc = dlf_fail(fault, DLF_EMEMBER, 0,
				      "the record has no such feature");
		else if (feature->value_size == UINT64_MAX)
			rc = dlf_fail(fault, DLF_EUNSUPPORTED, feature->list.from,
				      "the feature's values differ in length");
		if (rc)
			dlf_fault_member(fault, plan->fields[f].member + 1);
	}
	return rc;
}

/* ---- what they look like ---- */

static int is_of_bytes(const dlf_field *field)
{
	return field->member[0] == 'b' || field->member[0] == 'm';
}

static int is_expected(const dlf_field *field, const dlf_feature *feature)
{
	uint64_t nbytes = feature->count * feature->value_size;

	if (nbytes != field->sample_bytes)
		return 0;
	switch (field->member[0]) {
	case 'b':
		return feature->kind == DLF_FEATURE_BYTES && feature->count == 1;
	case 'm':
		return feature->kind == DLF_FEATURE_BYTES &&
		       feature->count == field->shape[0];
	case 'f':
		return feature->kind == DLF_FEATURE_FLOAT;
	default:
		return feature->kind == DLF_FEATURE_INT64;
	}
}

static void set_descr(dlf_layout *layout, const char *descr, uint64_t itemsize)
{
	layout->itemsize = itemsize;
	layout->descr_len = strlen(descr);
	memcpy(layout->descr, descr, layout->descr_len);
}

static int lay_out(const putting *p, size_t f, dlf_layout *layout, dlf_fault *fault)
{
	const dlf_feature *feature = &p->features[f];
	const dlf_field *field = &p->plan->fields[f];

	dlf_plan_sample(p->plan, f, layout);
	layout->start = p->record->start;
	layout->expected = is_expected(field, feature);
	if (layout->expected)
		return 0;
	layout->ndim = 0;
	layout->sample_bytes = feature->count * feature->value_size;
	if (feature->kind == DLF_FEATURE_FLOAT)
		set_descr(layout, "<f4", 4);
	else if (feature->kind == DLF_FEATURE_INT64)
		set_descr(layout, "<i8", 8);
	else if (!is_of_bytes(field))
		set_descr(layout, "|u1", 1);
	if (feature->count != 1)
		layout->shape[layout->ndim++] = feature->count;
	if (feature->kind != DLF_FEATURE_BYTES)
		return 0;
	layout->shape[layout->ndim++] = feature->value_size / layout->itemsize;
	if (feature->value_size % layout->itemsize == 0)
		return 0;
	dlf_fault_member(fault, field->member + 1);
	return dlf_fail(fault, DLF_ESAMPLE, feature->list.from,
			"the feature's bytes are no whole number of the data "
			"set's elements");
}

static int place_of(dlf_task *task, const putting *p, dlf_place *place, size_t f,
		    unsigned char **dst, dlf_fault *fault)
{
	dlf_layout layout;
	int rc;

	*dst = dlf_task_in_batch(task, place, f);
	if (*dst && is_expected(&p->plan->fields[f], &p->features[f]))
		return 0;
	rc = lay_out(p, f, &layout, fault);
	return rc ? rc : dlf_task_place(task, place, f, &layout, 0, dst, fault);
}

/* ---- bringing them there ---- */

/* The field whose bytes are worth copying and checksumming in one pass. */
static size_t largest_of(const putting *p)
{
	size_t largest = SIZE_MAX;
	uint64_t most = 0;

	for (size_t f = 0; f < p->plan->n_fields; f++) {
		const dlf_span *plain = &p->features[f].plain;
		if (plain->to - plain->from <= most)
			continue;
		most = plain->to - plain->from;
		largest = f;
	}
	return largest;
}

/* Is all at hand but, perhaps, the inside of the largest? */
static int is_at_hand(const putting *p, size_t largest)
{
	const dlf_bytes *bytes = &p->record->bytes;

	if (bytes->head_size == bytes->size)
		return 1;
	if (largest == SIZE_MAX ||
	    p->features[largest].plain.from > bytes->head_size ||
	    p->features[largest].plain.to < bytes->tail_from)
		return 0;
	for (size_t f = 0; f < p->plan->n_fields; f++) {
		const dlf_span *list = &p->features[f].list;
		if (f != largest &&
		    !dlf_bytes_at(bytes, list->from, list->to - list->from))
			return 0;
	}
	return 1;
}

static uint32_t crc_of(const dlf_bytes *bytes, uint32_t crc, uint64_t from,
		       uint64_t to)
{
	return to > from ? dlf_crc32c(crc, dlf_bytes_at(bytes, from, to - from),
				      to - from)
			 : crc;
}

static int copy_largest(const putting *p, dlf_span span, unsigned char *dst,
			uint32_t *crc, dlf_fault *fault)
{
	const dlf_bytes *bytes = &p->record->bytes;
	size_t n = span.to - span.from;
	const unsigned char *src = dlf_bytes_at(bytes, span.from, n);

	if (!src)
		return p->record->read(p->record->ctx, span, dst, crc, fault);
	if (crc)
		*crc = dlf_crc32c_copy(*crc, dst, src, n);
	else
		dlf_copy_stream(dst, src, n);
	return 0;
}

static int put_features(dlf_task *task, const putting *p, dlf_place *place,
			size_t largest, dlf_fault *fault)
{
	const dlf_bytes *bytes = &p->record->bytes;
	unsigned char *dst, *of_largest = NULL;
	uint32_t crc = 0;
	int rc = 0;

	for (size_t f = 0; f < p->plan->n_fields && !rc; f++) {
		rc = place_of(task, p, place, f, &dst, fault);
		if (f == largest)
			of_largest = dst;
		else if (!rc)
			rc = dlf_feature_values(bytes, &p->features[f], dst, fault);
	}
	if (rc)
		return rc;
	dlf_span span = {0, 0};
	if (of_largest)
		span = p->features[largest].plain;
	if (p->plan->verify)
		crc = crc_of(bytes, 0, 0, span.from);
	if (of_largest)
		rc = copy_largest(p, span, of_largest,
				  p->plan->verify ? &crc : NULL, fault);
	if (rc || !p->plan->verify)
		return rc;
	crc = crc_of(bytes, crc, span.to, bytes->size);
	return dlf_record_mask(crc) == p->record->crc_stored
		       ? 0
		       : dlf_fail(fault, DLF_ECHECKSUM, 0,
				  "the stored CRC-32C does not match the record");
}

/* What is wrong with a record whose bytes are not those that were written, is that. */
static int blame(const putting *p, int rc, dlf_fault *fault)
{
	const dlf_bytes *bytes = &p->record->bytes;

	if (rc != DLF_EFORMAT && rc != DLF_EMEMBER && rc != DLF_EUNSUPPORTED &&
	    rc != DLF_ESAMPLE && rc != DLF_ECHECKSUM)
		return rc;
	fault->offset += p->record->start;
	if (p->plan->verify && bytes->head_size == bytes->size &&
	    dlf_record_mask(crc_of(bytes, 0, 0, bytes->size)) !=
		    p->record->crc_stored) {
		fault->member[0] = '\0';
		return dlf_fail(fault, DLF_ECHECKSUM, p->record->start,
				"the stored CRC-32C does not match the record");
	}
	return rc;
}

int dlf_record_put_sample(dlf_task *task, dlf_place *place,
			  const dlf_record *record, dlf_feature *features,
			  dlf_fault *fault)
{
	putting p = {.plan = task->plan, .record = record, .features = features};
	int rc = find_features(&p, fault);
	size_t largest = rc ? SIZE_MAX : largest_of(&p);

	/* To see what is wrong with a record, too, all its bytes are needed. */
	if (rc ? record->bytes.head_size < record->bytes.size
	       : !is_at_hand(&p, largest))
		return DLF_EMORE;
	if (!rc)
		rc = put_features(task, &p, place, largest, fault);
	return rc ? blame(&p, rc, fault) : 0;
}
