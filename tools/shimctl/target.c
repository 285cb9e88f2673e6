#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/size.h"
#include "shimctl/shimctl.h"

#define SOCKET_NAME "shim.sock"

struct target target;

bool target_option(int o)
{
	if (o == OPT_SOCKET)
		target.socket = optarg;
	else if (o == OPT_DIR)
		target.dir = optarg;
	else
		return false;
	return true;
}

int target_connect(struct rpc_client **ret, struct err *err)
{
	cleanup_buf struct buf path;
	int r;

	buf_init(&path, 4096);
	if (target.socket != NULL)
		return rpc_client_connect(target.socket, ret, err);
	if (target.dir == NULL)
		return rpc_client_connect(SOCKET_NAME, ret, err);
	r = buf_printf(&path, "%s/" SOCKET_NAME, target.dir);
	if (r < 0)
		return err_errno(err, -r, "connect to %s", target.dir);
	return rpc_client_connect(path.data, ret, err);
}

int shim_call(struct rpc_client *c, const char *method, const ProtobufCMessage *request,
	      const ProtobufCMessageDescriptor *reply, uint64_t timeout_ms, ProtobufCMessage **ret,
	      struct err *err)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "/containerd.shim.v1.Shim/%s", method);
	return rpc_client_call(c, path, request, reply, timeout_ms, ret, err);
}

int shim_call_empty(struct rpc_client *c, const char *method, const ProtobufCMessage *request,
		    uint64_t timeout_ms, struct err *err)
{
	return shim_call(c, method, request, SHIM_DESCRIPTOR(empty), timeout_ms, NULL, err);
}

int shim_fail(const struct cli_program *p, const char *what, const struct err *err, int r)
{
	const char *status =
		err != NULL && err->detail > 0 ? rpc_status_name((unsigned int)err->detail) : NULL;

	if (status == NULL || strcmp(err_text(err, r), status) == 0)
		return cli_fail(p, what, err, r);
	(void)fprintf(stderr, "%s: %s: %s (%s)\n", p->name, what, err_text(err, r), status);
	return CLI_FAILED;
}

bool parse_pid(const struct cli_program *p, const char *s, bool allow_init, uint32_t *ret)
{
	uint64_t v;

	if (size_parse_plain(s, &v) < 0 || v > UINT32_MAX || (v == 0 && !allow_init)) {
		(void)cli_usage_error(p, "\"%s\" is not a pid", s);
		return false;
	}
	*ret = (uint32_t)v;
	return true;
}
