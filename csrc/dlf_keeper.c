/* SPDX-License-Identifier: Apache-2.0 */
#include "dlf_keeper.h"

#include <errno.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "dlf_counters.h"

static int64_t most_open(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur == RLIM_INFINITY ||
	    limit.rlim_cur > 1 << 20)
		return 1 << 18;
	return (int64_t)(limit.rlim_cur / 4);
}

int dlf_keeper_open(dlf_keeper *keeper, dlf_task *task, dlf_kept **out,
		    int *reused, dlf_fault *fault)
{
	dlf_kept *kept = &keeper->slots[task->file % DLF_KEEPER_SLOTS];
	dlf_io *io = &task->worker->io;

	if (!keeper->most)
		keeper->most = most_open();
	*out = kept;
	*reused = kept->plan == task->plan->serial && kept->number == task->file;
	if (*reused)
		return 0;
	dlf_keeper_drop(kept);
	int rc = dlf_plan_open(task->plan, task->file, io, &kept->file, fault);
	if (rc == -EMFILE || rc == -ENFILE) {
		dlf_keeper_free(keeper);
		rc = dlf_plan_open(task->plan, task->file, io, &kept->file, fault);
	}
	if (rc)
		return rc;
	kept->plan = task->plan->serial;
	kept->number = task->file;
	return 0;
}

int dlf_kept_is_current(const dlf_kept *kept)
{
	struct stat st;

	if (kept->file.object) /* whose every read sees to it */
		return 1;
	if (fstat(kept->file.fd, &st) || !st.st_nlink)
		return 0;
	return kept->file.cached ||
	       ((uint64_t)st.st_size == kept->file.size &&
		st.st_mtim.tv_sec == kept->file.mtime_sec &&
		st.st_mtim.tv_nsec == (long)kept->file.mtime_nsec);
}

void dlf_keeper_put(dlf_keeper *keeper, dlf_kept *kept)
{
	if (dlf_counted(DLF_COUNT_OPEN_FILES) > keeper->most)
		dlf_keeper_drop(kept);
}

void dlf_keeper_drop(dlf_kept *kept)
{
	if (kept->plan)
		dlf_file_close(&kept->file);
	kept->plan = 0;
}

void dlf_keeper_free(dlf_keeper *keeper)
{
	for (int i = 0; i < DLF_KEEPER_SLOTS; i++)
		dlf_keeper_drop(&keeper->slots[i]);
}
