/* SPDX-License-Identifier: Apache-2.0
 *
 * Data files that a worker keeps open from one task to the next, where opening a
 * file costs more than reading a sample.
 *
 * Bounded: all keepers together leave three quarters of the files that the process
 * may have open alone.
 */
#ifndef DLF_KEEPER_H
#define DLF_KEEPER_H

#include "dlf_task.h"

#define DLF_KEEPER_SLOTS 256

typedef struct dlf_kept {
	dlf_file file;
	uint64_t plan;       /* its serial; 0: nothing is here */
	uint64_t number;     /* of the file in the plan */
} dlf_kept;

typedef struct dlf_keeper {
	dlf_kept slots[DLF_KEEPER_SLOTS]; /* all is zero to begin with */
	int64_t most;        /* files that this process is to have open */
} dlf_keeper;

/* The data file of a task.  *reused tells that it was opened by an earlier task:
 * what lies at its path may be another file by now.  A failure drops nothing. */
int dlf_keeper_open(dlf_keeper *keeper, dlf_task *task, dlf_kept **kept,
		    int *reused, dlf_fault *fault);

/* Is the file still what it was when it was opened, and has a name? */
int dlf_kept_is_current(const dlf_kept *kept);

/* The task is through with it: keep it for another, if there is room. */
void dlf_keeper_put(dlf_keeper *keeper, dlf_kept *kept);

void dlf_keeper_drop(dlf_kept *kept);
void dlf_keeper_free(dlf_keeper *keeper);

#endif
