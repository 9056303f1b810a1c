/* SPDX-License-Identifier: Apache-2.0 */
#include "dlf_file_object.h"

/* Small enough that a piece is still in the second-level cache when its checksum is
 * taken. */
#define PIECE ((size_t)256 << 10)
#define PAGE 4096

void dlf_file_take_object(dlf_file *file, dlf_io *io, dlf_object *object)
{
	file->object = object;
	file->io = io;
	file->align = PAGE;
	file->size = object->size;
	file->inode = object->version;
}

int dlf_file_open_object(dlf_file *file, dlf_io *io, const char *address,
			 const dlf_hint *hint, dlf_fault *fault)
{
	const dlf_hint nothing = {.size = UINT64_MAX};
	const dlf_store_ops *ops = io->store->ops;
	dlf_object *object;

	hint = hint ? hint : &nothing;
	if (ops->open_file)
		return ops->open_file(io->store, io, address, hint, file, fault);
	int rc = ops->open(io->store, io, address, hint, &object, fault);
	if (rc)
		return rc;
	dlf_file_take_object(file, io, object);
	return 0;
}

void dlf_file_will_read(dlf_file *file, dlf_io *io, uint64_t offset, uint64_t len)
{
	const dlf_store *store = file->object ? file->object->store : NULL;

	if (store && store->ops->will_read && len && len <= store->stream_most &&
	    offset <= file->size && len <= file->size - offset)
		store->ops->will_read(file->object, io, offset, len);
}

size_t dlf_file_object_piece(dlf_file *file, dlf_io *io, uint64_t offset, size_t len,
			     int checked)
{
	if (!checked || len <= PIECE || len > file->object->store->stream_most)
		return len;
	dlf_file_will_read(file, io, offset, len);
	return PIECE;
}

int dlf_file_check_object(const dlf_file *file, dlf_fault *fault)
{
	const dlf_store_ops *ops = file->object->store->ops;

	return ops->check_unchanged
		       ? ops->check_unchanged(file->object, file->io, fault)
		       : 0;
}

void dlf_file_close_object(dlf_file *file)
{
	file->object->store->ops->close(file->object, file->io);
	file->object = NULL;
}
