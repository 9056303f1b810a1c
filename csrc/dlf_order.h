/* SPDX-License-Identifier: Apache-2.0
 *
 * The order of an epoch: which sample stands at a position, a pure function of
 * (seed, epoch) that is computed in O(1) for each position and needs no table.
 *
 * Sample s of file f has the number f * samples_per_file + s.
 */
#ifndef DLF_ORDER_H
#define DLF_ORDER_H

#include <stddef.h>
#include <stdint.h>

enum dlf_order_kind {
	DLF_ORDER_SEQUENTIAL, /* as the files hold them */
	DLF_ORDER_GLOBAL,     /* all samples shuffled with one another */
	DLF_ORDER_FILES,      /* files shuffled, samples within a window of them */
	DLF_ORDER_WINDOW      /* files in turn, samples within a window of them */
};

typedef struct dlf_order {
	enum dlf_order_kind kind;
	uint64_t n_files;          /* n_files * samples_per_file <= 2^62 */
	uint64_t samples_per_file; /* at least 1 */
	uint64_t window_files;     /* a window: so many consecutive files, whose
				    * samples are shuffled with one another;
				    * 0: samples stay in the order of their file */
	uint64_t seed, epoch;
} dlf_order;

/* ids[k], a position in [0, n_files * samples_per_file), becomes the number of the
 * sample that stands there. */
void dlf_order_at(const dlf_order *order, int64_t *ids, size_t count);

/* A share of the files that is the same in every epoch: of ids that count the
 * samples of `rank`'s own files, make numbers of samples.  File k of a rank is where
 * k * world_size + rank (modulo the number of files) lands in one fixed shuffle. */
void dlf_order_own_files(uint64_t n_files, uint64_t samples_per_file,
			 uint64_t rank, uint64_t world_size, int64_t *ids,
			 size_t count);

#endif
