/* SPDX-License-Identifier: Apache-2.0
 *
 * An HTTP store's objects, as dlf_store has them.
 *
 * A thread keeps a window, the bytes around its last small read, and one response
 * that it reads as it arrives (will_read).  Without either, a read is a request of
 * its own; a long one is several at once.
 */
#ifndef DLF_OBJECT_H
#define DLF_OBJECT_H

#include "dlf_store.h"

#define DLF_OBJECT_STREAM_MOST (((uint64_t)16 << 20) - 1)

extern const dlf_store_ops dlf_object_ops;

#endif
