/*
 * Unit tests: TAP on stdout, exit 1 when a check failed, 77 when all was skipped.
 *
 *   TEST(a_failed_sync_publishes_nothing) { CHECK(x); CHECK_EQ(a, b); CHECK_STR(s, "t"); }
 *   TEST_MAIN()
 *
 * A test is a sentence that says what is promised. A failed CHECK ends its test (return), so
 * use cleanup attributes. `program NAME` runs the tests whose name holds NAME.
 */
#ifndef TESTS_LIB_TEST_H
#define TESTS_LIB_TEST_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct test_case {
	const char *name;
	void (*run)(void);
	struct test_case *next;
};

static struct test_case *test_first, **test_last = &test_first;
static int test_failed, test_skipped;

#define TEST(id)                                                          \
	static void id(void);                                             \
	static struct test_case test_case_##id = {#id, id, NULL};         \
	__attribute__((constructor)) static void test_register_##id(void) \
	{                                                                 \
		*test_last = &test_case_##id;                             \
		test_last = &test_case_##id.next;                         \
	}                                                                 \
	static void id(void)

#define TEST_FAIL(...)                                   \
	do {                                             \
		printf("# %s:%d: ", __FILE__, __LINE__); \
		printf(__VA_ARGS__);                     \
		printf("\n");                            \
		test_failed = 1;                         \
		return;                                  \
	} while (0)

#define CHECK(cond)                                     \
	do {                                            \
		if (!(cond))                            \
			TEST_FAIL("not so: %s", #cond); \
	} while (0)

#define CHECK_EQ(a, b)                                                          \
	do {                                                                    \
		long long a_ = (long long)(a), b_ = (long long)(b);             \
		if (a_ != b_)                                                   \
			TEST_FAIL("%s is %lld, not %s (%lld)", #a, a_, #b, b_); \
	} while (0)

#define CHECK_STR(a, b)                                                    \
	do {                                                               \
		const char *a_ = (a), *b_ = (b);                           \
		if (strcmp(a_, b_) != 0)                                   \
			TEST_FAIL("%s is \"%s\", not \"%s\"", #a, a_, b_); \
	} while (0)

#define SKIP(why)                               \
	do {                                    \
		printf("# skipped: %s\n", why); \
		test_skipped = 1;               \
		return;                         \
	} while (0)

static int test_run_all(int argc, char **argv)
{
	int n = 0, bad = 0, skips = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (struct test_case *t = test_first; t != NULL; t = t->next) {
		if (argc > 1 && strstr(t->name, argv[1]) == NULL)
			continue;
		n++;
		test_failed = test_skipped = 0;
		t->run();
		bad += test_failed;
		skips += test_skipped;
		printf("%s %d - %s%s\n", test_failed ? "not ok" : "ok", n, t->name,
		       test_skipped ? " # SKIP" : "");
	}
	printf("1..%d\n", n);
	if (bad > 0 || n == 0)
		return 1;
	if (skips > 0 && getenv("STRICT") != NULL) /* NOLINT(concurrency-mt-unsafe) */
		return 1;
	return skips == n ? 77 : 0;
}

#define TEST_MAIN()                              \
	int main(int argc, char **argv)          \
	{                                        \
		return test_run_all(argc, argv); \
	}

#endif
