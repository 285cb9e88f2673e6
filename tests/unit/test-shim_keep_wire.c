#include "shim/keep_wire.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "lib/test.h"

struct pair {
	int fd[2];
};

static void pair_close(struct pair *p)
{
	for (int i = 0; i < 2; i++)
		if (p->fd[i] >= 0)
			(void)close(p->fd[i]);
}

static int pair_open(struct pair *p)
{
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, p->fd);
}

/* Of three files that are not the same, and of no fourth one. */
static int open_file(int i)
{
	static const char *const names[] = {"/dev/null", "/dev/zero", "/dev/full"};

	return i < 0 ? -1 : open(names[i], O_RDONLY | O_CLOEXEC);
}

static bool is_same(int a, int b)
{
	struct stat x, y;

	return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_rdev == y.st_rdev;
}

static int n_open(void)
{
	int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* Each set of slots, so that also the first and the last are missing. */
TEST(each_descriptor_comes_into_its_own_slot)
{
	cleanup(pair_close) struct pair p = {{-1, -1}};
	int before;

	CHECK_EQ(pair_open(&p), 0);
	before = n_open();
	for (uint32_t slots = 0; slots < 1U << KEEP_SLOTS; slots++) {
		const struct keep_message m = {.kind = KEEP_PUT, .serial = 70000 + slots};
		struct keep_message got;
		int sent[KEEP_SLOTS], fds[KEEP_SLOTS];

		for (int i = 0; i < KEEP_SLOTS; i++)
			sent[i] = (slots & (1U << i)) != 0 ? open_file(i) : -1;
		CHECK_EQ(keep_send(p.fd[0], &m, sent, MSG_DONTWAIT), 0);
		CHECK_EQ(keep_receive(p.fd[1], &got, fds), 0);
		CHECK_EQ(got.kind, KEEP_PUT);
		CHECK_EQ(got.serial, m.serial);
		CHECK_EQ(got.slots, slots);
		for (int i = 0; i < KEEP_SLOTS; i++) {
			CHECK_EQ(fds[i] >= 0, sent[i] >= 0);
			if (fds[i] < 0)
				continue;
			CHECK(is_same(fds[i], sent[i]));
			CHECK_EQ(fcntl(fds[i], F_GETFD), FD_CLOEXEC);
		}
		keep_close_fds(fds);
		keep_close_fds(sent);
		CHECK_EQ(fds[0], -1);
		CHECK_EQ(n_open(), before);
	}
}

TEST(what_is_to_be_dropped_comes_as_it_was_said)
{
	cleanup(pair_close) struct pair p = {{-1, -1}};
	const struct keep_message m = {.kind = KEEP_DROP, .serial = 3, .slots = 5};
	struct keep_message got;
	int fds[KEEP_SLOTS];

	CHECK_EQ(pair_open(&p), 0);
	CHECK_EQ(keep_send(p.fd[0], &m, NULL, 0), 0);
	CHECK_EQ(keep_receive(p.fd[1], &got, fds), 0);
	CHECK_EQ(got.kind, KEEP_DROP);
	CHECK_EQ(got.serial, 3);
	CHECK_EQ(got.slots, 5);
	CHECK(fds[0] < 0 && fds[1] < 0 && fds[2] < 0);
}

/* n bytes with so many descriptors. */
static int send_raw(int fd, const void *bytes, size_t n, size_t n_fds)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int) * 8)];
	} control = {0};
	struct iovec iov = {(void *)bytes, n};
	struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1};
	int fds[8];

	for (size_t i = 0; i < n_fds; i++)
		fds[i] = fd;
	if (n_fds > 0) {
		h.msg_control = &control;
		h.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
		memcpy(CMSG_DATA(&control.header), fds, sizeof(int) * n_fds);
	}
	return sendmsg(fd, &h, 0) < 0 ? -errno : 0;
}

TEST(what_is_no_message_leaves_nothing_open)
{
	const struct keep_message unknown = {.kind = KEEP_DONE + 1, .slots = 7},
				  long_one[2] = {{.kind = KEEP_PUT, .slots = 7}},
				  few = {.kind = KEEP_PUT, .slots = 7}, none = {.kind = KEEP_PUT};
	const struct {
		const void *bytes;
		size_t n, n_fds;
		int r;
	} table[] = {
		{&unknown, sizeof(unknown), 3, -EBADMSG},
		{&few, 1, 3, -EBADMSG},
		{&few, sizeof(few) - 1, 0, -EBADMSG},
		{&few, sizeof(few), 1, 0}, /* those that are there */
		{&few, sizeof(few), 4, 0}, /* and no more than there are slots */
		{&few, sizeof(few), 8, 0},
		{&none, sizeof(none), 3, 0},
		{long_one, sizeof(long_one), 3, 0}, /* the rest of a packet is cut off (recv(2)) */
	};
	cleanup(pair_close) struct pair p = {{-1, -1}};
	int before;

	CHECK_EQ(pair_open(&p), 0);
	before = n_open();
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct keep_message got = {.serial = 99};
		int fds[KEEP_SLOTS] = {-1, -1, -1};

		CHECK_EQ(send_raw(p.fd[0], table[i].bytes, table[i].n, table[i].n_fds), 0);
		CHECK_EQ(keep_receive(p.fd[1], &got, fds), table[i].r);
		if (table[i].r < 0)
			CHECK_EQ(got.serial, 99);
		else
			keep_close_fds(fds);
		CHECK_EQ(n_open(), before);
	}
}

TEST(the_end_is_told)
{
	cleanup(pair_close) struct pair p = {{-1, -1}};
	struct keep_message m = {.kind = KEEP_DONE};
	int fds[KEEP_SLOTS];

	CHECK_EQ(pair_open(&p), 0);
	(void)close(p.fd[0]);
	p.fd[0] = -1;
	CHECK_EQ(keep_receive(p.fd[1], &m, fds), -EPIPE);
	CHECK_EQ(keep_send(p.fd[1], &m, NULL, 0), -EPIPE);
}

TEST_MAIN()
