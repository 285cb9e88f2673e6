#include "oci/mediatype.h"

#include <stddef.h>
#include <string.h>

static const char *const layers[] = {
	MEDIATYPE_OCI_LAYER,	MEDIATYPE_OCI_LAYER "+gzip",	MEDIATYPE_OCI_LAYER "+zstd",
	MEDIATYPE_DOCKER_LAYER, MEDIATYPE_DOCKER_LAYER ".gzip", MEDIATYPE_DOCKER_LAYER ".zstd",
};

static const char *const foreign_layers[] = {
	"application/vnd.oci.image.layer.nondistributable.v1.tar",
	"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
	"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
	"application/vnd.docker.image.rootfs.foreign.diff.tar",
	"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
};

static bool is_name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c != '\0' && strchr("!#$&-^_.+", c) != NULL);
}

bool mediatype_is_valid(const char *s)
{
	const char *slash = strchr(s, '/');

	if (slash == NULL || slash == s || slash[1] == '\0' || strlen(s) >= MEDIATYPE_MAX)
		return false;
	for (const char *p = s; *p != '\0'; p++)
		if (p != slash && !is_name_char(*p))
			return false;
	return true;
}

bool mediatype_is_manifest(const char *s)
{
	return strcmp(s, MEDIATYPE_OCI_MANIFEST) == 0 || strcmp(s, MEDIATYPE_DOCKER_MANIFEST) == 0;
}

bool mediatype_is_index(const char *s)
{
	return strcmp(s, MEDIATYPE_OCI_INDEX) == 0 || strcmp(s, MEDIATYPE_DOCKER_LIST) == 0;
}

bool mediatype_is_config(const char *s)
{
	return strcmp(s, MEDIATYPE_OCI_CONFIG) == 0 || strcmp(s, MEDIATYPE_DOCKER_CONFIG) == 0;
}

bool mediatype_is_layer(const char *s)
{
	for (size_t i = 0; i < sizeof(layers) / sizeof(layers[0]); i++)
		if (strcmp(s, layers[i]) == 0)
			return true;
	return mediatype_is_foreign(s);
}

bool mediatype_is_foreign(const char *s)
{
	for (size_t i = 0; i < sizeof(foreign_layers) / sizeof(foreign_layers[0]); i++)
		if (strcmp(s, foreign_layers[i]) == 0)
			return true;
	return false;
}
