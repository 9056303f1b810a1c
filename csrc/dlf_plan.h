/* SPDX-License-Identifier: Apache-2.0
 *
 * What a data set's samples are read from and what they must look like, as its
 * first file has them.
 */
#ifndef DLF_PLAN_H
#define DLF_PLAN_H

#include <stdatomic.h>

#include "dlf_file.h"
#include "dlf_gather.h"
#include "dlf_npy.h"

/* One array of a sample, as the first file of the data set has it. */
typedef struct dlf_field {
	const char *member;     /* archive member ("x.npy"); unused for NPY */
	size_t member_len;
	const char *descr;      /* dtype literal as in the header */
	size_t descr_len;
	uint64_t itemsize;
	int ndim;               /* of a sample */
	uint64_t shape[DLF_NPY_MAX_DIMS];
	size_t sample_bytes;
} dlf_field;

/* How samples come out of the files of a format; see dlf_task.h. */
typedef struct dlf_container dlf_container;
struct dlf_task;

/* What a container remembers of a file, say where its samples lie.  Begins its own
 * structure. */
typedef struct dlf_table {
	void (*free)(struct dlf_table *table);
} dlf_table;

/* What to read and how; everything it points to belongs to its maker and must
 * outlive every batch made from it. */
typedef struct dlf_plan {
	const dlf_container *container;
	int direct;
	int verify;              /* check stored checksums */
	int ragged;              /* sizes differ: every sample gets its own buffer */
	int has_axis;            /* else the whole array is one sample */
	int axis;                /* negative counts from the last */
	uint64_t samples_per_file;
	const char *root;        /* path of file i: root + names + offsets[i] */
	const char *names;
	const uint64_t *offsets;
	uint64_t n_files;
	dlf_store *store;        /* where the paths lead; NULL: they are local */
	const uint64_t *sizes;   /* of the files, in bytes, and */
	const uint64_t *versions; /* their versions, where known; else NULL */
	const dlf_field *fields;
	size_t n_fields;
	/* Of the files that were read: [n_files], made by dlf_plan_new_tables
	 * where the container keeps any, else NULL. */
	_Atomic(dlf_table *) *tables;
	/* With the tables: tells the plan from others, also from one that was at
	 * its address before.  0: there are no tables. */
	uint64_t serial;
	/* For a container that does not know how: the maker's own way to read the
	 * samples of a task, and to learn the table of a file. */
	int (*read)(struct dlf_task *task, dlf_fault *fault);
	int (*learn)(struct dlf_task *task, dlf_table **table, dlf_fault *fault);
	void *maker;
} dlf_plan;

/* Memory that the arrays of a file like the first one take whole, in buffers of a
 * pool; SIZE_MAX where that is beyond all sizes. */
size_t dlf_plan_file_bytes(const dlf_plan *plan);

/* The path of a file into path[PATH_MAX]. */
int dlf_plan_path(const dlf_plan *plan, uint64_t file, char *path,
		  dlf_fault *fault);

/* Open a file. */
int dlf_plan_open(const dlf_plan *plan, uint64_t file, dlf_io *io, dlf_file *out,
		  dlf_fault *fault);

/* The table of a file; NULL: not known yet. */
dlf_table *dlf_plan_table(const dlf_plan *plan, uint64_t file);

/* Keep a table, which is the plan's from now on.  Returns the one to use: where
 * another thread was faster, that one's, and the other is freed. */
dlf_table *dlf_plan_set_table(const dlf_plan *plan, uint64_t file,
			      dlf_table *table);

int dlf_plan_new_tables(dlf_plan *plan);
void dlf_plan_free_tables(dlf_plan *plan);

/* What a sample of the plan looks like. */
void dlf_plan_sample(const dlf_plan *plan, size_t field, dlf_layout *layout);

/* How the samples lie in the array of that field whose header is npy, and which
 * begins at byte `start` of its file.  DLF_ESAMPLE: they are not what the plan can
 * deliver. */
int dlf_plan_layout(const dlf_plan *plan, size_t field, const dlf_npy *npy,
		    uint64_t start, dlf_layout *layout, dlf_fault *fault);

#endif
