/*
 * Our tar reader held against libarchive: it writes archives in each format, both read them, and
 * whatever either says of an entry the other must say too.
 */
#include "unpack/tar.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <sys/sysmacros.h>

#include "base/buf.h"
#include "lib/test.h"

#define MAX_ARCHIVE ((size_t)8 << 20)

/* ---- the archives ---- */

struct planned {
	const char *path, *link; /* link: of a hard link or a symbolic one */
	__LA_MODE_T type;	 /* AE_IF*; 0: a hard link */
	int64_t size, uid, mtime;
	long nsec; /* for pax alone */
	int mode;
	bool hole; /* data at both ends, nothing between: for pax alone */
	const char *xattr;
};

/* clang-format off */
static const struct planned plans[] = {
	{"etc/", NULL, AE_IFDIR, 0, 0, 1700000000, 0, 0755, false, NULL},
	{"etc/empty", NULL, AE_IFREG, 0, 1, 0, 0, 0600, false, NULL},
	{"etc/one", NULL, AE_IFREG, 1, 65534, 1, 5, 04755, false, "user.note"},
	{"etc/block", NULL, AE_IFREG, 512, 1000, 1234567890, 999999999, 0644, false, NULL},
	{"etc/more", NULL, AE_IFREG, 513, 2097151, 1234567890, 1, 02711, false, NULL},
	{"etc/big", NULL, AE_IFREG, 300001, 0, 2000000000, 0, 0444, false, NULL},
	{"etc/link", "etc/one", 0, 0, 0, 0, 0, 0644, false, NULL},
	{"etc/sym", "../no/where", AE_IFLNK, 0, 7, 99, 0, 0777, false, NULL},
	{"dev/null", NULL, AE_IFCHR, 0, 0, 0, 0, 0666, false, NULL},
	{"dev/loop", NULL, AE_IFBLK, 0, 0, 0, 0, 0660, false, NULL},
	{"run/fifo", NULL, AE_IFIFO, 0, 0, 0, 0, 0622, false, NULL},
	{"caf\xc3\xa9", NULL, AE_IFREG, 3, 0, 0, 0, 0644, false, NULL},
	{"cafe\xcc\x81", NULL, AE_IFREG, 4, 0, 0, 0, 0644, false, NULL},
	{"deep/0123456789012345678901234567890123456789012345678901234567890123456789012345678"
	 "/0123456789012345678901234567890123456789", NULL, AE_IFREG, 9, 0, 0, 0, 0644, false, NULL},
	{"holes", NULL, AE_IFREG, 3 << 20, 0, 5, 0, 0644, true, "user.holes"},
	{"last", NULL, AE_IFREG, 10, 4000000000LL, 0, 0, 0644, false, NULL},
};
/* clang-format on */
#define N_PLANS (sizeof(plans) / sizeof(plans[0]))

static uint8_t byte_at(uint64_t offset)
{
	return (uint8_t)(offset * 31 + offset / 251 + 1);
}

static la_ssize_t keep(struct archive *a, void *arg, const void *p, size_t n)
{
	(void)a;
	return buf_add(arg, p, n) < 0 ? -1 : (la_ssize_t)n;
}

static struct archive_entry *entry_of(const struct planned *p, bool pax)
{
	struct archive_entry *e = archive_entry_new();

	archive_entry_set_pathname(e, p->path);
	archive_entry_set_mode(e, (__LA_MODE_T)((p->type != 0 ? p->type : AE_IFREG) | p->mode));
	if (p->type == 0)
		archive_entry_set_hardlink(e, p->link);
	if (p->type == AE_IFLNK)
		archive_entry_set_symlink(e, p->link);
	archive_entry_set_size(e, p->size);
	archive_entry_set_uid(e, p->uid);
	archive_entry_set_gid(e, p->uid / 2);
	archive_entry_set_mtime(e, p->mtime, pax ? p->nsec : 0);
	if (p->type == AE_IFCHR || p->type == AE_IFBLK) {
		archive_entry_set_rdevmajor(e, 259);
		archive_entry_set_rdevminor(e, 70000);
	}
	if (pax && p->xattr != NULL)
		archive_entry_xattr_add_entry(e, p->xattr, "a\0b\xff", 4);
	if (pax && p->hole) {
		archive_entry_sparse_add_entry(e, 0, 4096);
		archive_entry_sparse_add_entry(e, p->size - 4096, 4096);
	}
	return e;
}

static int write_data(struct archive *a, const struct planned *p)
{
	static uint8_t data[4 << 20];

	for (int64_t i = 0; i < p->size; i++)
		data[i] = p->hole && i >= 4096 && i < p->size - 4096 ? 0 : byte_at((uint64_t)i);
	return archive_write_data(a, data, (size_t)p->size) == p->size ? 0 : -EIO;
}

/* An archive of every plan that the format can hold; *ret_n: how many those are. */
static int write_archive(int format, bool pax, struct buf *out, size_t *ret_n)
{
	struct archive *a = archive_write_new();
	int r = archive_write_set_format(a, format);

	*ret_n = 0;
	if (r == ARCHIVE_OK)
		r = archive_write_open(a, out, NULL, keep, NULL);
	for (size_t i = 0; r >= ARCHIVE_WARN && i < N_PLANS; i++) {
		struct archive_entry *e = entry_of(&plans[i], pax);
		int h = archive_write_header(a, e);

		/* ARCHIVE_FAILED: an id or a device that has no room in this format */
		if (h >= ARCHIVE_WARN) {
			(*ret_n)++;
			r = plans[i].type == AE_IFREG ? write_data(a, &plans[i]) : 0;
		} else if (h != ARCHIVE_FAILED) {
			r = h;
		}
		archive_entry_free(e);
	}
	if (archive_write_free(a) != ARCHIVE_OK)
		r = ARCHIVE_FATAL;
	return r >= ARCHIVE_WARN ? 0 : -EIO;
}

/* ---- what a reader says of them, as text ---- */

struct feeder {
	const struct buf *from;
	size_t at, piece;
};

static ssize_t next_piece(void *arg, const uint8_t **ret, struct err *err)
{
	struct feeder *f = arg;
	size_t n = f->from->len - f->at;

	(void)err;
	n = n < f->piece ? n : f->piece;
	*ret = (const uint8_t *)f->from->data + f->at;
	f->at += n;
	return (ssize_t)n;
}

static uint64_t sum_of(uint64_t sum, const uint8_t *p, size_t n, uint64_t offset)
{
	for (size_t i = 0; i < n; i++)
		sum += p[i] * (offset + i + 1);
	return sum;
}

static void say(struct buf *out, const char *type, const char *path, const char *link,
		const unsigned int numbers[5], uint64_t size, const struct timespec *mtime,
		uint64_t sum)
{
	(void)buf_printf(out, "%s %s -> %s mode %o owner %u:%u device %u:%u size %llu", type, path,
			 link, numbers[0], numbers[1], numbers[2], numbers[3], numbers[4],
			 (unsigned long long)size);
	(void)buf_printf(out, " time %lld.%09ld sum %llu", (long long)mtime->tv_sec, mtime->tv_nsec,
			 (unsigned long long)sum);
}

static int list_by_ours(const struct buf *archive, size_t piece, struct buf *out)
{
	static const char *const types[] = {
		[TAR_FILE] = "file", [TAR_LINK] = "link",   [TAR_SYMLINK] = "symlink",
		[TAR_CHAR] = "char", [TAR_BLOCK] = "block", [TAR_DIR] = "dir",
		[TAR_FIFO] = "fifo",
	};
	struct feeder from = {archive, 0, piece};
	const struct tar_entry *e;
	struct tar t;
	int r;

	tar_init(&t, next_piece, &from);
	while ((r = tar_next(&t, &e, NULL)) > 0) {
		unsigned int numbers[] = {e->mode, e->uid, e->gid, e->major, e->minor};
		struct timespec mtime = e->mtime;
		uint64_t sum = 0, offset;
		const uint8_t *p;
		size_t n;

		while ((r = tar_data(&t, &p, &n, &offset, NULL)) > 0)
			sum = sum_of(sum, p, n, offset);
		if (r < 0)
			break;
		if (e->type == TAR_LINK) { /* a link has the attributes of its file */
			(void)memset(numbers, 0, sizeof(numbers));
			mtime = (struct timespec){0};
		}
		say(out, types[e->type], e->path, e->link, numbers, e->size, &mtime, sum);
		for (size_t i = 0; i < e->n_xattrs; i++)
			(void)buf_printf(out, " %s:%zu", e->xattrs[i].name, e->xattrs[i].len);
		(void)buf_puts(out, "\n");
	}
	if (r == 0 && !tar_has_end_mark(&t))
		r = -ENODATA;
	tar_done(&t);
	return r;
}

static const char *peer_type(struct archive_entry *e)
{
	if (archive_entry_hardlink(e) != NULL)
		return "link";
	switch (archive_entry_filetype(e)) {
	case AE_IFREG:
		return "file";
	case AE_IFLNK:
		return "symlink";
	case AE_IFCHR:
		return "char";
	case AE_IFBLK:
		return "block";
	case AE_IFDIR:
		return "dir";
	case AE_IFIFO:
		return "fifo";
	default:
		return "?";
	}
}

static void say_peer(struct archive_entry *e, uint64_t sum, struct buf *out)
{
	const char *type = peer_type(e), *link = archive_entry_hardlink(e);
	struct timespec mtime = {archive_entry_mtime(e), archive_entry_mtime_nsec(e)};
	bool device = strcmp(type, "char") == 0 || strcmp(type, "block") == 0;
	unsigned int numbers[] = {archive_entry_perm(e), (unsigned int)archive_entry_uid(e),
				  (unsigned int)archive_entry_gid(e),
				  device ? (unsigned int)archive_entry_rdevmajor(e) : 0,
				  device ? (unsigned int)archive_entry_rdevminor(e) : 0};
	const char *name;
	char last[64] = "";
	const void *value;
	size_t n;

	if (link != NULL) {
		(void)memset(numbers, 0, sizeof(numbers));
		mtime = (struct timespec){0};
	} else {
		link = archive_entry_symlink(e);
	}
	say(out, type, archive_entry_pathname(e), link != NULL ? link : "", numbers,
	    strcmp(type, "file") == 0 ? (uint64_t)archive_entry_size(e) : 0, &mtime, sum);
	(void)archive_entry_xattr_reset(e);
	/* It is written in two ways, star's and libarchive's own, and told twice. */
	while (archive_entry_xattr_next(e, &name, &value, &n) == ARCHIVE_OK) {
		if (strcmp(name, last) != 0)
			(void)buf_printf(out, " %s:%zu", name, n);
		(void)snprintf(last, sizeof(last), "%s", name);
	}
	(void)buf_puts(out, "\n");
}

/* A warning is said of every name beyond ASCII, since this program has the C locale. */
static int list_by_peer(const struct buf *archive, struct buf *out)
{
	struct archive *a = archive_read_new();
	struct archive_entry *e;
	int r;

	(void)archive_read_support_format_tar(a);
	r = archive_read_open_memory(a, archive->data, archive->len);
	while (r >= ARCHIVE_WARN && (r = archive_read_next_header(a, &e)) >= ARCHIVE_WARN &&
	       r != ARCHIVE_EOF) {
		uint64_t sum = 0;
		la_int64_t offset;
		const void *p;
		size_t n;

		while ((r = archive_read_data_block(a, &p, &n, &offset)) == ARCHIVE_OK)
			sum = sum_of(sum, p, n, (uint64_t)offset);
		if (r == ARCHIVE_EOF)
			r = ARCHIVE_OK;
		say_peer(e, sum, out);
	}
	(void)archive_read_free(a);
	return r == ARCHIVE_EOF ? 0 : -EIO;
}

static size_t count_lines(const char *s)
{
	size_t n = 0;

	for (; *s != '\0'; s++)
		n += *s == '\n';
	return n;
}

static void both_read(int format, bool pax, size_t at_least)
{
	static const size_t pieces[] = {1, 7, 511, 512, 4096, MAX_ARCHIVE};
	cleanup_buf struct buf archive, theirs;
	size_t n_written;

	buf_init(&archive, MAX_ARCHIVE);
	buf_init(&theirs, MAX_ARCHIVE);
	CHECK_EQ(write_archive(format, pax, &archive, &n_written), 0);
	CHECK(n_written >= at_least);
	CHECK_EQ(list_by_peer(&archive, &theirs), 0);
	CHECK_EQ(count_lines(theirs.data), n_written);
	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		cleanup_buf struct buf ours;

		buf_init(&ours, MAX_ARCHIVE);
		CHECK_EQ(list_by_ours(&archive, pieces[i], &ours), 0);
		CHECK_STR(ours.data, theirs.data);
	}
}

TEST(ustar_is_read_as_libarchive_reads_it)
{
	both_read(ARCHIVE_FORMAT_TAR_USTAR, false, N_PLANS - 5);
}

TEST(gnu_tar_is_read_as_libarchive_reads_it)
{
	both_read(ARCHIVE_FORMAT_TAR_GNUTAR, false, N_PLANS - 2);
}

TEST(pax_is_read_as_libarchive_reads_it)
{
	both_read(ARCHIVE_FORMAT_TAR_PAX_INTERCHANGE, true, N_PLANS);
}

TEST(pax_only_where_needed_is_read_as_libarchive_reads_it)
{
	both_read(ARCHIVE_FORMAT_TAR_PAX_RESTRICTED, true, N_PLANS);
}

TEST_MAIN()
