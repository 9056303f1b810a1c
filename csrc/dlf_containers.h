/* SPDX-License-Identifier: Apache-2.0
 *
 * The containers there are.
 */
#ifndef DLF_CONTAINERS_H
#define DLF_CONTAINERS_H

#include "dlf_task.h"

/* NULL: there is none of that name. */
const dlf_container *dlf_container_named(const char *name);

#endif
