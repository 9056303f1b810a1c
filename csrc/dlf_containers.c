/* SPDX-License-Identifier: Apache-2.0 */
#include "dlf_containers.h"

#include <string.h>

#include "dlf_archive.h"
#include "dlf_indexed.h"
#include "dlf_tfrecord.h"
#include "dlf_hdf5.h"

static const dlf_container *const containers[] = {
	&dlf_npy_container,
	&dlf_npz_container,
	&dlf_indexed_container,
	&dlf_tfrecord_container,
	&dlf_hdf5_container,
	&dlf_maker_container,
};

const dlf_container *dlf_container_named(const char *name)
{
	for (size_t i = 0; i < sizeof(containers) / sizeof(*containers); i++)
		if (!strcmp(containers[i]->name, name))
			return containers[i];
	return NULL;
}
