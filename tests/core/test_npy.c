/* SPDX-License-Identifier: Apache-2.0
 *
 * .npy headers: what numpy writes is read, anything else is refused with the
 * right code, and no input makes the parser read past its bytes.
 */
#include "check.h"
#include "npy_file.h"

static void test_what_numpy_writes(void)
{
	struct npy_file f;

	CHECK_EQ(parse(&f, 1, "{" F4 ", 'fortran_order': True, "
			      "'shape': (3, 4), }      \n"), 0);
	CHECK_EQ(f.npy.major, 1);
	CHECK_EQ(f.npy.data_offset, f.header_end);
	CHECK_EQ(f.npy.itemsize, 4);
	CHECK_EQ(f.npy.items, 12);
	CHECK_EQ(f.npy.nbytes, 48);
	CHECK_EQ(f.npy.fortran_order, 1);
	CHECK_EQ(f.npy.structured, 0);
	CHECK_EQ(f.npy.ndim, 2);
	CHECK_EQ(f.npy.shape[0], 3);
	CHECK_EQ(f.npy.shape[1], 4);

	dlf_npy_parse(f.bytes, f.header_end, f.size, 0, &f.npy, &f.need, NULL);
	CHECK_EQ(f.npy.descr_len, 3);
	CHECK(!memcmp(f.npy.descr, "<f4", 3));
}

static void test_spellings(void)
{
	static const char *const texts[] = {
		"{'descr':'<f4','fortran_order':False,'shape':(3,)}",
		"{" SHAPE_3 ", " C_ORDER ", " F4 "}",
		" {\"shape\": (3,), \"descr\": \"<f4\", " C_ORDER ",}\n\n",
		"{\t'descr'\n:\r\n'<f4' , " C_ORDER ",'shape': ( 3 , ) , } ",
	};
	struct npy_file f;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		for (int major = 1; major <= 3; major++) {
			CHECK_EQ(parse(&f, major, texts[i]), 0);
			CHECK_EQ(f.npy.major, major);
			CHECK_EQ(f.npy.data_offset, f.header_end);
			CHECK_EQ(f.npy.nbytes, 12);
			CHECK_EQ(f.npy.descr_len, 3);
		}
}

static void test_long_integers_of_python_2(void)
{
	struct npy_file f;

	CHECK_EQ(parse(&f, 1, "{" F4 ", " C_ORDER ", 'shape': (2L, 3L)}"), 0);
	CHECK_EQ(f.npy.nbytes, 24);
	CHECK_EQ(parse(&f, 2, "{" F4 ", " C_ORDER ", 'shape': (3L,)}"), 0);
	CHECK_EQ(parse(&f, 3, "{" F4 ", " C_ORDER ", 'shape': (3L,)}"),
		 DLF_EFORMAT); /* written by no Python 2 */
}

static void test_malformed_headers(void)
{
	static const char *const texts[] = {
		"",
		"   ",
		"[]",
		"{",
		"{}",
		"{" F4 ", " C_ORDER "}",
		"{" F4 ", " SHAPE_3 "}",
		"{" C_ORDER ", " SHAPE_3 "}",
		"{" F4 ", " C_ORDER ", " SHAPE_3,
		"{" F4 ", " C_ORDER ", " SHAPE_3 "} x",
		"{" F4 ", " C_ORDER ", " SHAPE_3 "}}",
		"{" F4 ", " C_ORDER ", " SHAPE_3 ",,}",
		"{," F4 ", " C_ORDER ", " SHAPE_3 "}",
		"{" F4 " " C_ORDER ", " SHAPE_3 "}",
		"{" F4 ", " C_ORDER ", " SHAPE_3 ", " SHAPE_3 "}",
		"{" F4 ", " C_ORDER ", " SHAPE_3 ", 'more': 1}",
		"{'descr' '<f4', " C_ORDER ", " SHAPE_3 "}",
		"{" F4 ", " C_ORDER ",\v" SHAPE_3 "}",
		"{descr: '<f4', " C_ORDER ", " SHAPE_3 "}",
		"{'descr\": '<f4', " C_ORDER ", " SHAPE_3 "}",
		"{" F4 ", " C_ORDER ", 'shape': (3,)} # three",
		"{" F4 ", " C_ORDER ", 'shape': (3,), 'shap",
	};
	struct npy_file f;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		CHECK_EQ(parse(&f, 1, texts[i]), DLF_EFORMAT);
		CHECK(f.fault.what && f.fault.what[0]);
		CHECK(f.fault.offset >= 1000 + 10);
		CHECK(f.fault.offset <= 1000 + f.header_end);
	}
}

static void test_orders(void)
{
	static const char *const bad[] = {"0", "true", "Truee", "'True'",
					  "Fals", "None", ""};
	struct npy_file f;

	CHECK_EQ(parse_values(&f, "'<f4'", "False", "(2, 3)"), 0);
	CHECK_EQ(f.npy.fortran_order, 0);
	CHECK_EQ(parse_values(&f, "'<f4'", "True", "(2, 3)"), 0);
	CHECK_EQ(f.npy.fortran_order, 1);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CHECK_EQ(parse_values(&f, "'<f4'", bad[i], "(2, 3)"),
			 DLF_EFORMAT);
}

static void test_shapes(void)
{
	static const struct {
		const char *shape;
		int ndim;
		uint64_t items;
	} good[] = {
		{"()", 0, 1},
		{"( )", 0, 1},
		{"(0,)", 1, 0},
		{"(7,)", 1, 7},
		{"(2,3)", 2, 6},
		{"(2L, 3L,)", 2, 6},
		{"(1, 0, 9223372036854775807)", 3, 0},
		{"(1, 1, 1, 1, 1, 1, 1, 1)", 8, 1},
		{"(9223372036854775807,)", 1, INT64_MAX},
		{"(4294967296, 2147483647)", 2, 9223372032559808512u},
	};
	static const char *const bad[] = {
		"(3)", "3", "[3]", "(,)", "(3,,)", "(3 4)", "(-3,)", "(+3,)",
		"(3.0,)", "(03,)", "(0x3,)", "(True,)", "('3',)", "(3LL,)",
		"(1_0,)", "(3", "(3,", "(", "(9223372036854775808,)",
		"(18446744073709551616,)", "(99999999999999999999999999,)",
		"(4294967296, 4294967296)",
		"(0, 9223372036854775807, 9223372036854775807)",
		"(2, 4611686018427387904)",
	};
	struct npy_file f;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		CHECK_EQ(parse_values(&f, "'|u1'", "False", good[i].shape), 0);
		CHECK_EQ(f.npy.ndim, good[i].ndim);
		CHECK_EQ(f.npy.items, good[i].items);
		CHECK_EQ(f.npy.nbytes, good[i].items);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CHECK_EQ(parse_values(&f, "'|u1'", "False", bad[i]),
			 DLF_EFORMAT);

	/* The product fits, but not times the itemsize. */
	CHECK_EQ(parse_values(&f, "'<f4'", "False", "(4611686018427387904,)"),
		 DLF_EFORMAT);
	CHECK_EQ(parse_values(&f, "'|V0'", "False", "(4611686018427387904,)"),
		 0);
	CHECK_EQ(f.npy.nbytes, 0);
}

static void test_dimension_limit(void)
{
	struct npy_file f;
	char shape[400];

	for (int ndim = 60; ndim <= 70; ndim++) {
		strcpy(shape, "(");
		for (int i = 0; i < ndim; i++)
			strcat(shape, "1, ");
		strcat(shape, ")");
		CHECK_EQ(parse_values(&f, "'<f4'", "False", shape),
			 ndim <= 64 ? 0 : DLF_EFORMAT);
	}
}

static void test_wrong_prefix(void)
{
	struct npy_file f;

	for (size_t i = 0; i < 6; i++) {
		build(&f, 1, "{" F4 ", " C_ORDER ", " SHAPE_3 "}");
		f.bytes[i] ^= 1;
		CHECK_EQ(parse_part(&f, f.header_end), DLF_EFORMAT);
		CHECK_EQ(parse_part(&f, i + 1), DLF_EFORMAT);
		f.size = 3;
		CHECK_EQ(parse_part(&f, f.header_end),
			 i < 3 ? DLF_EFORMAT : DLF_ETRUNCATED);
	}
	for (int major = 0; major < 256; major++) {
		build(&f, 1, "{" F4 ", " C_ORDER ", " SHAPE_3 "}");
		f.bytes[6] = (unsigned char)major;
		if (major < 1 || major > 3)
			CHECK_EQ(parse_part(&f, f.header_end), DLF_EFORMAT);
	}
	build(&f, 1, "{" F4 ", " C_ORDER ", " SHAPE_3 "}");
	f.bytes[7] = 1;
	CHECK_EQ(parse_part(&f, f.header_end), DLF_EFORMAT);
}

/* Whatever part of the head is there, the parser asks for more, and what it
 * asks for is enough in two steps. */
static void test_short_heads(void)
{
	struct npy_file f;

	for (int major = 1; major <= 3; major++) {
		build(&f, major, "{" F4 ", " C_ORDER ", " SHAPE_3 "}\n");
		f.size = f.header_end + 12;
		for (size_t have = 0; have < f.header_end; have++) {
			CHECK_EQ(parse_part(&f, have), DLF_EMORE);
			CHECK(f.need > have);
			CHECK(f.need <= f.header_end);
			CHECK_EQ(f.fault.code, 0);
			for (int step = 0; step < 2; step++)
				if (f.need < f.header_end)
					parse_part(&f, f.need);
			CHECK_EQ(f.need, f.header_end);
		}
		CHECK_EQ(parse_part(&f, f.header_end), 0);
	}
}

static void test_short_files(void)
{
	struct npy_file f;

	for (int major = 1; major <= 3; major++) {
		build(&f, major, "{" F4 ", " C_ORDER ", " SHAPE_3 "}\n");
		for (f.size = 0; f.size < f.header_end + 12; f.size++) {
			size_t have = f.header_end;

			CHECK_EQ(parse_part(&f, have), DLF_ETRUNCATED);
			if (have > f.size)
				have = (size_t)f.size;
			CHECK_EQ(parse_part(&f, have), DLF_ETRUNCATED);
		}
		CHECK_EQ(parse_part(&f, f.header_end), 0);
		f.size++; /* bytes behind the payload do no harm */
		CHECK_EQ(parse_part(&f, f.header_end), 0);
	}
}

static void test_lying_header_lengths(void)
{
	struct npy_file f;

	build(&f, 2, "{" F4 ", " C_ORDER ", " SHAPE_3 "}\n");
	memset(f.bytes + 8, 0xff, 4);
	CHECK_EQ(parse_part(&f, f.header_end), DLF_EFORMAT);
	f.bytes[10] = 0xff;
	f.bytes[11] = 0;
	CHECK_EQ(parse_part(&f, f.header_end), DLF_EFORMAT);
	f.bytes[8] = 0;
	CHECK_EQ(parse_part(&f, f.header_end), DLF_EMORE);
	CHECK(f.need <= DLF_NPY_MAX_HEADER);
	f.size = 5000;
	CHECK_EQ(parse_part(&f, f.header_end), DLF_ETRUNCATED);
}

/* Wherever a header is cut, its length adjusted, it is refused. */
static void test_headers_cut_anywhere(void)
{
	static const char text[] =
		"{'descr': [(('t', 'n\\xe9'), '<i4', (2, 3)), ('b', "
		"[('c', '<M8[25ns]')])], 'fortran_order': True, "
		"'shape': (3, 4)}";
	struct npy_file f;
	char cut[sizeof(text)];

	CHECK_EQ(parse(&f, 3, text), 0);
	CHECK_EQ(f.npy.itemsize, 24 + 8);
	for (size_t len = 0; len < strlen(text); len++) {
		memcpy(cut, text, len);
		cut[len] = '\0';
		CHECK_EQ(parse(&f, 1, cut), DLF_EFORMAT);
		CHECK_EQ(parse(&f, 3, cut), DLF_EFORMAT);
	}
}

static void test_random_damage(void)
{
	static const char text[] =
		"{'descr': [(('t', 'n\\xe9'), '<i4', (2, 3)), ('b', "
		"[('c', '<M8[25ns]')])], 'fortran_order': True, "
		"'shape': (3, 4)}";
	struct npy_file f;
	uint64_t seed = 1;
	long accepted = 0, wrong = 0;

	for (int round = 0; round < 20000; round++) {
		build(&f, 1 + round % 3, text);
		f.size = 4000;
		for (int flips = 1 + round % 4; flips > 0; flips--) {
			seed = seed * 6364136223846793005u + 1442695040888963u;
			f.bytes[(seed >> 33) % f.header_end] ^=
				(unsigned char)(1 + (seed >> 20) % 255);
		}
		int rc = parse_part(&f, f.header_end);

		if (!rc) {
			accepted++;
			wrong += f.npy.nbytes > f.size - f.npy.data_offset ||
				 f.npy.ndim > DLF_NPY_MAX_DIMS ||
				 f.npy.descr_len > f.header_end;
		} else if (rc == DLF_EMORE) {
			wrong += f.need <= f.header_end || f.need > f.size;
		} else {
			wrong += (rc != DLF_EFORMAT && rc != DLF_ETRUNCATED &&
				  rc != DLF_EUNSUPPORTED) ||
				 f.fault.code != rc || !f.fault.what[0];
		}
	}
	CHECK_EQ(wrong, 0);
	CHECK(accepted > 0 && accepted < 10000);
}

void test_npy(void)
{
	test_what_numpy_writes();
	test_spellings();
	test_long_integers_of_python_2();
	test_malformed_headers();
	test_npy_dtypes();
	test_orders();
	test_shapes();
	test_dimension_limit();
	test_wrong_prefix();
	test_short_heads();
	test_short_files();
	test_lying_header_lengths();
	test_headers_cut_anywhere();
	test_random_damage();
}
