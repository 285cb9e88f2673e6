#include "unpack/tar.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "unpack/tar_fields.h"

/* Old GNU sparse headers: GNU tar manual, "Basic Tar Format". */
enum { GNU_AT_SPARSE = 386, GNU_AT_EXTENDED = 482, GNU_AT_REALSIZE = 483, EXT_AT_EXTENDED = 504 };

void tar_init(struct tar *t, bytes_next_fn *next, void *arg)
{
	*t = (struct tar){0};
	bytes_init(&t->in, next, arg);
	pax_init(&t->pax, TAR_MAX_SPECIAL);
	tar_sparse_init(&t->sparse);
	buf_init(&t->long_path, TAR_MAX_SPECIAL);
	buf_init(&t->long_link, TAR_MAX_SPECIAL);
}

void tar_done(struct tar *t)
{
	pax_done(&t->pax);
	tar_sparse_done(&t->sparse);
	buf_done(&t->long_path);
	buf_done(&t->long_link);
}

const char *tar_name(const struct tar *t)
{
	return t->entry.path != NULL ? t->entry.path : "";
}

bool tar_has_end_mark(const struct tar *t)
{
	return t->ended;
}

int tar_drain(struct tar *t, struct err *err)
{
	int r = bytes_pass(&t->in, UINT64_MAX, err);

	return r < 0 ? r : 0;
}

static int cut_short(struct err *err)
{
	return err_set(err, EBADMSG, "the archive is cut short");
}

static bool is_zero(const uint8_t *block)
{
	return block[0] == 0 && memcmp(block, block + 1, TAR_BLOCK_BYTES - 1) == 0;
}

/* A block into block[]: 1, 0 at the end, or a negative errno. */
static int read_block(struct tar *t, uint8_t *block, struct err *err)
{
	ssize_t n = bytes_read(&t->in, block, TAR_BLOCK_BYTES, err);

	if (n <= 0)
		return (int)n;
	return n == TAR_BLOCK_BYTES ? 1 : cut_short(err);
}

/* The data of a special member into b, its padding passed over. */
static int read_special(struct tar *t, int64_t size, struct buf *b, struct err *err)
{
	size_t n = (size_t)size;
	ssize_t got;
	int r;

	b->len = 0;
	if (size < 0 || n > TAR_MAX_SPECIAL - 1)
		return err_set(err, size < 0 ? EBADMSG : E2BIG,
			       "a header of %lld bytes is over the limit of %zu", (long long)size,
			       TAR_MAX_SPECIAL);
	r = buf_reserve(b, n + 1);
	if (r < 0)
		return err_set(err, -r, "out of memory");
	got = bytes_read(&t->in, b->data, n, err);
	if (got < 0)
		return (int)got;
	b->len = (size_t)got;
	b->data[got] = '\0';
	if (b->len < n)
		return cut_short(err);
	r = bytes_pass(&t->in, (TAR_BLOCK_BYTES - n % TAR_BLOCK_BYTES) % TAR_BLOCK_BYTES, err);
	return r == 0 ? cut_short(err) : r;
}

static int number(const uint8_t *block, int at, size_t n, const char *what, int64_t *ret,
		  struct err *err)
{
	if (tar_number(block + at, n, ret) < 0)
		return err_set(err, EBADMSG, "bad %s in the header", what);
	return 0;
}

static int id_of(int64_t n, const char *what, uint32_t *ret, struct err *err)
{
	/* (uid_t)-1 means "leave it" to chown(2). */
	if (n < 0 || n >= UINT32_MAX)
		return err_set(err, EBADMSG, "%s %lld is out of range", what, (long long)n);
	*ret = (uint32_t)n;
	return 0;
}

/* A field that is not terminated when it is full, appended to out. */
static char *add_field(char *out, const uint8_t *p, size_t n)
{
	size_t len = strnlen((const char *)p, n);

	memcpy(out, p, len);
	out[len] = '\0';
	return out + len;
}

static void take_names(struct tar *t, const uint8_t *block)
{
	enum tar_dialect dialect = tar_dialect(block);
	char *end = t->name;

	if ((dialect == TAR_USTAR || dialect == TAR_STAR) && block[TAR_AT_PREFIX] != '\0') {
		end = add_field(end, block + TAR_AT_PREFIX, dialect == TAR_STAR ? 131 : 155);
		*end++ = '/';
	}
	(void)add_field(end, block + TAR_AT_NAME, 100);
	(void)add_field(t->link, block + TAR_AT_LINK, 100);
	t->entry.path = t->name;
	t->entry.link = t->link;
	if (t->pax.path != NULL)
		t->entry.path = t->pax.path;
	if (t->pax.sparse_name != NULL)
		t->entry.path = t->pax.sparse_name;
	if (t->pax.link != NULL)
		t->entry.link = t->pax.link;
	if (t->has_long_path)
		t->entry.path = t->long_path.data;
	if (t->has_long_link)
		t->entry.link = t->long_link.data;
}

static int take_type(struct tar *t, uint8_t flag, struct err *err)
{
	size_t len = strlen(t->entry.path);

	switch (flag) {
	case '0':
	case '7':
	case 'S':
		t->entry.type = TAR_FILE;
		return 0;
	case '\0': /* V7 had no directories but by their name */
		t->entry.type = len > 0 && t->entry.path[len - 1] == '/' ? TAR_DIR : TAR_FILE;
		return 0;
	case '1':
		t->entry.type = TAR_LINK;
		return 0;
	case '2':
		t->entry.type = TAR_SYMLINK;
		return 0;
	case '3':
		t->entry.type = TAR_CHAR;
		return 0;
	case '4':
		t->entry.type = TAR_BLOCK;
		return 0;
	case '5':
		t->entry.type = TAR_DIR;
		return 0;
	case '6':
		t->entry.type = TAR_FIFO;
		return 0;
	default:
		return err_set(err, EOPNOTSUPP, "no layer has members of type \"%c\"", flag);
	}
}

static int take_owner(struct tar *t, const uint8_t *block, struct err *err)
{
	struct tar_entry *e = &t->entry;
	int64_t uid = (int64_t)t->pax.uid, gid = (int64_t)t->pax.gid, mode;
	int r = number(block, TAR_AT_MODE, 8, "mode", &mode, err);

	if (r == 0 && !t->pax.has_uid)
		r = number(block, TAR_AT_UID, 8, "uid", &uid, err);
	if (r == 0 && !t->pax.has_gid)
		r = number(block, TAR_AT_GID, 8, "gid", &gid, err);
	if (r == 0)
		r = id_of(uid, "uid", &e->uid, err);
	if (r == 0)
		r = id_of(gid, "gid", &e->gid, err);
	if (r == 0)
		e->mode = (uint32_t)mode & 07777;
	return r;
}

static int take_device(struct tar *t, const uint8_t *block, struct err *err)
{
	int64_t major, minor;
	int r;

	if (t->entry.type != TAR_CHAR && t->entry.type != TAR_BLOCK)
		return 0;
	r = number(block, TAR_AT_MAJOR, 8, "device", &major, err);
	if (r == 0)
		r = number(block, TAR_AT_MINOR, 8, "device", &minor, err);
	if (r == 0)
		r = id_of(major, "device", &t->entry.major, err);
	if (r == 0)
		r = id_of(minor, "device", &t->entry.minor, err);
	return r;
}

static int take_times(struct tar *t, const uint8_t *block, struct err *err)
{
	enum tar_dialect dialect = tar_dialect(block);
	int at = dialect == TAR_GNU ? TAR_AT_GNU_ATIME : TAR_AT_STAR_ATIME;
	int64_t s;
	int r = number(block, TAR_AT_MTIME, 12, "mtime", &s, err);

	if (r < 0)
		return r;
	t->entry.mtime.tv_sec = s;
	if ((dialect == TAR_GNU || dialect == TAR_STAR) && block[at] != '\0') {
		r = number(block, at, 12, "atime", &s, err);
		if (r < 0)
			return r;
		t->entry.atime.tv_sec = s;
	}
	if (t->pax.has_mtime)
		t->entry.mtime = t->pax.mtime;
	if (t->pax.has_atime)
		t->entry.atime = t->pax.atime;
	return 0;
}

/* Extents of an old GNU header: n pairs of 12 bytes; an empty one ends them. */
static int take_gnu_extents(struct tar *t, const uint8_t *p, int n, struct err *err)
{
	for (int i = 0; i < n && p[0] != '\0'; i++, p += 24) {
		int64_t offset, length;
		int r = number(p, 0, 12, "sparse map", &offset, err);

		if (r == 0)
			r = number(p, 12, 12, "sparse map", &length, err);
		if (r == 0 && (offset < 0 || length < 0))
			r = err_set(err, EBADMSG, "bad map of a sparse file");
		if (r == 0)
			r = tar_sparse_add_number(&t->sparse, (uint64_t)offset, err);
		if (r == 0)
			r = tar_sparse_add_number(&t->sparse, (uint64_t)length, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int take_gnu_sparse(struct tar *t, const uint8_t *block, struct err *err)
{
	uint8_t more[TAR_BLOCK_BYTES];
	bool extended = block[GNU_AT_EXTENDED] != 0;
	int64_t size;
	int r = number(block, GNU_AT_REALSIZE, 12, "size", &size, err);

	if (r == 0 && size < 0)
		r = err_set(err, EBADMSG, "bad size in the header");
	if (r == 0)
		r = take_gnu_extents(t, block + GNU_AT_SPARSE, 4, err);
	while (r == 0 && extended) {
		r = read_block(t, more, err);
		if (r == 0)
			r = cut_short(err);
		if (r > 0)
			r = take_gnu_extents(t, more, 21, err);
		extended = more[EXT_AT_EXTENDED] != 0;
	}
	if (r == 0)
		t->entry.size = (uint64_t)size;
	return r;
}

/* Which of the four sparse formats, if any: fills entry.size and the map. */
static int take_sparse(struct tar *t, const uint8_t *block, struct err *err)
{
	const struct pax *p = &t->pax;
	bool is_1_0 = p->has_sparse_version && p->sparse_major == 1 && p->sparse_minor == 0;
	int r = 0;

	if (block[TAR_AT_TYPE] == 'S') {
		tar_sparse_reset(&t->sparse);
		r = take_gnu_sparse(t, block, err);
	} else if (is_1_0 || p->sparse_map != NULL || p->has_sparse_pairs) {
		if (!p->has_sparse_size)
			return err_set(err, EBADMSG, "a sparse file without its size");
		if (is_1_0 || p->sparse_map != NULL)
			tar_sparse_reset(&t->sparse);
		if (is_1_0)
			r = tar_sparse_read_map(&t->sparse, &t->in, &t->data_left, err);
		else if (p->sparse_map != NULL)
			r = tar_sparse_add_list(&t->sparse, p->sparse_map, err);
		t->entry.size = p->sparse_size;
	} else {
		return 0;
	}
	t->entry.is_sparse = true;
	if (r == 0 && t->entry.size > INT64_MAX)
		r = err_set(err, EBADMSG, "bad size in the header");
	return r < 0 ? r : tar_sparse_check(&t->sparse, t->entry.size, t->data_left, err);
}

static int take_size(struct tar *t, const uint8_t *block, struct err *err)
{
	int64_t size = (int64_t)t->pax.size;
	int r = t->pax.has_size ? 0 : number(block, TAR_AT_SIZE, 12, "size", &size, err);

	if (r < 0)
		return r;
	if (size < 0 || size > INT64_MAX - TAR_BLOCK_BYTES)
		return err_set(err, EBADMSG, "bad size in the header");
	if (t->entry.type != TAR_FILE)
		return 0;
	t->entry.size = t->data_left = (uint64_t)size;
	t->pad_left = (uint32_t)(-(uint64_t)size % TAR_BLOCK_BYTES);
	return take_sparse(t, block, err);
}

static int take_entry(struct tar *t, const uint8_t *block, struct err *err)
{
	int r;

	take_names(t, block);
	r = take_type(t, block[TAR_AT_TYPE], err);
	if (r == 0)
		r = take_owner(t, block, err);
	if (r == 0)
		r = take_device(t, block, err);
	if (r == 0)
		r = take_times(t, block, err);
	if (r == 0)
		r = take_size(t, block, err);
	if (r < 0)
		return r;
	t->entry.xattrs = t->pax.xattrs;
	t->entry.n_xattrs = t->pax.n_xattrs;
	t->entry.acl_access = t->pax.acl_access;
	t->entry.acl_default = t->pax.acl_default;
	return 1;
}

/* A member that says something about the next one: 1, or 0 when it is none of these. */
static int take_special(struct tar *t, const uint8_t *block, struct err *err)
{
	uint8_t type = block[TAR_AT_TYPE];
	int64_t size;
	int r;

	if (type != 'x' && type != 'g' && type != 'L' && type != 'K')
		return 0;
	r = number(block, TAR_AT_SIZE, 12, "size", &size, err);
	if (r < 0)
		return r;
	switch (type) {
	case 'L':
		t->has_long_path = true;
		return read_special(t, size, &t->long_path, err);
	case 'K':
		t->has_long_link = true;
		return read_special(t, size, &t->long_link, err);
	default:
		pax_reset(&t->pax);
		tar_sparse_reset(&t->sparse);
		r = read_special(t, size, &t->pax.raw, err);
		if (r < 0)
			return r;
		if (type == 'x')
			r = pax_parse(&t->pax, &t->sparse, err);
		return r < 0 ? r : 1;
	}
}

/* The end mark is two blocks of zeros; one alone at the very end will do. */
static int take_end_mark(struct tar *t, struct err *err)
{
	uint8_t block[TAR_BLOCK_BYTES];
	int r = read_block(t, block, err);

	if (r < 0)
		return r;
	if (r > 0 && !is_zero(block))
		return err_set(err, EBADMSG, "a lone block of zeros between members");
	t->ended = true;
	return 0;
}

static void begin_entry(struct tar *t)
{
	t->entry = (struct tar_entry){0};
	pax_reset(&t->pax);
	tar_sparse_reset(&t->sparse);
	t->has_long_path = t->has_long_link = false;
	t->data_left = 0;
	t->pad_left = 0;
	t->extent = 0;
	t->at = 0;
}

static int pass_data(struct tar *t, struct err *err)
{
	int r = bytes_pass(&t->in, t->data_left, err);

	if (r > 0)
		r = bytes_pass(&t->in, t->pad_left, err);
	return r == 0 ? cut_short(err) : r;
}

int tar_next(struct tar *t, const struct tar_entry **ret, struct err *err)
{
	uint8_t block[TAR_BLOCK_BYTES];
	bool special = false;
	int r = pass_data(t, err);

	if (r < 0)
		return r;
	begin_entry(t);
	for (;;) {
		r = read_block(t, block, err);
		if (r == 0 && special)
			return cut_short(err);
		if (r <= 0)
			return r;
		if (is_zero(block))
			return take_end_mark(t, err);
		if (!tar_checksum_ok(block))
			return err_set(err, EBADMSG, "no tar header where one should be");
		r = take_special(t, block, err);
		if (r < 0)
			return r;
		if (r == 0)
			break;
		special = true;
	}
	r = take_entry(t, block, err);
	if (r > 0)
		*ret = &t->entry;
	return r;
}

/* Where the next byte of data goes, and how many go there. */
static uint64_t room_at(struct tar *t)
{
	const struct tar_extent *x;

	if (!t->entry.is_sparse)
		return t->data_left;
	while (t->at >= t->sparse.extents[t->extent].length) {
		t->extent++; /* data_left > 0: there is one */
		t->at = 0;
	}
	x = &t->sparse.extents[t->extent];
	return x->length - t->at;
}

int tar_data(struct tar *t, const uint8_t **ret_p, size_t *ret_n, uint64_t *ret_offset,
	     struct err *err)
{
	uint64_t room;
	size_t n;
	int r;

	if (t->data_left == 0)
		return 0;
	r = bytes_fill(&t->in, err);
	if (r == 0)
		return cut_short(err);
	if (r < 0)
		return r;
	room = room_at(t);
	n = room < t->in.n ? (size_t)room : t->in.n;
	*ret_p = t->in.p;
	*ret_n = n;
	*ret_offset = t->at + (t->entry.is_sparse ? t->sparse.extents[t->extent].offset : 0);
	bytes_skip(&t->in, n);
	t->data_left -= n;
	t->at += n;
	return 1;
}
