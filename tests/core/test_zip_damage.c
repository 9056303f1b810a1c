/* SPDX-License-Identifier: Apache-2.0
 *
 * Damaged and lying ZIP archives: each is refused with the code that fits, and
 * none makes the reader leave the file's bytes.
 */
#include "check.h"
#include "zip_file.h"

static struct zip_file z;
static dlf_zip zip;
static dlf_fault fault;

/* Open the first size bytes of z, out of memory that ends there.  Returns the
 * first error, data offsets included; a fault must go with it. */
static int open_part(size_t size)
{
	unsigned char *copy = malloc(size + !size);
	dlf_src src = dlf_src_memory(copy, size);
	int rc;

	memcpy(copy, z.bytes, size);
	dlf_fault_clear(&fault);
	rc = dlf_zip_open(&zip, &src, &fault);
	if (rc)
		CHECK_EQ(zip.count, 0);
	for (size_t i = 0; i < zip.count && !rc; i++) {
		const dlf_zip_member *m = &zip.members[i];
		uint64_t at = 0;

		CHECK(m->header_offset + LOCAL_SIZE <= size);
		CHECK(m->limit <= size);
		rc = dlf_zip_data_offset(m, copy + m->header_offset,
					 size - m->header_offset, &at, &fault);
		if (!rc)
			CHECK(at <= m->limit &&
			      m->packed_size <= m->limit - at);
		else
			CHECK(!strncmp(fault.member, m->name,
				       DLF_MEMBER_MAX - 1));
	}
	free(copy);
	CHECK_EQ(fault.code, rc);
	if (rc)
		CHECK(fault.what && fault.what[0]);
	return rc;
}

static int open_all(void)
{
	return open_part(z.size);
}

static void start(void)
{
	z.size = z.count = 0;
}

static void test_no_archive(void)
{
	static const char text[] = "\x93NUMPY\1\0v\0 and no archive at all";

	start();
	CHECK_EQ(open_all(), DLF_ETRUNCATED);
	for (size_t len = 1; len < sizeof(text); len++) {
		start();
		put(&z, text, len);
		CHECK_EQ(open_all(), DLF_EFORMAT);
	}
	start();
	put(&z, NULL, 100000);
	CHECK_EQ(open_all(), DLF_EFORMAT);
}

static void test_cut_anywhere(void)
{
	for (int zip64 = 0; zip64 < 2; zip64++) {
		start();
		add_member(&z, (struct member){.name = "x.npy",
					       .data = "first array",
					       .zip64_local = 1,
					       .zip64_entry = zip64});
		add_member(&z, (struct member){.name = "y.npy", .data = "two",
					       .descriptor = 1});
		put_directory(&z, 0);
		if (zip64)
			put_end64(&z, 0, 0);
		put_end(&z, 0, zip64, "a comment", 9);
		CHECK_EQ(open_all(), 0);
		for (size_t size = 0; size < z.size; size++)
			CHECK_EQ(open_part(size), DLF_ETRUNCATED);
	}
}

/* What a change of one number in the directory's first entry (x.npy), the end
 * record or the first local header leads to. */
static void test_lying_numbers(void)
{
	enum { ENTRY, END, LOCAL };
	static const struct {
		int where, at, bytes;
		uint64_t value;
		int rc;
	} lies[] = {
		{ENTRY, 0, 4, 0x02014b51, DLF_EFORMAT},
		{ENTRY, 20, 4, 1000, DLF_EFORMAT},      /* packed size */
		{ENTRY, 20, 4, 12, DLF_EFORMAT},
		{ENTRY, 20, 4, 10, DLF_EFORMAT},
		{ENTRY, 20, 4, 0xfffffffe, DLF_EFORMAT},
		{ENTRY, 20, 4, 0xffffffff, DLF_EFORMAT},
		{ENTRY, 24, 4, 0xfffffffe, DLF_EFORMAT}, /* size */
		{ENTRY, 24, 4, 0, DLF_EFORMAT},
		{ENTRY, 28, 2, 0xffff, DLF_EFORMAT},     /* name length */
		{ENTRY, 28, 2, 4, DLF_EFORMAT},
		{ENTRY, 30, 2, 0xffff, DLF_EFORMAT},     /* extra length */
		{ENTRY, 30, 2, 1, DLF_EFORMAT},
		{ENTRY, 32, 2, 0xffff, DLF_EFORMAT},     /* comment length */
		{ENTRY, 34, 2, 1, DLF_EUNSUPPORTED},     /* disk */
		{ENTRY, 42, 4, 0xfffffffe, DLF_EFORMAT}, /* offset */
		{ENTRY, 42, 4, 0xffffffff, DLF_EFORMAT},
		{ENTRY, 42, 4, 1, DLF_EFORMAT},
		{ENTRY, 46, 1, 0, DLF_EFORMAT},          /* name */
		{ENTRY, 50, 1, 'z', DLF_EFORMAT},
		{ENTRY, 10, 2, 12, DLF_EUNSUPPORTED},    /* method: bzip2 */
		{ENTRY, 10, 2, 99, DLF_EUNSUPPORTED},
		{ENTRY, 10, 2, DLF_ZIP_DEFLATED, DLF_EFORMAT},
		{ENTRY, 8, 2, 1 << 0, DLF_EUNSUPPORTED}, /* encrypted */
		{ENTRY, 8, 2, 1 << 5, DLF_EUNSUPPORTED},
		{ENTRY, 8, 2, 1 << 6, DLF_EUNSUPPORTED},
		{ENTRY, 8, 2, 1 << 13, DLF_EUNSUPPORTED},
		{END, 4, 2, 1, DLF_EUNSUPPORTED},        /* disks */
		{END, 6, 2, 1, DLF_EUNSUPPORTED},
		{END, 8, 2, 1, DLF_EUNSUPPORTED},
		{END, 8, 4, 0, DLF_EFORMAT},             /* count */
		{END, 8, 4, 0x00010001, DLF_EFORMAT},
		{END, 8, 4, 0x00030003, DLF_EFORMAT},
		{END, 8, 4, 0xffffffff, DLF_EFORMAT},
		{END, 12, 4, 0, DLF_EFORMAT},            /* directory size */
		{END, 12, 4, 101, DLF_EFORMAT},
		{END, 12, 4, 0xffffffff, DLF_EFORMAT},
		{END, 16, 4, 0, DLF_EFORMAT},            /* directory offset */
		{END, 16, 4, 0xffffffff, DLF_EFORMAT},
		{LOCAL, 0, 4, 0x04034b51, DLF_EFORMAT},
		{LOCAL, 6, 2, 1, DLF_EFORMAT},           /* encrypted */
		{LOCAL, 8, 2, DLF_ZIP_DEFLATED, DLF_EFORMAT},
		{LOCAL, 26, 2, 4, DLF_EFORMAT},          /* name length */
		{LOCAL, 26, 2, 0xffff, DLF_EFORMAT},
		{LOCAL, 28, 2, 21, DLF_EFORMAT},         /* extra length */
		{LOCAL, 28, 2, 0xffff, DLF_EFORMAT},
		{LOCAL, 30, 1, 'z', DLF_EFORMAT},        /* name */
	};

	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		size_t at = (size_t)lies[i].at;

		build_npz(&z);
		if (lies[i].where == ENTRY)
			at += z.directory;
		if (lies[i].where == END)
			at += z.end;
		patch(&z, at, lies[i].value, lies[i].bytes);
		if (open_all() != lies[i].rc) {
			fprintf(stderr, "lie %zu: %d, %s\n", i, fault.code,
				fault.what);
			CHECK_EQ(fault.code, lies[i].rc);
		}
	}
}

static void test_fault_names_member_and_place(void)
{
	build_npz(&z);
	patch(&z, z.members[1].offset, 0, 4);
	CHECK_EQ(open_all(), DLF_EFORMAT);
	CHECK(!strcmp(fault.member, "y.npy"));
	CHECK_EQ(fault.offset, z.members[1].offset);

	build_npz(&z);
	patch(&z, z.directory + 34, 1, 2);
	CHECK_EQ(open_all(), DLF_EUNSUPPORTED);
	CHECK(!strcmp(fault.member, "x.npy"));
	CHECK_EQ(fault.offset, z.directory);
}

/* Members in one another, as a bomb has them. */
static void test_overlap(void)
{
	build_npz(&z);
	patch(&z, z.directory + ENTRY_SIZE + 5 + 42, 0, 4);
	CHECK_EQ(open_all(), DLF_EFORMAT);

	start();
	add_member(&z, (struct member){.name = "a", .data = "1234567890"
				       "12345678901234567890123456789012345"});
	z.members[1] = z.members[0];
	z.members[1].offset = 5;
	z.members[1].packed_size = z.members[1].size = 3;
	z.count = 2;
	finish(&z);
	CHECK_EQ(open_all(), DLF_EFORMAT);
	CHECK(!strcmp(fault.what, "overlapping members"));
}

static void test_huge_sizes(void)
{
	static const uint64_t sizes[] = {
		1ull << 31, (1ull << 32) - 1, 1ull << 32, 1ull << 60,
		INT64_MAX, UINT64_MAX - 30, UINT64_MAX,
	};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		start();
		add_member(&z, (struct member){.name = "x", .data = "1",
					       .packed_size = sizes[i],
					       .size = sizes[i],
					       .zip64_entry = 1});
		finish(&z);
		CHECK_EQ(open_all(), DLF_EFORMAT);

		start();
		add_member(&z, (struct member){.name = "x", .data = "1",
					       .zip64_entry = 1});
		z.members[0].offset = sizes[i];
		finish(&z);
		CHECK_EQ(open_all(), DLF_EFORMAT);

		/* Size of the unpacked: inflating will find out. */
		start();
		add_member(&z, (struct member){.name = "x", .data = "1",
					       .method = DLF_ZIP_DEFLATED,
					       .size = sizes[i],
					       .zip64_entry = 1});
		finish(&z);
		CHECK_EQ(open_all(), 0);
		CHECK(zip.members[0].size == sizes[i]);
	}
}

static void build_zip64(void)
{
	start();
	add_member(&z, (struct member){.name = "x", .data = "1",
				       .zip64_entry = 1});
	put_directory(&z, 0);
	put_end64(&z, 0, 0);
	put_end(&z, 0, 1, NULL, 0);
}

static void test_lying_zip64(void)
{
	static const struct {
		int back, bytes; /* from the end record */
		uint64_t value;
		int rc;
	} lies[] = {
		{76, 4, 0, DLF_EFORMAT},           /* the record's signature */
		{60, 4, 1, DLF_EUNSUPPORTED},      /* disks */
		{56, 4, 1, DLF_EUNSUPPORTED},
		{52, 8, 0, DLF_EUNSUPPORTED},
		{44, 8, 2, DLF_EUNSUPPORTED},      /* counts */
		{36, 8, 0, DLF_EFORMAT},           /* directory size */
		{36, 8, 1ull << 60, DLF_EFORMAT},
		{36, 8, UINT64_MAX, DLF_EFORMAT},
		{28, 8, 1ull << 60, DLF_EFORMAT},  /* directory offset */
		{28, 8, UINT64_MAX, DLF_EFORMAT},
		{20, 4, 0, DLF_EFORMAT},           /* the locator's signature */
		{16, 4, 1, DLF_EUNSUPPORTED},
		{4, 4, 2, DLF_EUNSUPPORTED},
	};

	build_zip64();
	CHECK_EQ(open_all(), 0);
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		build_zip64();
		patch(&z, z.end - (size_t)lies[i].back, lies[i].value,
		      lies[i].bytes);
		CHECK_EQ(open_all(), lies[i].rc);
	}
	for (uint64_t count = 2; count; count <<= 1) {
		build_zip64();
		patch(&z, z.end - 52, count, 8);
		patch(&z, z.end - 44, count, 8);
		CHECK_EQ(open_all(), DLF_EFORMAT);
	}
	/* A locator that leads nowhere, and records that disagree. */
	build_zip64();
	patch(&z, z.end - 76, 0, 4);
	patch(&z, z.end - 12, 1ull << 60, 8);
	CHECK_EQ(open_all(), DLF_EFORMAT);
	build_zip64();
	patch(&z, z.end + 16, 1, 4);
	CHECK_EQ(open_all(), DLF_EFORMAT);
	/* An extra field that lacks a number. */
	build_zip64();
	patch(&z, z.directory + ENTRY_SIZE + 1 + 6 + 2, 16, 2);
	CHECK_EQ(open_all(), DLF_EFORMAT);
}

/* A sparse file can declare any directory: it is refused by its size, before
 * memory is asked for. */
static int sparse_read(void *ctx, uint64_t offset, void *dst, size_t len,
		       dlf_fault *f)
{
	const uint64_t *size = ctx;
	uint64_t begin = *size - z.size;
	unsigned char *out = dst;

	(void)f;
	for (size_t i = 0; i < len; i++)
		out[i] = offset + i < begin ? 0 : z.bytes[offset + i - begin];
	return 0;
}

static void test_sparse_directory(void)
{
	uint64_t size = 1ull << 40;
	dlf_src src = {size, sparse_read, &size};

	build_zip64();
	patch(&z, z.end - 36, size - (z.size - (z.end - 76)), 8);
	patch(&z, z.end - 28, 0, 8);
	dlf_fault_clear(&fault);
	CHECK_EQ(dlf_zip_open(&zip, &src, &fault), DLF_EUNSUPPORTED);
}

static void test_random_damage(void)
{
	uint64_t seed = 1;
	long accepted = 0;

	for (int round = 0; round < 6000; round++) {
		if (round % 2)
			build_npz(&z);
		else
			build_zip64();
		for (int flips = 1 + round / 2 % 3; flips > 0; flips--) {
			seed = seed * 6364136223846793005u + 1442695040888963u;
			z.bytes[(seed >> 33) % z.size] ^=
				(unsigned char)(1 + (seed >> 20) % 255);
		}
		accepted += !open_all(); /* which holds the checks */
	}
	CHECK(accepted > 0 && accepted < 6000);
}

/* What the source fails with is what the caller gets. */
static int failing_read(void *ctx, uint64_t offset, void *dst, size_t len,
			dlf_fault *f)
{
	int *left = ctx;

	if ((*left)-- > 0)
		return sparse_read(&(uint64_t){z.size}, offset, dst, len, f);
	return dlf_fail(f, DLF_ECHANGED, offset, "the file changed");
}

static void test_failing_source(void)
{
	int left;
	dlf_src src = {0, failing_read, &left};

	build_npz(&z);
	put(&z, NULL, 20000); /* more than the first read sees */
	src.size = z.size;
	for (int reads = 0; reads < 2; reads++) {
		left = reads;
		dlf_fault_clear(&fault);
		CHECK_EQ(dlf_zip_open(&zip, &src, &fault), DLF_ECHANGED);
		CHECK_EQ(zip.count, 0);
	}
	left = 2;
	CHECK_EQ(dlf_zip_open(&zip, &src, &fault), 0);
}

void test_zip_damage(void)
{
	test_no_archive();
	test_cut_anywhere();
	test_lying_numbers();
	test_fault_names_member_and_place();
	test_overlap();
	test_huge_sizes();
	test_lying_zip64();
	test_sparse_directory();
	test_random_damage();
	test_failing_source();
	dlf_zip_free(&zip);
}
