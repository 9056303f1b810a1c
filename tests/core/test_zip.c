/* SPDX-License-Identifier: Apache-2.0
 *
 * ZIP directories: every form that NPZ writers produce is read, and each
 * member's data is found where it lies.
 */
#include "check.h"
#include "zip_file.h"

static struct zip_file z;
static dlf_zip zip;
static dlf_fault fault;
static int reads;

static int counted_read(void *ctx, uint64_t offset, void *dst, size_t len,
			dlf_fault *f)
{
	reads++;
	return dlf_src_memory_read(ctx, offset, dst, len, f);
}

/* Open z, from memory of exactly its size for the sanitizer's sake. */
static int open_file(void)
{
	unsigned char *copy = malloc(z.size + !z.size);
	dlf_src src = {z.size, counted_read, copy};
	int rc;

	memcpy(copy, z.bytes, z.size);
	dlf_fault_clear(&fault);
	reads = 0;
	rc = dlf_zip_open(&zip, &src, &fault);
	CHECK_EQ(fault.code, rc);
	free(copy);
	return rc;
}

static void start(void)
{
	z.size = z.count = 0;
}

/* Whether the archive's members are those that were put in, data and all. */
static void check_members(size_t begin)
{
	CHECK_EQ(zip.count, z.count);
	for (size_t i = 0; i < zip.count && i < z.count; i++) {
		const dlf_zip_member *m = &zip.members[i];
		const struct member *want = &z.members[i];
		uint64_t at = 0;

		CHECK_EQ(m->name_len, want->name_len);
		CHECK(!memcmp(m->name, want->name, want->name_len));
		CHECK_EQ(m->name[m->name_len], 0);
		CHECK_EQ(m->header_offset, want->offset + begin);
		CHECK_EQ(m->packed_size, want->packed_size);
		CHECK_EQ(m->size, want->size);
		CHECK_EQ(m->method, want->method);
		CHECK_EQ(m->crc, 0x12345678);
		CHECK_EQ(dlf_zip_data_offset(m, z.bytes + m->header_offset,
					     z.size - m->header_offset, &at,
					     &fault), 0);
		CHECK(at + m->packed_size <= m->limit);
		if (want->data)
			CHECK(!memcmp(z.bytes + at, want->data, want->len));
	}
}

static void test_npz(void)
{
	build_npz(&z);
	CHECK_EQ(open_file(), 0);
	CHECK_EQ(reads, 1);
	check_members(0);
	CHECK_EQ(zip.members[0].limit, zip.members[1].header_offset);
	CHECK_EQ(zip.members[1].limit, z.directory);
}

static void test_find(void)
{
	start();
	add_member(&z, (struct member){.name = "x.npy", .data = "old"});
	add_member(&z, (struct member){.name = "y.npy", .data = "other"});
	add_member(&z, (struct member){.name = "x.npy", .data = "new"});
	add_member(&z, (struct member){.name = "", .data = "nameless"});
	finish(&z);
	CHECK_EQ(open_file(), 0);
	check_members(0);
	CHECK(dlf_zip_find(&zip, "x.npy", 5) == &zip.members[2]);
	CHECK(dlf_zip_find(&zip, "y.npy!", 5) == &zip.members[1]);
	CHECK(dlf_zip_find(&zip, "", 0) == &zip.members[3]);
	CHECK(!dlf_zip_find(&zip, "x.np", 4));
	CHECK(!dlf_zip_find(&zip, "z.npy", 5));
}

static void test_empty_archive(void)
{
	start();
	finish(&z);
	CHECK_EQ(z.size, END_SIZE);
	CHECK_EQ(open_file(), 0);
	CHECK_EQ(zip.count, 0);
	CHECK(!dlf_zip_find(&zip, "x", 1));
}

static void test_padded_extra_field(void)
{
	uint64_t at;

	start();
	add_member(&z, (struct member){.name = "x.npy", .data = "aligned",
				       .zip64_local = 1, .padding = 4000});
	finish(&z);
	CHECK_EQ(open_file(), 0);
	check_members(0);
	/* The header is enough; name bytes that are not there are not read. */
	CHECK_EQ(dlf_zip_data_offset(&zip.members[0], z.bytes, LOCAL_SIZE, &at,
				     &fault), 0);
	CHECK_EQ(at, LOCAL_SIZE + 5 + 20 + 4 + 4000);
}

static void test_flags(void)
{
	start();
	add_member(&z, (struct member){.name = "\xc3\xa9", .flags = 0x800});
	add_member(&z, (struct member){.name = "\x82"});
	add_member(&z, (struct member){.name = "d", .data = "described",
				       .descriptor = 1});
	add_member(&z, (struct member){.name = "p", .data = "packed",
				       .method = DLF_ZIP_DEFLATED,
				       .size = 5000});
	finish(&z);
	CHECK_EQ(open_file(), 0);
	check_members(0);
	CHECK_EQ(zip.members[0].utf8, 1);
	CHECK_EQ(zip.members[1].utf8, 0);
}

static void test_prefix(void)
{
	for (size_t prefix = 1; prefix < 10000; prefix = prefix * 3 + 1)
		for (int zip64 = 0; zip64 < 2; zip64++) {
			start();
			put(&z, NULL, prefix);
			add_member(&z, (struct member){.name = "x", .data = "1",
						       .zip64_entry = zip64});
			put_directory(&z, prefix);
			if (zip64)
				put_end64(&z, prefix, 0);
			put_end(&z, prefix, zip64, NULL, 0);
			CHECK_EQ(open_file(), 0);
			check_members(prefix);
		}
}

/* Comments of every size, at which the end record, the ZIP64 records and the
 * directory fall on either side of what is read first. */
static void test_comments(void)
{
	static char comment[65535];

	for (size_t len = 1; len <= sizeof(comment);
	     len += len < 3900 || (len > 4100 && len < 65400) ? 97 : 1)
		for (int zip64 = 0; zip64 < 2; zip64++) {
			start();
			add_member(&z, (struct member){.name = "x.npy",
						       .data = "1"});
			put_directory(&z, 0);
			if (zip64)
				put_end64(&z, 0, 0);
			put_end(&z, 0, zip64, comment, len);
			CHECK_EQ(open_file(), 0);
			check_members(0);
		}
}

/* An end record inside the comment is not the archive's. */
static void test_end_record_in_comment(void)
{
	struct zip_file *inner = calloc(1, sizeof(*inner));

	add_member(inner, (struct member){.name = "inner", .data = "1"});
	finish(inner);
	start();
	add_member(&z, (struct member){.name = "outer", .data = "2"});
	put_directory(&z, 0);
	put(inner, "more", 4);
	put_end(&z, 0, 0, inner->bytes, inner->size);
	CHECK_EQ(open_file(), 0);
	check_members(0);
	free(inner);
}

static void test_bytes_behind_the_archive(void)
{
	for (size_t len = 1; len < 60000; len = len * 3 + 1) {
		build_npz(&z);
		put(&z, NULL, len);
		CHECK_EQ(open_file(), 0);
		check_members(0);
	}
	build_npz(&z);
	put(&z, NULL, 70000);
	CHECK_EQ(open_file(), DLF_ETRUNCATED);
}

/* An archive that is stored in one that was cut off is not taken for it. */
static void test_archive_in_a_cut_archive(void)
{
	struct zip_file *inner = calloc(1, sizeof(*inner));

	build_npz(inner);
	start();
	add_member(&z, (struct member){.name = "inner.npz", .len = inner->size,
				       .data = (const char *)inner->bytes});
	add_member(&z, (struct member){.name = "x.npy", .data = "1"});
	finish(&z);
	CHECK_EQ(open_file(), 0);
	CHECK_EQ(zip.count, 2);
	z.size = z.directory;
	CHECK_EQ(open_file(), DLF_ETRUNCATED);
	free(inner);
}

static void test_zip64_end_record(void)
{
	static const size_t extensible[] = {0, 1, 100, 5000};

	for (size_t i = 0; i < 4; i++)
		for (int declared = 0; declared < 2; declared++) {
			start();
			add_member(&z, (struct member){.name = "x", .data = "1",
						       .zip64_entry = 1});
			add_member(&z, (struct member){.name = "y",
						       .data = "2"});
			put_directory(&z, 0);
			put_end64(&z, 0, extensible[i]);
			put_end(&z, 0, 1, NULL, 0);
			if (declared) { /* where they fit, both records may */
				patch(&z, z.end + 10, 2, 2);
				patch(&z, z.end + 16, z.directory, 4);
			}
			CHECK_EQ(open_file(), 0);
			check_members(0);
		}
}

static void test_large_directory(void)
{
	static char names[400][80];

	start();
	for (int i = 0; i < 400; i++) {
		snprintf(names[i], sizeof(names[i]), "array_with_a_long_name_"
			 "that_fills_the_directory_%d.npy", i);
		add_member(&z, (struct member){.name = names[i],
					       .data = "some bytes"});
	}
	finish(&z);
	CHECK_EQ(open_file(), 0);
	CHECK_EQ(reads, 2);
	check_members(0);
}

/* The directory need not list the members as they lie. */
static void test_directory_order(void)
{
	size_t second;
	unsigned char entry[ENTRY_SIZE + 5];

	build_npz(&z);
	second = z.directory + sizeof(entry);
	memcpy(entry, z.bytes + z.directory, sizeof(entry));
	memmove(z.bytes + z.directory, z.bytes + second, sizeof(entry));
	memcpy(z.bytes + second, entry, sizeof(entry));
	CHECK_EQ(open_file(), 0);
	CHECK(!strcmp(zip.members[0].name, "y.npy"));
	CHECK_EQ(zip.members[0].limit, z.directory);
	CHECK_EQ(zip.members[1].limit, zip.members[0].header_offset);
}

/* One dlf_zip serves archive after archive without new memory. */
static void test_memory_is_kept(void)
{
	const void *members, *directory;

	build_npz(&z);
	CHECK_EQ(open_file(), 0);
	members = zip.members;
	directory = zip.directory;
	for (int i = 0; i < 10; i++) {
		CHECK_EQ(open_file(), 0);
		check_members(0);
	}
	CHECK(members == zip.members);
	CHECK(directory == zip.directory);
}

void test_zip(void)
{
	test_npz();
	test_find();
	test_empty_archive();
	test_padded_extra_field();
	test_flags();
	test_prefix();
	test_comments();
	test_end_record_in_comment();
	test_bytes_behind_the_archive();
	test_archive_in_a_cut_archive();
	test_zip64_end_record();
	test_large_directory();
	test_directory_order();
	test_memory_is_kept();
	dlf_zip_free(&zip);
	CHECK(!zip.members && !zip.directory && !zip.count);
	test_zip_damage();
}
