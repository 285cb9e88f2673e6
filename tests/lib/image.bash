# Images of our own making, in a store, by dist alone.
#
#   put_image NAME CONFIG DIRECTORY...   an image of one gzip layer for each directory; CONFIG is the
#                                        "config" of its config, JSON. $MANIFEST is its digest
#   busybox_root DIRECTORY               busybox and a link for each of its applets
#   copy_programs DIRECTORY FILE...      programs of this machine, with what they are linked with
#
# The store is $ROOT.
#
# shellcheck shell=bash disable=SC2034

load ../lib/common

# put_blob FILE: ingest it; prints its digest
put_blob() {
	dist ingest --root "$ROOT" "test-$BASHPID-$RANDOM" <"$1" || return 1
	echo "sha256:$(sha_of "$1")"
}

# descriptor KIND DIGEST FILE
descriptor() {
	jq -cn --arg t "application/vnd.oci.image.$1" --arg d "$2" --argjson s "$(stat -c %s "$3")" \
		'{mediaType: $t, digest: $d, size: $s}'
}

put_image() {
	local name=$1 config=$2 dir digest layers='[]' diff_ids='[]' w
	shift 2
	w=$(mktemp -d "$T/put.XXXXXX")
	for dir; do
		tar -C "$dir" --sort=name --numeric-owner --xattrs --xattrs-include='*' --format=posix \
			-cf "$w/layer.tar" . || return 1
		diff_ids=$(jq -c --arg d "sha256:$(sha_of "$w/layer.tar")" '. + [$d]' <<<"$diff_ids")
		gzip -nf "$w/layer.tar"
		digest=$(put_blob "$w/layer.tar.gz") || return 1
		layers=$(jq -c ". + [$(descriptor layer.v1.tar+gzip "$digest" "$w/layer.tar.gz")]" <<<"$layers")
	done
	jq -cn --argjson c "$config" --argjson d "${DIFF_IDS:-$diff_ids}" \
		--arg a "$(dpkg --print-architecture)" \
		'{architecture: $a, os: "linux", config: $c, rootfs: {type: "layers", diff_ids: $d},
		  history: [$d[] | {created_by: "a layer"}, {created_by: "a label", empty_layer: true}]}' \
		>"$w/config"
	digest=$(put_blob "$w/config") || return 1
	jq -cn --argjson c "$(descriptor config.v1+json "$digest" "$w/config")" --argjson l "$layers" \
		'{schemaVersion: 2, mediaType: "application/vnd.oci.image.manifest.v1+json",
		  config: $c, layers: $l}' >"$w/manifest"
	MANIFEST=$(put_blob "$w/manifest") || return 1
	rm -rf "$w"
	dist tag --root "$ROOT" "$MANIFEST" "$name" >/dev/null
}

busybox_root() {
	mkdir -p "$1/bin" "$1/etc" "$1/tmp" "$1/proc" "$1/sys" "$1/dev"
	cp /bin/busybox "$1/bin/busybox"
	/bin/busybox --list | grep -vx busybox | while read -r applet; do
		ln -s busybox "$1/bin/$applet"
	done
}

copy_programs() {
	local to=$1 f lib
	shift
	for f; do
		install -D "$f" "$to$f"
		ldd "$f" | grep -oE '/[^ ]+' | while read -r lib; do
			[ -e "$to$lib" ] || install -D "$(readlink -f "$lib")" "$to$lib"
		done
	done
}
