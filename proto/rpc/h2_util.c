#include "rpc/h2_util.h"

#include <stdio.h>
#include <string.h>

enum { MAX_ENCODED_MESSAGE = 3 * 1024 };

nghttp2_nv h2_nv(const char *name, const char *value)
{
	return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value),
			    NGHTTP2_NV_FLAG_NONE};
}

void h2_trailers_init(struct h2_trailers *t, enum rpc_status status, const char *message)
{
	*t = (struct h2_trailers){0};
	(void)snprintf(t->status, sizeof(t->status), "%d", (int)status);
	buf_init(&t->text, MAX_ENCODED_MESSAGE);
	t->nv[t->n++] = h2_nv("grpc-status", t->status);
	if (message != NULL && message[0] != '\0') {
		(void)rpc_message_encode(message, &t->text); /* as much as there is room for */
		t->nv[t->n++] = h2_nv("grpc-message", t->text.data);
	}
}

void h2_trailers_done(struct h2_trailers *t)
{
	buf_done(&t->text);
}

void h2_trailers_add_headers(struct h2_trailers *t, const char *http_status)
{
	memmove(t->nv + 2, t->nv, t->n * sizeof(t->nv[0]));
	t->nv[0] = h2_nv(":status", http_status);
	t->nv[1] = h2_nv("content-type", "application/grpc");
	t->n += 2;
}
