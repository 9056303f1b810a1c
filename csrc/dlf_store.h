/* SPDX-License-Identifier: Apache-2.0
 *
 * Files that are no local files: objects of a store, read through dlf_file like any
 * other.  A store is safe to use from all threads; an object and a dlf_io belong to
 * one thread at a time.
 */
#ifndef DLF_STORE_H
#define DLF_STORE_H

#include <stddef.h>
#include <stdint.h>

#include "dlf_error.h"

struct dlf_io;
struct dlf_file;
typedef struct dlf_store dlf_store;
typedef struct dlf_object dlf_object;

/* What is known of an object before it is opened, say from a listing. */
typedef struct dlf_hint {
	uint64_t size;    /* UINT64_MAX: not known */
	uint64_t version; /* dlf_store_version of its ETag; 0: not known */
} dlf_hint;

typedef struct dlf_store_ops {
	/* Open what lies at the address; with the size known, without a request.
	 * -ENOENT, -EACCES, -ETIMEDOUT and the like, DLF_ESTORE. */
	int (*open)(dlf_store *store, struct dlf_io *io, const char *address,
		    const dlf_hint *hint, dlf_object **out, dlf_fault *fault);
	/* Exactly these bytes, which lie inside the object, to dst; to be read in
	 * pieces of any size.  DLF_ECHANGED: it is another object by now. */
	int (*read)(dlf_object *object, struct dlf_io *io, uint64_t offset,
		    void *dst, size_t len, dlf_fault *fault);
	/* The range will be read from its beginning to its end, in pieces, maybe
	 * with small gaps: ask for it at once.  Advice, which changes nothing inside
	 * a range that was announced before; may be NULL. */
	void (*will_read)(dlf_object *object, struct dlf_io *io, uint64_t offset,
			  uint64_t len);
	/* DLF_ECHANGED if it is not what was opened; NULL: each read has seen to
	 * that. */
	int (*check_unchanged)(dlf_object *object, struct dlf_io *io,
			       dlf_fault *fault);
	void (*close)(dlf_object *object, struct dlf_io *io);
	/* A thread ends: let go of what the store keeps for it in io->kept; may be
	 * NULL. */
	void (*leave)(dlf_store *store, struct dlf_io *io);
	/* Instead of open, for a store that finds its objects elsewhere: fill in the
	 * file, with an object of another store or a local copy; may be NULL. */
	int (*open_file)(dlf_store *store, struct dlf_io *io, const char *address,
			 const dlf_hint *hint, struct dlf_file *file,
			 dlf_fault *fault);
} dlf_store_ops;

/* Begins a store's own structure. */
struct dlf_store {
	const dlf_store_ops *ops;
	/* Ranges up to this are well read in pieces, if they were announced; longer
	 * ones better by a single call, which brings their parts at once. */
	uint64_t stream_most;
};

/* Begins an object's own structure. */
struct dlf_object {
	dlf_store *store;
	uint64_t size;
	uint64_t version; /* 0: the store tells none */
};

/* What stands for an ETag: a hash of it without quotes and the mark of a weak one;
 * never 0. */
uint64_t dlf_store_version(const char *etag, size_t len);

/* FNV-1a of 64 bits, continued. */
uint64_t dlf_store_hash(uint64_t hash, const char *data, size_t len);

#endif
