/* SPDX-License-Identifier: Apache-2.0 */
#include "dlf_order.h"

#include "dlf_permute.h"

/* Apart from the shuffle of the files each window has one of its own. */
#define WINDOW_STEP 0xa0761d6478bd642fu

/* Of the fixed shuffle that deals files out to ranks: any constant. */
#define OWNER_SEED 0x2545f4914f6cdd1du

static void shuffle_globally(const dlf_order *order, int64_t *ids, size_t count)
{
	dlf_permutation p;

	dlf_permutation_init(&p, order->n_files * order->samples_per_file,
			     order->seed, order->epoch);
	for (size_t k = 0; k < count; k++)
		ids[k] = (int64_t)dlf_permutation_at(&p, (uint64_t)ids[k]);
}

static void shuffle_in_windows(const dlf_order *order, int64_t *ids,
			       size_t count)
{
	const uint64_t per_file = order->samples_per_file;
	const uint64_t n = order->n_files * per_file;
	const uint64_t span = order->window_files < order->n_files
				      ? order->window_files * per_file
				      : n;
	dlf_permutation files, window;
	uint64_t current = UINT64_MAX;

	dlf_permutation_init(&files, order->n_files, order->seed, order->epoch);
	for (size_t k = 0; k < count; k++) {
		uint64_t position = (uint64_t)ids[k];

		if (span) {
			uint64_t number = position / span;
			uint64_t begin = number * span;
			if (number != current) {
				uint64_t size = n - begin < span ? n - begin : span;
				dlf_permutation_init(
					&window, size,
					order->seed + WINDOW_STEP * (number + 1),
					order->epoch);
				current = number;
			}
			position = begin + dlf_permutation_at(&window,
							      position - begin);
		}
		if (order->kind == DLF_ORDER_FILES)
			position = dlf_permutation_at(&files,
						      position / per_file) *
					   per_file +
				   position % per_file;
		ids[k] = (int64_t)position;
	}
}

void dlf_order_at(const dlf_order *order, int64_t *ids, size_t count)
{
	if (!count || order->kind == DLF_ORDER_SEQUENTIAL)
		return;
	if (order->kind == DLF_ORDER_GLOBAL)
		shuffle_globally(order, ids, count);
	else
		shuffle_in_windows(order, ids, count);
}

void dlf_order_own_files(uint64_t n_files, uint64_t samples_per_file,
			 uint64_t rank, uint64_t world_size, int64_t *ids,
			 size_t count)
{
	dlf_permutation owners;

	if (!count)
		return;
	dlf_permutation_init(&owners, n_files, OWNER_SEED, 0);
	for (size_t k = 0; k < count; k++) {
		uint64_t own = (uint64_t)ids[k] / samples_per_file;
		uint64_t file = dlf_permutation_at(
			&owners, (own * world_size + rank) % n_files);

		ids[k] = (int64_t)(file * samples_per_file +
				   (uint64_t)ids[k] % samples_per_file);
	}
}
