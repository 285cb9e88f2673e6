/* The protocol's messages by short names. */
#ifndef SHIM_MESSAGES_H
#define SHIM_MESSAGES_H

#include "shim_pb/shim.pb-c.h"

#define SHIM(name) Containerd__Shim__V1__##name
#define SHIM_DESCRIPTOR(name) (&containerd__shim__v1__##name##__descriptor)

#endif
