/* SPDX-License-Identifier: Apache-2.0
 *
 * FileMetaData, RowGroup, ColumnChunk and ColumnMetaData of
 * https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
 */
#include "dlf_footer.h"

#include "dlf_thrift.h"

static void read_meta_data(dlf_thrift *r, int64_t *chunk)
{
	static const signed char numbers[] = {
		[4] = DLF_CHUNK_CODEC + 1, [5] = DLF_CHUNK_VALUES + 1,
		[6] = DLF_CHUNK_UNPACKED + 1, [7] = DLF_CHUNK_PACKED + 1,
		[9] = DLF_CHUNK_DATA + 1, [11] = DLF_CHUNK_DICTIONARY + 1,
	};
	int64_t id = 0;

	for (unsigned type;
	     !r->bad && (type = dlf_thrift_field(r, &id)) != DLF_THRIFT_STOP;)
		if (id < (int64_t)sizeof(numbers) && numbers[id] &&
		    type == (id == 4 ? DLF_THRIFT_I32 : DLF_THRIFT_I64))
			chunk[numbers[id] - 1] = dlf_thrift_number(r);
		else
			dlf_thrift_skip(r, type);
}

static void read_chunk(dlf_thrift *r, int64_t *chunk)
{
	int64_t id = 0;

	for (int i = 0; i < DLF_CHUNK_NUMBERS; i++)
		chunk[i] = -1;
	for (unsigned type;
	     !r->bad && (type = dlf_thrift_field(r, &id)) != DLF_THRIFT_STOP;)
		if (id == 3 && type == DLF_THRIFT_STRUCT) {
			read_meta_data(r, chunk);
		} else if (id == 1 && type == DLF_THRIFT_BINARY) {
			uint64_t length = dlf_thrift_varint(r);

			chunk[DLF_CHUNK_ELSEWHERE] = length ? 1 : -1;
			dlf_thrift_skip_bytes(r, length);
		} else {
			dlf_thrift_skip(r, type);
		}
}

static void read_group(dlf_thrift *r, uint64_t columns, int64_t *rows,
		       int64_t *chunks)
{
	uint64_t found = 0;
	int64_t id = 0;

	*rows = -1;
	for (unsigned type;
	     !r->bad && (type = dlf_thrift_field(r, &id)) != DLF_THRIFT_STOP;)
		if (id == 1 && type == DLF_THRIFT_LIST) {
			found = dlf_thrift_list(r, &type);
			r->bad |= found != columns || type != DLF_THRIFT_STRUCT;
			for (uint64_t i = 0; i < found && !r->bad; i++)
				read_chunk(r, chunks + i * DLF_CHUNK_NUMBERS);
		} else if (id == 3 && type == DLF_THRIFT_I64) {
			*rows = dlf_thrift_number(r);
		} else {
			dlf_thrift_skip(r, type);
		}
	r->bad |= found != columns || *rows < 0;
}

int dlf_footer_read(const unsigned char *footer, size_t n, uint64_t groups,
		    uint64_t columns, int64_t *rows, int64_t *chunks,
		    dlf_fault *fault)
{
	dlf_thrift r = {footer, footer + n, 0};
	uint64_t found = 0;
	int64_t id = 0;

	for (unsigned type;
	     !r.bad && (type = dlf_thrift_field(&r, &id)) != DLF_THRIFT_STOP;)
		if (id == 4 && type == DLF_THRIFT_LIST) {
			found = dlf_thrift_list(&r, &type);
			r.bad |= found != groups || (found && type != DLF_THRIFT_STRUCT);
			for (uint64_t i = 0; i < found && !r.bad; i++)
				read_group(&r, columns, rows + i,
					   chunks + i * columns * DLF_CHUNK_NUMBERS);
		} else {
			dlf_thrift_skip(&r, type);
		}
	if (r.bad || found != groups)
		return dlf_fail(fault, DLF_EFORMAT, (uint64_t)(r.at - footer),
				"the footer is malformed");
	return 0;
}
