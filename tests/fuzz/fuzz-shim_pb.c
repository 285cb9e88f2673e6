/*
 * Messages of shim.proto: what can be unpacked is packed and unpacked again to the same bytes. The
 * first byte of an input selects the message. Unknown fields are the library's to keep, and it
 * keeps some that it does not read again (field number 0), so these are unpacked and packed alone.
 */
#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "shim_pb/shim.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const ProtobufCMessageDescriptor *select_message(uint8_t n)
{
	const ProtobufCServiceDescriptor *s = &containerd__shim__v1__shim__descriptor;
	const ProtobufCMethodDescriptor *m = &s->methods[(n >> 1) % s->n_methods];

	return (n & 1) != 0 ? m->output : m->input;
}

static bool has_unknown(const ProtobufCMessage *m)
{
	const ProtobufCMessageDescriptor *d = m->descriptor;
	bool any = m->n_unknown_fields > 0;

	for (unsigned int i = 0; i < d->n_fields && !any; i++) {
		const ProtobufCFieldDescriptor *f = &d->fields[i];
		const char *at = (const char *)m + f->offset;
		const ProtobufCMessage *const *one = (const void *)at;
		size_t n;

		if (f->type != PROTOBUF_C_TYPE_MESSAGE)
			continue;
		if (f->label == PROTOBUF_C_LABEL_REPEATED) {
			memcpy(&n, (const char *)m + f->quantifier_offset, sizeof(n));
			for (size_t k = 0; k < n && !any; k++)
				any = has_unknown(
					(*(const ProtobufCMessage *const *const *)(const void *)
						 at)[k]);
		} else if (*one != NULL) {
			any = has_unknown(*one);
		}
	}
	return any;
}

static uint8_t *pack(const ProtobufCMessage *m, size_t *ret_len)
{
	uint8_t *p;

	*ret_len = protobuf_c_message_get_packed_size(m);
	p = malloc(*ret_len + 1);
	if (p != NULL)
		*ret_len = protobuf_c_message_pack(m, p);
	return p;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const ProtobufCMessageDescriptor *d;
	ProtobufCMessage *first, *second;
	uint8_t *bytes, *again;
	size_t len, again_len;

	if (size == 0)
		return 0;
	d = select_message(data[0]);
	first = protobuf_c_message_unpack(d, NULL, size - 1, data + 1);
	if (first == NULL)
		return 0;
	bytes = pack(first, &len);
	if (has_unknown(first)) {
		free(bytes);
		protobuf_c_message_free_unpacked(first, NULL);
		return 0;
	}
	second = protobuf_c_message_unpack(d, NULL, len, bytes);
	assert(second != NULL);
	again = pack(second, &again_len);
	assert(len == again_len && memcmp(bytes, again, len) == 0);
	free(bytes);
	free(again);
	protobuf_c_message_free_unpacked(first, NULL);
	protobuf_c_message_free_unpacked(second, NULL);
	return 0;
}
