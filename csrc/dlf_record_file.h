/* SPDX-License-Identifier: Apache-2.0
 *
 * The TFRecord file of a task: where its records lie, and, where it is compressed,
 * what it unpacks to.
 */
#ifndef DLF_RECORD_FILE_H
#define DLF_RECORD_FILE_H

#include "dlf_example.h"
#include "dlf_record.h"
#include "dlf_task.h"

typedef struct dlf_record_file {
	dlf_task *task;
	dlf_file file;
	int opened;
	const dlf_records *records; /* NULL: they are taken to be of one length */
	/* Bytes of the file, or of what it unpacks to, that are in memory. */
	const unsigned char *data;
	uint64_t from, to;
	dlf_cache_entry *entry;     /* holds what was unpacked, */
	dlf_buf *unpacked;          /* or this does, */
	dlf_memory memory;          /* of which it is */
} dlf_record_file;

/* Open the task's file; well or not, it is to be closed.  Where its size allows it,
 * its records are taken to be of one length. */
int dlf_record_file_open(dlf_record_file *r, dlf_task *task, dlf_fault *fault);

/* They are not: look them up, and remember them with the plan. */
int dlf_record_file_learn(dlf_record_file *r, dlf_fault *fault);

/* Where the record of the task's i-th place lies. */
dlf_span dlf_record_file_extent(const dlf_record_file *r, size_t i);

int dlf_record_file_read(dlf_record_file *r, uint64_t from, uint64_t to,
			 unsigned char *dst, dlf_fault *fault);

void dlf_record_file_close(dlf_record_file *r);

#endif
