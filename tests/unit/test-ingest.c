#include "store/ingest.h"

#include <errno.h>
#include <pthread.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "lib/test.h"
#include "lib/tmp_store.h"
#include "store/blob.h"
#include "store/walk.h"

CLEANUP_DEFINE(struct ingest *, ingest_close);

#define HELLO "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
#define WRONG "sha256:00000000000000000000000000000000000000000000000000000000000000ff"

static int begin(struct tmp_store *t, const char *ref, unsigned int flags, struct ingest **ret)
{
	return ingest_open(t->store, ref, flags, ret, NULL);
}

static int count_blob(void *arg, const struct digest *d, const struct stat *st)
{
	(void)d;
	(void)st;
	++*(int *)arg;
	return 0;
}

static int n_blobs(struct tmp_store *t)
{
	int n = 0;

	return walk_blobs(t->store, count_blob, &n) < 0 ? -1 : n;
}

static int count_ingest(void *arg, const struct ingest_status *st)
{
	(void)st;
	++*(int *)arg;
	return 0;
}

static int n_ingests(struct tmp_store *t)
{
	int n = 0;

	return ingest_walk(t->store, count_ingest, &n) < 0 ? -1 : n;
}

TEST(a_commit_names_the_blob_and_leaves_nothing_else)
{
	TMP_STORE(t);
	cleanup(ingest_closep) struct ingest *i = NULL;
	struct digest d, want;
	struct stat st;
	char text[8];

	CHECK(t.store != NULL);
	CHECK_EQ(begin(&t, "myref", INGEST_CREATE, &i), 0);
	CHECK_EQ(ingest_write(i, "hello", 5, 0), 0);
	CHECK_EQ(n_ingests(&t), 1);
	CHECK_EQ(n_blobs(&t), 0);
	CHECK_EQ(ingest_commit(i, &d, NULL), 0);
	CHECK_EQ(digest_parse_hex(HELLO, &want), 0);
	CHECK(digest_equal(&d, &want));
	CHECK_EQ(n_ingests(&t), 0);
	CHECK_EQ(n_blobs(&t), 1);
	CHECK_EQ(blob_stat(t.store, &d, &st), 0);
	CHECK_EQ(st.st_mode & 07777, 0444);
	CHECK_EQ(st.st_size, 5);
	CHECK_EQ(st.st_nlink, 1);
	CHECK_EQ(pread(ingest_data_fd(i), text, sizeof(text), 0), 5);
	CHECK_EQ(ingest_write(i, "x", 1, 0), -EROFS);
	CHECK_EQ(ingest_truncate(i, 0), -EROFS);
}

TEST_MAIN()
