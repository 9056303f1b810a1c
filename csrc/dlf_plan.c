/* SPDX-License-Identifier: Apache-2.0 */
#include "dlf_plan.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "dlf_pool.h"
#include "dlf_task.h"

size_t dlf_plan_file_bytes(const dlf_plan *plan)
{
	size_t bytes = 0, array;

	for (size_t f = 0; f < plan->n_fields; f++)
		if (__builtin_mul_overflow(plan->fields[f].sample_bytes,
					   plan->samples_per_file, &array) ||
		    __builtin_add_overflow(bytes, dlf_pool_capacity(array),
					   &bytes))
			return SIZE_MAX;
	return bytes;
}

int dlf_plan_path(const dlf_plan *plan, uint64_t file, char *path,
		  dlf_fault *fault)
{
	int n = snprintf(path, PATH_MAX, "%s%s", plan->root,
			 plan->names + plan->offsets[file]);

	if (n < 0 || n >= PATH_MAX)
		return dlf_fail(fault, -ENAMETOOLONG, 0, "the path is too long");
	return 0;
}

int dlf_plan_open(const dlf_plan *plan, uint64_t file, dlf_io *io, dlf_file *out,
		  dlf_fault *fault)
{
	dlf_hint hint = {.size = plan->sizes ? plan->sizes[file] : UINT64_MAX,
			 .version = plan->versions ? plan->versions[file] : 0};
	char path[PATH_MAX];
	int rc = dlf_plan_path(plan, file, path, fault);

	return rc ? rc
		  : dlf_file_open_known(out, io, path,
					plan->direct ? DLF_OPEN_DIRECT : 0, &hint,
					fault);
}

dlf_table *dlf_plan_table(const dlf_plan *plan, uint64_t file)
{
	return plan->tables ? atomic_load(&plan->tables[file]) : NULL;
}

dlf_table *dlf_plan_set_table(const dlf_plan *plan, uint64_t file,
			      dlf_table *table)
{
	dlf_table *known = NULL;

	if (atomic_compare_exchange_strong(&plan->tables[file], &known, table))
		return table;
	table->free(table);
	return known;
}

int dlf_plan_new_tables(dlf_plan *plan)
{
	static atomic_uint_fast64_t plans;

	if (!plan->container->keeps_tables || !plan->n_files)
		return 0;
	plan->serial = atomic_fetch_add(&plans, 1) + 1;
	plan->tables = calloc(plan->n_files, sizeof(*plan->tables));
	return plan->tables ? 0 : -ENOMEM;
}

void dlf_plan_free_tables(dlf_plan *plan)
{
	for (uint64_t i = 0; plan->tables && i < plan->n_files; i++) {
		dlf_table *table = atomic_load(&plan->tables[i]);
		if (table)
			table->free(table);
	}
	free(plan->tables);
	plan->tables = NULL;
}

void dlf_plan_sample(const dlf_plan *plan, size_t field, dlf_layout *layout)
{
	const dlf_field *wanted = &plan->fields[field];

	*layout = (dlf_layout){
		.itemsize = wanted->itemsize,
		.axis = -1,
		.samples = plan->samples_per_file,
		.ndim = wanted->ndim,
		.sample_bytes = wanted->sample_bytes,
		.expected = 1,
	};
	memcpy(layout->shape, wanted->shape,
	       sizeof(*layout->shape) * (size_t)wanted->ndim);
	if (wanted->descr_len < DLF_DESCR_MAX) {
		layout->descr_len = wanted->descr_len;
		memcpy(layout->descr, wanted->descr, wanted->descr_len);
	}
}

static int settle_axis(const dlf_plan *plan, const dlf_npy *npy,
		       dlf_layout *layout, dlf_fault *fault)
{
	layout->axis = -1;
	layout->samples = 1;
	if (plan->has_axis) {
		int axis = plan->axis;
		if (axis < 0)
			axis += npy->ndim;
		if (axis < 0 || axis >= npy->ndim)
			return dlf_fail(fault, DLF_ESAMPLE, layout->start,
					"the array lacks the sample axis");
		layout->axis = axis;
		layout->samples = npy->shape[axis];
	}
	if (layout->samples != plan->samples_per_file)
		return dlf_fail(fault, DLF_ESAMPLE, layout->start,
				"the file holds another number of samples than "
				"the first file of the data set");
	return 0;
}

int dlf_plan_layout(const dlf_plan *plan, size_t field, const dlf_npy *npy,
		    uint64_t start, dlf_layout *layout, dlf_fault *fault)
{
	const dlf_field *wanted = &plan->fields[field];

	*layout = (dlf_layout){
		.start = start,
		.array_ndim = npy->ndim,
		.fortran_order = npy->fortran_order,
		.itemsize = npy->itemsize,
		.sample_bytes = npy->itemsize,
	};
	memcpy(layout->array_shape, npy->shape,
	       sizeof(*npy->shape) * (size_t)npy->ndim);
	int rc = settle_axis(plan, npy, layout, fault);
	if (rc)
		return rc;
	for (int d = 0; d < npy->ndim; d++) {
		if (d == layout->axis)
			continue;
		layout->shape[layout->ndim++] = npy->shape[d];
		layout->sample_bytes *= npy->shape[d];
	}
	int same_dtype = npy->descr_len == wanted->descr_len &&
			 !memcmp(npy->descr, wanted->descr, npy->descr_len);
	int short_descr = npy->descr_len < DLF_DESCR_MAX;
	if (!same_dtype && (npy->structured || !short_descr))
		return dlf_fail(fault, DLF_ESAMPLE, start,
				"the array's dtype differs from that of the "
				"first file of the data set");
	if (short_descr) {
		layout->descr_len = npy->descr_len;
		memcpy(layout->descr, npy->descr, npy->descr_len);
	}
	layout->expected = same_dtype && layout->ndim == wanted->ndim &&
			   !memcmp(layout->shape, wanted->shape,
				   sizeof(*layout->shape) *
					   (size_t)layout->ndim);
	return 0;
}
