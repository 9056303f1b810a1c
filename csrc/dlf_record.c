/* SPDX-License-Identifier: Apache-2.0 */
#include "dlf_record.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dlf_crc.h"

/* Small records are walked over in blocks, large ones from header to header. */
#define BLOCK ((size_t)64 << 10)
/* Two numbers of 19 digits, what is between them, and what ends the line. */
#define LINE_MAX_BYTES 42

static uint64_t load(const unsigned char *p, int n)
{
	uint64_t value = 0;

	for (int i = n; i-- > 0;)
		value = value << 8 | p[i];
	return value;
}

static void store(unsigned char *p, uint64_t value, int n)
{
	for (int i = 0; i < n; i++)
		p[i] = (unsigned char)(value >> (8 * i));
}

uint32_t dlf_record_u32(const unsigned char *p)
{
	return (uint32_t)load(p, 4);
}

void dlf_record_put(unsigned char *head, uint64_t length)
{
	store(head, length, 8);
	store(head + 8, dlf_record_mask(dlf_crc32c(0, head, 8)), 4);
}

int dlf_record_length(const unsigned char *head, uint64_t offset, uint64_t *length,
		      dlf_fault *fault)
{
	if (dlf_record_mask(dlf_crc32c(0, head, 8)) != dlf_record_u32(head + 8))
		return dlf_fail(fault, DLF_ECHECKSUM, offset,
				"the stored CRC-32C does not match the record's "
				"length; is it a TFRecord file?");
	*length = load(head, 8);
	return 0;
}

int dlf_record_is_packed(const unsigned char *first, size_t n)
{
	uint64_t length;

	if (n < 4 || (n >= DLF_RECORD_HEAD &&
		      !dlf_record_length(first, 0, &length, NULL)))
		return 0;
	if (first[0] == 0x1f && first[1] == 0x8b && first[2] == 8) /* RFC 1952 */
		return 1;
	return (first[0] & 15) == 8 && first[0] >> 4 <= 7 && /* RFC 1950 */
	       !(first[1] & 32) && (first[0] << 8 | first[1]) % 31 == 0;
}

void dlf_records_free(dlf_table *table)
{
	dlf_records *records = (dlf_records *)table;

	if (records)
		free(records->offsets);
	free(records);
}

static dlf_records *new_records(enum dlf_records_found found)
{
	dlf_records *records = calloc(1, sizeof(*records));

	if (!records)
		return NULL;
	records->base.free = dlf_records_free;
	records->found = found;
	records->offsets = calloc(1, sizeof(*records->offsets));
	if (records->offsets)
		return records;
	free(records);
	return NULL;
}

/* Note that the next record ends there.  The array doubles as records are found,
 * and so never outgrows the file by much. */
static int add_record(dlf_records *records, uint64_t end)
{
	uint64_t used = records->count + 1;

	if (!(used & (used - 1))) { /* as many as there is room for */
		uint64_t *larger = realloc(records->offsets,
					   2 * used * sizeof(*larger));
		if (!larger)
			return -ENOMEM;
		records->offsets = larger;
	}
	records->offsets[used] = end;
	records->count++;
	return 0;
}

/* ---- from header to header ---- */

/* The next bytes of the source, as many as pay: those of large records do not. */
static int fetch(const dlf_src *src, uint64_t at, uint64_t latest,
		 unsigned char *block, size_t *have, dlf_fault *fault)
{
	uint64_t left = src->size - at;

	*have = latest < BLOCK / 4 ? BLOCK : DLF_RECORD_HEAD;
	if (*have > left)
		*have = (size_t)left;
	if (*have < DLF_RECORD_HEAD)
		return dlf_fail(fault, DLF_ETRUNCATED, at,
				"the file ends inside a record's header");
	return dlf_src_read(src, at, block, *have, fault);
}

static int scan(const dlf_src *src, unsigned char *block, dlf_records *records,
		dlf_fault *fault)
{
	uint64_t at = 0, block_at = 0, length = 0;
	size_t have = 0;

	while (at < src->size) {
		int rc = 0;
		if (at - block_at + DLF_RECORD_HEAD > have) {
			block_at = at;
			rc = fetch(src, at, length, block, &have, fault);
		}
		if (!rc)
			rc = dlf_record_length(block + (at - block_at), at,
					       &length, fault);
		if (rc)
			return rc;
		if (src->size - at < DLF_RECORD_FRAME ||
		    length > src->size - at - DLF_RECORD_FRAME)
			return dlf_fail(fault, DLF_ETRUNCATED, at,
					"the file ends inside a record");
		at += DLF_RECORD_FRAME + length;
		if (add_record(records, at))
			return dlf_fail(fault, -ENOMEM, at, "out of memory");
	}
	return 0;
}

int dlf_records_scan(const dlf_src *src, dlf_records **out, dlf_fault *fault)
{
	dlf_records *records = new_records(DLF_RECORDS_SCANNED);
	unsigned char *block = malloc(BLOCK);
	int rc = records && block
			 ? scan(src, block, records, fault)
			 : dlf_fail(fault, -ENOMEM, 0, "out of memory");

	free(block);
	if (rc)
		dlf_records_free(records ? &records->base : NULL);
	else
		*out = records;
	return rc;
}

/* ---- from the index ---- */

/* Copy `from` up to `end`, then the rest, into out[PATH_MAX]. */
static int join(char *out, const char *from, const char *end, const char *middle,
		const char *rest)
{
	int n = snprintf(out, PATH_MAX, "%.*s%s%s.idx", (int)(end - from), from,
			 middle, rest);

	return n > 0 && n < PATH_MAX;
}

int dlf_record_index_path(const char *path, char *out)
{
	static const char *const splits[] = {"/train/", "/valid/"};
	const char *name = strrchr(path, '/'), *last = NULL, *split = NULL;

	for (int i = 0; name && i < 2; i++)
		for (const char *p = path; (p = strstr(p, splits[i])) && p <= name;
		     p++)
			if (!last || p > last) {
				last = p;
				split = splits[i];
			}
	if (!last)
		return 0;
	char middle[sizeof("/index/train/")];
	snprintf(middle, sizeof(middle), "/index%s", split);
	return join(out, path, last, middle, name + 1);
}

int dlf_records_disagree(uint64_t offset, dlf_fault *fault)
{
	return dlf_fail(fault, DLF_EFORMAT, offset,
			"the file's index does not fit it: remove the index, or "
			"make it anew with `dlio-fast index --force`");
}

/* A number of at most 19 digits. */
static int read_number(FILE *file, int until, uint64_t *number)
{
	int c, digits = 0;

	for (*number = 0; (c = getc(file)) >= '0' && c <= '9' && digits < 19;
	     digits++)
		*number = *number * 10 + (uint64_t)(c - '0');
	if (c == '\r' && until == '\n')
		c = getc(file);
	return digits && (c == until || (c == EOF && until == '\n'));
}

/* The lines must tile the file, so there are no more of them than it holds. */
static int read_lines(FILE *file, uint64_t size, dlf_records *records,
		      dlf_fault *fault)
{
	uint64_t at = 0, offset, length;
	int c;

	while ((c = getc(file)) != EOF) {
		ungetc(c, file);
		if (!read_number(file, ' ', &offset) ||
		    !read_number(file, '\n', &length))
			return dlf_records_disagree(at, fault);
		if (offset != at || length < DLF_RECORD_FRAME ||
		    length > size - at)
			return dlf_records_disagree(at, fault);
		at += length;
		if (add_record(records, at))
			return dlf_fail(fault, -ENOMEM, at, "out of memory");
	}
	if (ferror(file))
		return dlf_fail(fault, -EIO, at, "the index cannot be read");
	return at == size ? 0 : dlf_records_disagree(at, fault);
}

/* The index of an object is one, too: its bytes, in memory.  NULL, and no fault:
 * there is none. */
static FILE *fetch_index(const char *path, uint64_t size, dlf_io *io,
			 dlf_fault *fault)
{
	const uint64_t most = size / DLF_RECORD_FRAME * LINE_MAX_BYTES;
	FILE *stream = NULL;
	char *text = NULL;
	dlf_file file;
	int rc = dlf_file_open(&file, io, path, 0, fault);

	if (rc == -ENOENT)
		dlf_fault_clear(fault);
	if (rc)
		return NULL;
	if (file.size > most)
		rc = dlf_records_disagree(0, fault);
	else if (!(text = malloc(file.size + 1)) ||
		 !(stream = fmemopen(NULL, file.size + 1, "w+")))
		rc = dlf_fail(fault, -ENOMEM, 0, "out of memory");
	else
		rc = dlf_file_read(&file, io, 0, text, file.size, NULL, fault);
	if (!rc && fwrite(text, 1, file.size, stream) == file.size) {
		fflush(stream);
		rewind(stream);
	}
	free(text);
	dlf_file_close(&file);
	if (rc && stream)
		fclose(stream);
	return rc ? NULL : stream;
}

/* NULL: there is none that is a regular file.  A FIFO must not keep us. */
static FILE *open_index(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	FILE *file = NULL;

	if (fd >= 0 && !fstat(fd, &st) && S_ISREG(st.st_mode))
		file = fdopen(fd, "rb");
	if (fd >= 0 && !file)
		close(fd);
	return file;
}

static FILE *find_index(const char *path, uint64_t size, dlf_io *io,
			dlf_fault *fault)
{
	return io->store ? fetch_index(path, size, io, fault) : open_index(path);
}

int dlf_records_from_index(const char *path, uint64_t size, dlf_io *io,
			   dlf_records **out, dlf_fault *fault)
{
	char beside[PATH_MAX], dlio[PATH_MAX];
	const char *used = beside;
	FILE *file = NULL;

	*out = NULL;
	if (join(beside, path, path + strlen(path), "", ""))
		file = find_index(beside, size, io, fault);
	if (!file && !fault->code && dlf_record_index_path(path, dlio))
		file = find_index(used = dlio, size, io, fault);
	if (!file)
		return fault->code;
	dlf_records *records = new_records(DLF_RECORDS_INDEXED);
	int rc = records ? read_lines(file, size, records, fault)
			 : dlf_fail(fault, -ENOMEM, 0, "out of memory");
	fclose(file);
	if (rc) {
		if (fault)
			snprintf(fault->member, sizeof(fault->member), "%.95s",
				 strrchr(used, '/') ? strrchr(used, '/') + 1 : used);
		dlf_records_free(records ? &records->base : NULL);
		return rc;
	}
	*out = records;
	return 0;
}
