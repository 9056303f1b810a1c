/* SPDX-License-Identifier: Apache-2.0 */
#include "dlf_tfrecord.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "dlf_record_file.h"
#include "dlf_record_put.h"

#define PAGE ((uint64_t)4096)
/* What is read at once: in the second-level cache until it is copied out; but a
 * storage device wants to be asked for more. */
#define WINDOW_BUFFERED ((uint64_t)512 << 10)
#define WINDOW_DIRECT ((uint64_t)1 << 20)
/* Reading over what nobody wants costs less than another read, up to here. */
#define GAP ((uint64_t)16 << 10)
/* The ends of a large record, in which all but one feature should lie. */
#define ENDS ((uint64_t)4096)

#define WINDOW_ROOM (WINDOW_DIRECT + 2 * PAGE)

/* The file's records are not where equal lengths would have them. */
enum { UNEQUAL = 1 };

typedef struct scratch {
	unsigned char *window; /* WINDOW_ROOM */
	dlf_feature *features;
	size_t n_features;
} scratch;

typedef struct reading {
	dlf_task *task;
	scratch *scratch;
	dlf_record_file source;
	uint64_t large_at;     /* where the data of the large record at hand begin */
} reading;

static void free_scratch(void *ptr)
{
	scratch *s = ptr;

	if (s->window)
		munmap(s->window, WINDOW_ROOM);
	free(s->features);
	free(s);
}

static int no_memory(dlf_fault *fault, uint64_t offset)
{
	return dlf_fail(fault, -ENOMEM, offset, "out of memory");
}

static int get_scratch(reading *r, dlf_fault *fault)
{
	size_t n = r->task->plan->n_fields;
	scratch *s = dlf_task_scratch(r->task, sizeof(*s), free_scratch);

	if (!s)
		return no_memory(fault, 0);
	if (!s->window)
		s->window = dlf_map(WINDOW_ROOM);
	if (s->n_features < n) {
		free(s->features);
		s->features = calloc(n, sizeof(*s->features));
		s->n_features = s->features ? n : 0;
	}
	r->scratch = s;
	return s->window && s->features ? 0 : no_memory(fault, 0);
}

static int check_header(const reading *r, const unsigned char *head, dlf_span span,
			dlf_fault *fault)
{
	uint64_t length;
	int rc = dlf_record_length(head, span.from, &length, fault);

	if (!rc && length == span.to - span.from - DLF_RECORD_FRAME)
		return 0;
	if (!r->source.records)
		return UNEQUAL;
	if (rc)
		return rc;
	return r->source.records->found == DLF_RECORDS_INDEXED
		       ? dlf_records_disagree(span.from, fault)
		       : dlf_fail(fault, DLF_ECHANGED, span.from,
				  "the file has changed since its records were "
				  "looked up");
}

/* ---- records that are read whole ---- */

static int put_whole(reading *r, size_t i, const unsigned char *head, dlf_span span,
		     dlf_fault *fault)
{
	uint64_t n = span.to - span.from - DLF_RECORD_FRAME;
	const unsigned char *data = head + DLF_RECORD_HEAD;
	dlf_record record = {
		.bytes = {.size = n, .head = data, .head_size = n},
		.start = span.from + DLF_RECORD_HEAD,
		.crc_stored = dlf_record_u32(data + n),
	};
	int rc = check_header(r, head, span, fault);

	return rc ? rc
		  : dlf_record_put_sample(r->task, &r->task->places[i], &record,
					  r->scratch->features, fault);
}

static int is_at_hand(const reading *r, dlf_span span)
{
	return span.from >= r->source.from && span.to <= r->source.to;
}

static int put_at_hand(reading *r, size_t i, dlf_span span, dlf_fault *fault)
{
	return put_whole(r, i, r->source.data + (span.from - r->source.from), span,
			 fault);
}

static uint64_t window_size(const reading *r)
{
	return r->source.file.direct ? WINDOW_DIRECT : WINDOW_BUFFERED;
}

/* Widen a range to what O_DIRECT can read straight into aligned memory. */
static dlf_span widened(const reading *r, dlf_span span)
{
	uint64_t to = (span.to + PAGE - 1) / PAGE * PAGE;

	if (!r->source.file.direct)
		return span;
	return (dlf_span){span.from - span.from % PAGE,
			  to < r->source.file.size ? to : r->source.file.size};
}

/* Read the record of place i and, with it, those of the places behind it that are
 * near. */
static int load_window(reading *r, size_t i, dlf_span span, dlf_fault *fault)
{
	uint64_t most = span.from + window_size(r);

	for (size_t j = i + 1; j < r->task->count; j++) {
		dlf_span next = dlf_record_file_extent(&r->source, j);
		if (next.to > most || next.from > span.to + GAP)
			break;
		span.to = next.to;
	}
	span = widened(r, span);
	/* where the kernel copies fastest, and O_DIRECT needs no detour */
	unsigned char *dst = r->scratch->window + span.from % PAGE;
	int rc = dlf_record_file_read(&r->source, span.from, span.to, dst,
				      fault);
	r->source.data = dst;
	r->source.from = span.from;
	r->source.to = rc ? span.from : span.to;
	return rc;
}

/* ---- records that are larger than the window ---- */

static int put_from_buffer(reading *r, size_t i, dlf_span span, dlf_fault *fault)
{
	dlf_span wide = widened(r, span);
	size_t skip = wide.from % PAGE;
	dlf_buf *buf;
	int rc = dlf_memory_get(&r->task->memory, skip + wide.to - wide.from, &buf);

	if (rc)
		return dlf_fail(fault, rc, span.from, "out of memory");
	rc = dlf_record_file_read(&r->source, wide.from, wide.to,
				  buf->data + skip, fault);
	if (!rc)
		rc = put_whole(r, i, buf->data + skip + (span.from - wide.from),
			       span, fault);
	dlf_memory_put(&r->task->memory, buf);
	return rc;
}

static int read_middle(void *ctx, dlf_span span, void *dst, uint32_t *crc,
		       dlf_fault *fault)
{
	reading *r = ctx;

	return dlf_file_read_crc32c(&r->source.file, &r->task->worker->io,
				    r->large_at + span.from, dst,
				    span.to - span.from, crc, fault);
}

/* Its two ends, and then what lies between them straight to the batch. */
static int put_by_ends(reading *r, size_t i, dlf_span span, dlf_fault *fault)
{
	const size_t head_size = DLF_RECORD_HEAD + ENDS, tail_size = ENDS + 4;
	unsigned char *head = r->scratch->window, *tail = head + 2 * PAGE;
	uint64_t n = span.to - span.from - DLF_RECORD_FRAME;
	int rc = dlf_record_file_read(&r->source, span.from,
				      span.from + head_size, head, fault);

	r->source.to = r->source.from; /* the window is used otherwise */
	if (!rc)
		rc = check_header(r, head, span, fault);
	if (!rc)
		rc = dlf_record_file_read(&r->source, span.to - tail_size,
					  span.to, tail, fault);
	if (rc)
		return rc;
	r->large_at = span.from + DLF_RECORD_HEAD;
	dlf_record record = {
		.bytes = {.size = n,
			  .head = head + DLF_RECORD_HEAD,
			  .head_size = ENDS,
			  .tail = tail,
			  .tail_from = n - ENDS},
		.start = r->large_at,
		.crc_stored = dlf_record_u32(tail + ENDS),
		.read = read_middle,
		.ctx = r,
	};
	return dlf_record_put_sample(r->task, &r->task->places[i], &record,
				     r->scratch->features, fault);
}

/* ---- all ---- */

static int put_sample(reading *r, size_t i, dlf_fault *fault)
{
	dlf_span span = dlf_record_file_extent(&r->source, i);
	int rc = 0;

	if (is_at_hand(r, span))
		return put_at_hand(r, i, span, fault);
	if (span.to - span.from <= window_size(r)) {
		rc = load_window(r, i, span, fault);
		return rc ? rc : put_at_hand(r, i, span, fault);
	}
	if (r->source.file.direct) /* one large read, not three */
		return put_from_buffer(r, i, span, fault);
	rc = put_by_ends(r, i, span, fault);
	return rc == DLF_EMORE ? put_from_buffer(r, i, span, fault) : rc;
}

static int put_samples(reading *r, dlf_fault *fault)
{
	int rc = get_scratch(r, fault);

	if (!rc)
		rc = dlf_record_file_open(&r->source, r->task, fault);
	for (size_t i = 0; i < r->task->count && !rc; i++) {
		rc = put_sample(r, i, fault);
		if (rc == UNEQUAL)
			rc = dlf_record_file_learn(&r->source, fault);
		else
			continue;
		if (!rc)
			rc = put_sample(r, i, fault);
	}
	return rc;
}

static int read_tfrecord(dlf_task *task, dlf_fault *fault)
{
	reading r = {.task = task};
	int rc = put_samples(&r, fault);

	/* Where no checksum vouches for the bytes, the file's own times must. */
	if (!rc && r.source.opened && !task->plan->verify)
		rc = dlf_file_check_unchanged(&r.source.file, fault);
	dlf_record_file_close(&r.source);
	return rc;
}

const dlf_container dlf_tfrecord_container = {"tfrecord", 1, read_tfrecord, NULL};
