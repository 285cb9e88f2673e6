/* Memory that runs out between a challenge and the request that it holds up. */
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/test.h"

#include "base/fd.h"
#include "registry/call.h"
#include "registry/client.h"

#define DIGEST "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

char *__real_strdup(const char *s);
char *__wrap_strdup(const char *s);

static atomic_int countdown; /* which copy of an Authorization fails: the first is 1 */

char *__wrap_strdup(const char *s)
{
	if (strncmp(s, "Basic ", 6) == 0 && --countdown == 0)
		return NULL;
	return __real_strdup(s);
}

static const char challenge[] = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n"
				"Connection: close\r\nWWW-Authenticate: Basic realm=\"x\"\r\n\r\n";
static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n"
			     "Docker-Content-Digest: " DIGEST "\r\n\r\n";

/* A registry that wants a password, and answers HEAD; ends when its socket does. */
static void *serve(void *arg)
{
	int listen_fd = *(int *)arg, fd;

	while ((fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		char text[4096] = "";
		size_t n = 0;
		ssize_t r = 1;
		const char *reply;

		while (r > 0 && n < sizeof(text) - 1 && strstr(text, "\r\n\r\n") == NULL) {
			r = recv(fd, text + n, sizeof(text) - 1 - n, 0);
			n += r > 0 ? (size_t)r : 0;
		}
		reply = strstr(text, "\nAuthorization: Basic ") != NULL ? answer : challenge;
		(void)fd_write_full(fd, reply, strlen(reply));
		(void)close(fd);
	}
	return NULL;
}

static void listen_somewhere(int *ret_fd, char *ret_host, size_t n)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&at, len) == 0 && listen(fd, 8) == 0);
	CHECK_EQ(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	(void)snprintf(ret_host, n, "127.0.0.1:%d", ntohs(at.sin_port));
	*ret_fd = fd;
}

TEST(a_request_survives_that_its_authorization_cannot_be_copied)
{
	struct registry_config config = {.credentials = "me:secret", .hosts_dir = "/nonexistent"};
	char host[64] = "";
	pthread_t server;
	int fd = -1;

	listen_somewhere(&fd, host, sizeof(host));
	CHECK_EQ(pthread_create(&server, NULL, serve, &fd), 0);
	for (int i = 1; i <= 2; i++) {
		struct registry_name name = {.host = host, .repository = "r", .object = "latest"};
		struct registry_object o = {0};
		struct registry *r = NULL;
		struct err err = {0};
		int k;

		CHECK_EQ(registry_new(&config, &r, NULL), 0);
		countdown = i;
		k = registry_describe(r, REGISTRY_RESOLVE, &name, &o, &err);
		CHECK(countdown <= 0);
		CHECK(k == 0 || (k == -ENOMEM && err.msg[0] != '\0'));
		CHECK(k < 0 || (o.has_size && o.size == 7));
		registry_free(r);
	}
	(void)shutdown(fd, SHUT_RDWR);
	(void)pthread_join(server, NULL);
	(void)close(fd);
}

TEST_MAIN()
