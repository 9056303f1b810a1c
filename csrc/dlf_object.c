/* SPDX-License-Identifier: Apache-2.0 */
#include "dlf_object.h"

#ifdef DLF_HAVE_OPENSSL

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dlf_fetch.h"
#include "dlf_file.h"
#include "dlf_pool.h"

/* What is fetched to learn an object's size, or for a small read. */
#define WINDOW ((uint64_t)64 << 10)
/* An object up to this size is fetched whole for a small read. */
#define WINDOW_MOST ((uint64_t)256 << 10)
/* A read shorter than this is likely a header's, beside more of its kind: the
 * request costs more than the bytes around. */
#define SMALL_READ ((size_t)16 << 10)
/* Gaps in a stream that are received and thrown away. */
#define GAP_MOST ((uint64_t)64 << 10)
#define PART ((size_t)8 << 20)
#define PARTS 8
#define PATH_MAX_ENCODED ((size_t)4 << 10)

typedef struct object {
	dlf_object base; /* first */
	dlf_known known;
	uint64_t serial; /* tells objects apart that lie at the same address */
	char path[];
} object;

typedef struct range {
	uint64_t of; /* an object's serial; 0: nothing */
	uint64_t at, end;
} range;

/* Bytes of an object that are at hand. */
typedef struct window {
	range is;
	unsigned char *memory;
} window;

/* What a thread keeps. */
typedef struct kept {
	window small;  /* WINDOW_MOST bytes: around the latest small read */
	window head;   /* WINDOW bytes: the beginning of the stream, which headers are
			* in, and payloads that begin behind them */
	range advice, streamed; /* streamed.of alone is used */
	dlf_fetch *stream;
	dlf_fetch *parts[PARTS];
} kept;

static kept *kept_of(dlf_io *io)
{
	kept *k = io->kept;

	if (k)
		return k;
	k = calloc(1, sizeof(*k));
	if (!k)
		return NULL;
	k->small.memory = malloc(WINDOW_MOST);
	k->head.memory = malloc(WINDOW);
	k->stream = calloc(1, sizeof(*k->stream));
	k->parts[0] = calloc(1, sizeof(*k->parts[0]));
	io->kept = k;
	if (k->small.memory && k->head.memory && k->stream && k->parts[0])
		return k;
	dlf_object_ops.leave(io->store, io);
	return NULL;
}

static void end_stream(kept *k, dlf_io *io)
{
	if (k->streamed.of)
		dlf_fetch_end(k->stream, io);
	k->streamed.of = 0;
}

static void leave(dlf_store *store, dlf_io *io)
{
	const dlf_http *http = (const dlf_http *)store;
	kept *k = io->kept;

	if (!k)
		return;
	/* A parent's connection is the parent's to give back. */
	if (k->stream && http->generation == dlf_fork_generation())
		end_stream(k, io);
	for (int i = 0; i < PARTS; i++)
		free(k->parts[i]);
	free(k->stream);
	free(k->small.memory);
	free(k->head.memory);
	free(k);
	io->kept = NULL;
}

static int run_one(dlf_fetch *fetch, dlf_io *io, dlf_fault *fault)
{
	int rc = dlf_fetch_run(&fetch, 1, io, fault);

	if (rc)
		dlf_fetch_end(fetch, io);
	return rc;
}

/* Fetch to the window; the object's size may not be known yet. */
static int fill_window(object *o, kept *k, dlf_io *io, uint64_t at, uint64_t end,
		       dlf_fault *fault)
{
	dlf_fetch *fetch = k->parts[0];

	k->small.is.of = 0;
	dlf_fetch_begin(fetch, (dlf_http *)o->base.store, o->path, &o->known, at,
			end);
	fetch->dst = k->small.memory;
	if (o->known.size != DLF_LENGTH_UNKNOWN)
		fetch->want = end - at;
	int rc = run_one(fetch, io, fault);
	if (!rc)
		k->small.is = (range){o->serial, at, fetch->end};
	return rc;
}

static int open_object(dlf_store *store, dlf_io *io, const char *address,
		       const dlf_hint *hint, dlf_object **out, dlf_fault *fault)
{
	static atomic_uint_least64_t serial;
	const dlf_http *http = (const dlf_http *)store;
	char path[PATH_MAX_ENCODED];
	dlf_text text = {.data = path, .cap = sizeof(path)};

	path[0] = '\0';
	int rc = dlf_http_usable(http, fault);
	if (!rc)
		rc = dlf_http_path(http, address, &text, fault);
	if (rc)
		return rc;
	kept *k = kept_of(io);
	object *o = malloc(sizeof(*o) + text.len + 1);
	if (!o || !k) {
		free(o);
		return dlf_fail(fault, -ENOMEM, 0, "out of memory");
	}
	memcpy(o->path, path, text.len + 1);
	o->base.store = store;
	o->known = (dlf_known){hint->size, hint->version};
	o->serial = atomic_fetch_add(&serial, 1) + 1;
	if (hint->size == UINT64_MAX) {
		rc = fill_window(o, k, io, 0, WINDOW, fault);
		if (rc) {
			free(o);
			return rc;
		}
	}
	o->base.size = o->known.size;
	o->base.version = o->known.version;
	io->stats.files++;
	*out = &o->base;
	return 0;
}

/* As much of the range as the window has from its beginning on. */
static size_t from_window(const object *o, const window *w, uint64_t offset,
			  unsigned char *dst, size_t len)
{
	if (w->is.of != o->serial || offset < w->is.at || offset >= w->is.end)
		return 0;
	if (len > w->is.end - offset)
		len = w->is.end - offset;
	memcpy(dst, w->memory + (offset - w->is.at), len);
	return len;
}

static int from_stream(kept *k, dlf_io *io, uint64_t offset, unsigned char *dst,
		       size_t len, dlf_fault *fault)
{
	dlf_fetch *stream = k->stream;
	int rc = 0;

	stream->dst = NULL;
	stream->want = offset - stream->at;
	if (stream->want)
		rc = dlf_fetch_run(&stream, 1, io, fault);
	stream->dst = dst;
	stream->want = len;
	if (!rc)
		rc = dlf_fetch_run(&stream, 1, io, fault);
	if (rc || stream->at == stream->end)
		end_stream(k, io);
	return rc;
}

static int inside(const range *r, const object *o, uint64_t offset, uint64_t len)
{
	return r->of == o->serial && offset >= r->at && offset <= r->end &&
	       len <= r->end - offset;
}

/* Is the range the stream's to come? */
static int streams(const object *o, const kept *k, uint64_t offset, size_t len)
{
	const dlf_fetch *stream = k->stream;

	return k->streamed.of == o->serial && offset >= stream->at &&
	       offset - stream->at <= GAP_MOST && offset <= stream->end &&
	       len <= stream->end - offset;
}

/* Begin a stream over what was announced; a small read is a header's, and behind it
 * another may well read some of its bytes again. */
static int begin_stream(object *o, kept *k, dlf_io *io, uint64_t offset,
			unsigned char *dst, size_t len, dlf_fault *fault)
{
	uint64_t left = k->advice.end - offset;
	size_t ahead = left < WINDOW ? left : WINDOW;

	end_stream(k, io);
	dlf_fetch_begin(k->stream, (dlf_http *)o->base.store, o->path, &o->known,
			offset, k->advice.end);
	k->streamed.of = o->serial;
	if (len >= SMALL_READ)
		return from_stream(k, io, offset, dst, len, fault);
	k->head.is.of = 0;
	int rc = from_stream(k, io, offset, k->head.memory, ahead, fault);
	if (rc)
		return rc;
	k->head.is = (range){o->serial, offset, offset + ahead};
	memcpy(dst, k->head.memory, len);
	return 0;
}

static int read_small(object *o, kept *k, dlf_io *io, uint64_t offset,
		      unsigned char *dst, size_t len, dlf_fault *fault)
{
	uint64_t size = o->known.size, at = offset, end;

	if (size <= WINDOW_MOST) {
		at = 0;
		end = size;
	} else if (size - offset < WINDOW) {
		end = size; /* formats with a directory at the end read backwards */
		at = size - WINDOW;
	} else {
		end = offset + WINDOW;
	}
	int rc = fill_window(o, k, io, at, end, fault);
	if (!rc)
		from_window(o, &k->small, offset, dst, len);
	return rc;
}

/* One request, or several parts at once. */
static int read_exact(object *o, kept *k, dlf_io *io, uint64_t offset,
		      unsigned char *dst, size_t len, dlf_fault *fault)
{
	size_t near = (len + PART / 2) / PART;
	size_t parts = len < 2 * PART ? 1 : near > PARTS ? PARTS : near;
	size_t share = (len + parts - 1) / parts;
	int rc = 0;

	for (size_t i = 0; i < parts; i++) {
		if (!k->parts[i])
			k->parts[i] = calloc(1, sizeof(*k->parts[i]));
		if (!k->parts[i])
			return dlf_fail(fault, -ENOMEM, offset, "out of memory");
	}
	for (size_t i = 0; i < parts; i++) {
		dlf_fetch *part = k->parts[i];
		size_t skip = i * share;
		size_t n = len - skip < share ? len - skip : share;
		dlf_fetch_begin(part, (dlf_http *)o->base.store, o->path, &o->known,
				offset + skip, offset + skip + n);
		part->dst = dst + skip;
		part->want = n;
	}
	rc = dlf_fetch_run(k->parts, parts, io, fault);
	for (size_t i = 0; i < parts; i++)
		dlf_fetch_end(k->parts[i], io);
	return rc;
}

static int read_object(dlf_object *base, dlf_io *io, uint64_t offset, void *dst,
		       size_t len, dlf_fault *fault)
{
	object *o = (object *)base;
	unsigned char *to = dst;
	int rc = dlf_http_usable((const dlf_http *)base->store, fault);

	if (rc)
		return rc;
	if (offset > o->known.size || len > o->known.size - offset)
		return dlf_fail(fault, DLF_ETRUNCATED, o->known.size,
				"the object ends before the range asked for");
	kept *k = kept_of(io);
	if (!k)
		return dlf_fail(fault, -ENOMEM, offset, "out of memory");
	const window *windows[] = {&k->small, &k->head};
	for (int i = 0; i < 2; i++) {
		size_t had = from_window(o, windows[i], offset, to, len);
		offset += had;
		to += had;
		len -= had;
	}
	if (!len)
		return 0;
	if (streams(o, k, offset, len))
		return from_stream(k, io, offset, to, len, fault);
	if (inside(&k->advice, o, offset, len))
		return begin_stream(o, k, io, offset, to, len, fault);
	end_stream(k, io);
	if (len < SMALL_READ && len < o->known.size)
		return read_small(o, k, io, offset, to, len, fault);
	return read_exact(o, k, io, offset, to, len, fault);
}

static void will_read(dlf_object *base, dlf_io *io, uint64_t offset, uint64_t len)
{
	object *o = (object *)base;
	kept *k = kept_of(io);

	if (!k || inside(&k->advice, o, offset, len))
		return;
	k->advice = (range){o->serial, offset, offset + len};
}

static void close_object(dlf_object *base, dlf_io *io)
{
	const dlf_http *http = (const dlf_http *)base->store;
	object *o = (object *)base;
	kept *k = io->kept;

	if (k && k->streamed.of == o->serial &&
	    http->generation == dlf_fork_generation())
		end_stream(k, io);
	free(o);
}

const dlf_store_ops dlf_object_ops = {
	.open = open_object,
	.read = read_object,
	.will_read = will_read,
	.close = close_object,
	.leave = leave,
};

#endif
