/* SPDX-License-Identifier: Apache-2.0
 *
 * The dtypes of .npy headers: their sizes, and what is no dtype.
 */
#include "check.h"
#include "npy_file.h"

static void test_simple_dtypes(void)
{
	static const struct {
		const char *descr;
		uint64_t itemsize;
	} good[] = {
		{"'|b1'", 1},	  {"'|i1'", 1},	     {"'<u2'", 2},
		{"'>i4'", 4},	  {"'=u8'", 8},	     {"'<f2'", 2},
		{"'>f8'", 8},	  {"'<f16'", 16},    {"'<c8'", 8},
		{"'<c16'", 16},	  {"'<c32'", 32},    {"'|S10'", 10},
		{"'|S0'", 0},	  {"'<U5'", 20},     {"'>U1'", 4},
		{"'|V16'", 16},	  {"'<M8[ns]'", 8},  {"'<m8[25s]'", 8},
		{"'>M8[D]'", 8},  {"'<M8'", 8},	     {"'<M8[M]'", 8},
		{"'|S2147483647'", INT32_MAX},
	};
	static const char *const bad[] = {
		"''", "'<'", "'<f'", "'f4'", "'<f3'", "'<i16'", "'<b2'",
		"'<x4'", "'<f4 '", "'<f4x'", "'@f4'", "'<-4'", "'<f-4'",
		"'<c4'", "'<f04'", "'<M08[s]'", "'<M8[05s]'",
		"'<M4[ns]'", "'<M8[]'", "'<M8[25]'", "'<M8[ns'",
		"'<M8[xs]'", "'<M8ns]'", "'<M8[ns]]'", "'<M8[9999999999s]'",
		"'<i8[ns]'", "'|S2147483648'", "'<U536870912'",
		"'|S99999999999999999999999'", "'<\\x664'", "4", "None",
		"<f4", "('<f4', (2,))", "b'<f4'",
	};
	static const char *const objects[] = {
		"'|O'", "'|O8'", "'<O'", "[('a', '|O')]",
		"[('a', '<i4'), ('b', [('c', '|O', (2,))])]",
	};
	struct npy_file f;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		CHECK_EQ(parse_values(&f, good[i].descr, "False", "(2,)"), 0);
		CHECK_EQ(f.npy.itemsize, good[i].itemsize);
		CHECK_EQ(f.npy.nbytes, 2 * good[i].itemsize);
		CHECK_EQ(f.npy.descr_len, strlen(good[i].descr) - 2);
		CHECK_EQ(f.npy.structured, 0);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CHECK_EQ(parse_values(&f, bad[i], "False", "(2,)"),
			 DLF_EFORMAT);
	for (size_t i = 0; i < sizeof(objects) / sizeof(objects[0]); i++)
		CHECK_EQ(parse_values(&f, objects[i], "False", "(2,)"),
			 DLF_EUNSUPPORTED);
}

static void test_structured_dtypes(void)
{
	static const struct {
		const char *descr;
		uint64_t itemsize;
	} good[] = {
		{"[]", 0},
		{"[('a', '<i4')]", 4},
		{"[ ( 'a' , '<i4' , ) , ]", 4},
		{"[('a', '<i4'), ('b', '<f8', (2, 3))]", 4 + 48},
		{"[('a', '|i1'), ('', '|V3'), ('b', '<i4')]", 8},
		{"[(('title', 'name'), '<c16')]", 16},
		{"[('a', [('b', '<i2'), ('c', '|S3', (2,))], (4,))]", 4 * 8},
		{"[('a', '<f4', ())]", 4},
		{"[('a', '<f4', (0,))]", 0},
		{"[('it\\'s', '<i4'), (\"it's\", '<i4')]", 8},
		{"[('\\x00\\u20ac\\U0001f600\\n\\\\', '<U2')]", 8},
		{"[('\xe9', '<i4')]", 4},
	};
	static const char *const bad[] = {
		"[", "[(", "[('a')]", "[('a',)]", "['<i4']", "[('a', )]",
		"[('a', '<i4'", "[('a', '<i4']", "[('a', '<i4')",
		"[('a', '<i4') ('b', '<i4')]", "[,]", "[('a', '<i4'),,]",
		"[('a', '<i4', 3)]", "[('a', '<i4', (3))]",
		"[('a', '<i4', (3,), 1)]", "[(('t',), '<i4')]",
		"[(('t', 'n', 'x'), '<i4')]", "[(('t' 'n'), '<i4')]",
		"[('a', '<q4')]", "[('a' '<i4')]", "[(1, '<i4')]",
		"[('a', '|V2000000000'), ('b', '|V2000000000')]",
		"[('a', '<i4', (9223372036854775807, 9223372036854775807))]",
		"[('a', '<i4', (1000000, 1000000))]",
		"[('\\q', '<i4')]", "[('\\x4', '<i4')]", "[('\\u12', '<i4')]",
		"[('\\U00110000', '<i4')]", "[('a\nb', '<i4')]", "[('\\",
	};
	struct npy_file f;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		CHECK_EQ(parse_values(&f, good[i].descr, "False", "(2,)"), 0);
		CHECK_EQ(f.npy.itemsize, good[i].itemsize);
		CHECK_EQ(f.npy.descr_len, strlen(good[i].descr));
		CHECK_EQ(f.npy.structured, 1);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CHECK_EQ(parse_values(&f, bad[i], "False", "(2,)"),
			 DLF_EFORMAT);
}

static void test_nesting(void)
{
	char descr[2000];
	struct npy_file f;

	for (int depth = 1; depth <= 100; depth++) {
		descr[0] = '\0';
		for (int i = 0; i < depth; i++)
			strcat(descr, "[('a', ");
		strcat(descr, "'<i4'");
		for (int i = 0; i < depth; i++)
			strcat(descr, ")]");
		CHECK_EQ(parse_values(&f, descr, "False", "()"),
			 depth <= 32 ? 0 : DLF_EUNSUPPORTED);
	}
}

static void test_names_are_utf8_in_version_3(void)
{
	static const char *const good[] = {
		"\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80",
		"\xf4\x8f\xbf\xbf", "\xef\xbf\xbd",
	};
	static const char *const bad[] = {
		"\xe9", "\x80", "\xc0\x80", "\xc1\xbf", "\xe0\x9f\xbf",
		"\xed\xa0\x80", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80",
		"\xf5\x80\x80\x80", "\xe2\x82", "\xe2(\xac", "\xc3",
	};
	struct npy_file f;
	char text[200];

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		snprintf(text, sizeof(text), "{'descr': [('%s', '<i4')], "
			 C_ORDER ", " SHAPE_3 "}", good[i]);
		CHECK_EQ(parse(&f, 3, text), 0);
		CHECK_EQ(parse(&f, 2, text), 0); /* Latin-1: any byte */
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(text, sizeof(text), "{'descr': [('%s', '<i4')], "
			 C_ORDER ", " SHAPE_3 "}", bad[i]);
		CHECK_EQ(parse(&f, 3, text), DLF_EFORMAT);
		CHECK_EQ(parse(&f, 1, text), 0);
	}
}

void test_npy_dtypes(void)
{
	test_simple_dtypes();
	test_structured_dtypes();
	test_nesting();
	test_names_are_utf8_in_version_3();
}
