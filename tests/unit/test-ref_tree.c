#include "mount/ref_tree.h"

#include <errno.h>

#include "base/cleanup.h"
#include "lib/test.h"

CLEANUP_DEFINE(struct ref_tree *, ref_tree_free);

struct ingest_file {
	int refs;
};

static struct ingest_file *take(struct ingest_file *f)
{
	f->refs++;
	return f;
}

TEST(a_node_lives_as_long_as_it_is_looked_up_made_or_written)
{
	cleanup(ref_tree_freep) struct ref_tree *t = NULL;
	struct ingest_file f = {0}, other = {0};
	struct ref_info info;
	uint32_t id, dir;

	CHECK_EQ(ref_tree_new(&t), 0);
	id = ref_tree_ref(t, "a/x", false);
	CHECK(id != 0);
	CHECK_EQ(ref_tree_ref(t, "a/x", false), id);
	dir = ref_tree_ref(t, "a/x", true); /* a file and a directory are two */
	CHECK(dir != id);
	CHECK(ref_tree_get(t, id, &info) && !info.is_dir && strcmp(info.ref, "a/x") == 0);
	CHECK_EQ(ref_tree_count(t), 2);
	ref_tree_forget(t, dir, 1);
	CHECK(!ref_tree_get(t, dir, &info));
	CHECK_EQ(ref_tree_set_writer(t, id, &f), 0);
	CHECK_EQ(ref_tree_set_writer(t, id, &other), -EBUSY);
	CHECK_EQ(ref_tree_set_writer(t, dir, &other), -ENOENT);
	ref_tree_forget(t, id, 2);
	CHECK(ref_tree_get(t, id, &info)); /* its writer keeps it */
	CHECK(ref_tree_writer(t, "a/x", take) == &f && f.refs == 1);
	CHECK(ref_tree_writer(t, "a/y", take) == NULL);
	ref_tree_clear_writer(t, "a/x", &other); /* not the one it has */
	CHECK(ref_tree_writer(t, "a/x", take) == &f);
	ref_tree_clear_writer(t, "a/x", &f);
	CHECK(!ref_tree_get(t, id, &info));
	CHECK_EQ(ref_tree_count(t), 0);
	ref_tree_forget(t, id, 5);
}

static int add_name(void *arg, const char *name)
{
	strcat(strcat(arg, name), ","); /* NOLINT: small names of this test */
	return 0;
}

static int refuse(void *arg, const char *name)
{
	(void)arg;
	(void)name;
	return -EIO;
}

TEST(directories_are_made_once_and_removed_when_empty)
{
	cleanup(ref_tree_freep) struct ref_tree *t = NULL;
	char names[64] = "";
	uint32_t id;

	CHECK_EQ(ref_tree_new(&t), 0);
	CHECK(!ref_tree_is_dir(t, "a/"));
	CHECK_EQ(ref_tree_mkdir(t, "a/"), 0);
	CHECK_EQ(ref_tree_mkdir(t, "a/"), -EEXIST);
	CHECK_EQ(ref_tree_mkdir(t, "a/b/"), 0);
	CHECK_EQ(ref_tree_mkdir(t, "ab/"), 0);
	CHECK(ref_tree_is_dir(t, "a/b/") && !ref_tree_is_dir(t, "a/b"));
	CHECK_EQ(ref_tree_subdirs(t, "a/", add_name, names), 0);
	CHECK_STR(names, "b,");
	CHECK_EQ(ref_tree_subdirs(t, "", refuse, NULL), -EIO);
	CHECK_EQ(ref_tree_subdirs(t, "a/b/", refuse, NULL), 0);
	CHECK_EQ(ref_tree_rmdir(t, "a/"), -ENOTEMPTY);
	CHECK_EQ(ref_tree_rmdir(t, "x/"), -ENOENT);
	id = ref_tree_ref(t, "a/b/", true);
	CHECK_EQ(ref_tree_rmdir(t, "a/b/"), 0);
	CHECK_EQ(ref_tree_rmdir(t, "a/b/"), -ENOENT);
	CHECK(!ref_tree_is_dir(t, "a/b/")); /* though somebody still has it looked up */
	CHECK_EQ(ref_tree_mkdir(t, "a/b/"), 0);
	CHECK_EQ(ref_tree_ref(t, "a/b/", true), id);
	CHECK_EQ(ref_tree_rmdir(t, "a/b/"), 0);
	CHECK_EQ(ref_tree_rmdir(t, "a/"), 0);
	CHECK_EQ(ref_tree_rmdir(t, "ab/"), 0);
	ref_tree_forget(t, id, 2);
	CHECK_EQ(ref_tree_count(t), 0);
}

TEST(a_ref_is_listed_in_the_deepest_directory_that_was_made)
{
	cleanup(ref_tree_freep) struct ref_tree *t = NULL;

	CHECK_EQ(ref_tree_new(&t), 0);
	CHECK(!ref_tree_is_deeper(t, "", "a/b/x"));
	CHECK_EQ(ref_tree_mkdir(t, "a/"), 0);
	CHECK(ref_tree_is_deeper(t, "", "a/b/x"));
	CHECK(!ref_tree_is_deeper(t, "", "ab"));
	CHECK(!ref_tree_is_deeper(t, "a/", "a/b/x"));
	CHECK_EQ(ref_tree_mkdir(t, "a/b/"), 0);
	CHECK(ref_tree_is_deeper(t, "a/", "a/b/x"));
	CHECK(!ref_tree_is_deeper(t, "a/b/", "a/b/x"));
}

TEST(the_longest_ref_fits)
{
	cleanup(ref_tree_freep) struct ref_tree *t = NULL;
	char ref[INGEST_REF_MAX + 3];
	struct ref_info info;
	uint32_t id;

	memset(ref, 'r', sizeof(ref));
	ref[INGEST_REF_MAX + 1] = '\0';
	CHECK_EQ(ref_tree_new(&t), 0);
	id = ref_tree_ref(t, ref, true);
	CHECK(ref_tree_get(t, id, &info) && strcmp(info.ref, ref) == 0);
	CHECK_EQ(ref_tree_ref(t, ref, true), id);
	CHECK(ref_tree_free(NULL) == NULL);
}

TEST_MAIN()
