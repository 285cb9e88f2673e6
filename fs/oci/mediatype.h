/*
 * The media types of images: OCI image spec, media-types.md, and the Docker types that it lists as
 * compatible. Threads: pure functions.
 */
#ifndef OCI_MEDIATYPE_H
#define OCI_MEDIATYPE_H

#include <stdbool.h>

#define MEDIATYPE_MAX 128 /* with the NUL: RFC 6838 allows more, nobody uses it */

#define MEDIATYPE_OCI_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define MEDIATYPE_OCI_INDEX "application/vnd.oci.image.index.v1+json"
#define MEDIATYPE_OCI_CONFIG "application/vnd.oci.image.config.v1+json"
#define MEDIATYPE_OCI_LAYER "application/vnd.oci.image.layer.v1.tar"
#define MEDIATYPE_DOCKER_MANIFEST "application/vnd.docker.distribution.manifest.v2+json"
#define MEDIATYPE_DOCKER_LIST "application/vnd.docker.distribution.manifest.list.v2+json"
#define MEDIATYPE_DOCKER_CONFIG "application/vnd.docker.container.image.v1+json"
#define MEDIATYPE_DOCKER_LAYER "application/vnd.docker.image.rootfs.diff.tar"

/* What Accept says when a manifest or index is asked for, all on one line. */
#define MEDIATYPE_ACCEPT                                                                 \
	MEDIATYPE_DOCKER_MANIFEST ", " MEDIATYPE_DOCKER_LIST ", " MEDIATYPE_OCI_MANIFEST \
				  ", " MEDIATYPE_OCI_INDEX ", */*"

/* "type/subtype" of RFC 6838's characters, no parameters: safe to put into a header. */
bool mediatype_is_valid(const char *s);

bool mediatype_is_manifest(const char *s); /* of one image */
bool mediatype_is_index(const char *s);	   /* of manifests; Docker calls it a list */
bool mediatype_is_config(const char *s);

/* A tar, plain or compressed, that is unpacked to a directory; foreign ones too. */
bool mediatype_is_layer(const char *s);

/* A layer that registries do not hold: its descriptor's urls say where it is. */
bool mediatype_is_foreign(const char *s);

#endif
