#!/usr/bin/env bats
# Images of the store: their names, what they are made of, root filesystems and bundles of them.
# skopeo, umoci and runc are the judges.
#
# shellcheck disable=SC2016 # what is in single quotes is for a shell in a container

load ../lib/image

setup() {
	common_setup
	ROOT=$T/store
	ID=$(basename "$T")
}

teardown() {
	[ "$(id -u)" -ne 0 ] || runc delete --force "$ID" 2>/dev/null
	common_teardown
}

# A small image of two layers: a file, and that file replaced.
small_image() {
	mkdir -p "$T/one/etc" "$T/two/etc"
	echo first >"$T/one/etc/issue"
	echo second >"$T/two/etc/issue"
	: >"$T/one/etc/gone"
	: >"$T/two/etc/.wh.gone"
	put_image "$1" '{"Cmd":["/bin/sh","-c","echo  two  words"],"Env":["A=b"],"Labels":{"k":"v"}}' \
		"$T/one" "$T/two"
}

chain_of() {
	local chain='' id
	for id; do
		chain=${chain:+sha256:$(printf '%s %s' "$chain" "$id" | sha256sum | cut -d' ' -f1)}
		chain=${chain:-$id}
		echo "$chain"
	done
}

@test "a name stands for an image however it is written, until it is taken away" {
	small_image redis:6
	local name
	for name in redis:6 library/redis:6 docker.io/redis:6 docker.io/library/redis:6 "$MANIFEST" \
		"redis@$MANIFEST"; do
		[ "$(dist inspect --root "$ROOT" --json "$name" | jq -r .digest)" = "$MANIFEST" ]
	done
	[ "$(dist images --root "$ROOT" -q)" = docker.io/library/redis:6 ]
	[ "$(dist tag --root "$ROOT" redis:6 localhost:5000/other)" = localhost:5000/other:latest ]
	[ "$(dist images --root "$ROOT" --json | jq -r '.[].name' | wc -l)" -eq 2 ]
	fails dist inspect --root "$ROOT" redis
	[[ $output = *'no image "docker.io/library/redis:latest" in the store' ]]
	fails dist inspect --root "$ROOT" Redis
	[[ $output = *'lower case' ]]
	fails dist tag --root "$ROOT" "sha256:$(printf %064d 1)" x
	[[ $output = *'is not in the store' ]]
	fails dist tag --root "$ROOT" redis:6 "x@$MANIFEST"
	[ "$(dist untag --root "$ROOT" redis:6)" = docker.io/library/redis:6 ]
	fails dist inspect --root "$ROOT" redis:6
	fails dist untag --root "$ROOT" redis:6
	dist inspect --root "$ROOT" "$MANIFEST"
}

@test "the store is an OCI layout for skopeo and umoci, which may write to it as well" {
	small_image redis:6
	[ "$(umoci ls --layout "$ROOT")" = docker.io/library/redis:6 ]
	[ "$(skopeo inspect "oci:$ROOT:docker.io/library/redis:6" | jq -r .Digest)" = "$MANIFEST" ]
	skopeo --insecure-policy copy -q "oci:$ROOT:docker.io/library/redis:6" "oci:$T/copy:x"
	cmp "$T/copy/blobs/sha256/${MANIFEST#*:}" "$ROOT/blobs/sha256/${MANIFEST#*:}"
	"$REPO/scripts/make-image" "$T/made"
	skopeo --insecure-policy copy -q "oci:$T/made:latest" "oci:$ROOT:theirs"
	[ "$(dist images --root "$ROOT" -q | sort | paste -sd' ')" = "docker.io/library/redis:6 theirs" ]
	dist tag --root "$ROOT" theirs jq
	dist untag --root "$ROOT" redis:6
	[ "$(umoci ls --layout "$ROOT" | sort | paste -sd' ')" = "docker.io/library/jq:latest theirs" ]
	# and a layout of another make is a store as it is
	dist inspect --root "$T/made" latest | grep -E '^Size: +3.* in 5 layers$'
}

@test "an index.json that is damaged is told and left alone" {
	small_image redis:6
	echo '{"manifests":' >"$ROOT/index.json"
	fails dist images --root "$ROOT"
	[[ $output = *index.json* ]]
	fails dist tag --root "$ROOT" "$MANIFEST" x
	[ "$(cat "$ROOT/index.json")" = '{"manifests":' ]
	dist inspect --root "$ROOT" "$MANIFEST"
}

@test "inspect tells what an image is made of, and what of it is here" {
	small_image redis:6
	run dist inspect --root "$ROOT" redis:6
	[ "$status" -eq 0 ]
	[[ $output = *"Name:        docker.io/library/redis:6"* ]]
	[[ $output = *"Digest:      $MANIFEST"* ]]
	[[ $output = *'Command:     ["/bin/sh", "-c", "echo  two  words"]'* ]]
	[[ $output = *"Labels:      k=v"* ]]
	[ "$(grep -c 'yes.*a layer' <<<"$output")" -eq 4 ] # in the layers and in the history
	dist inspect --root "$ROOT" --json redis:6 >"$T/json"
	jq -e '.layers | length == 2 and all(.local)' "$T/json"
	jq -e '.size == .local_size and .platform == "linux/" + .config.architecture' "$T/json"
	jq -e '.manifest.layers[0].digest == .layers[0].digest' "$T/json"
	mapfile -t ids < <(jq -r '.config.rootfs.diff_ids[]' "$T/json")
	[ "$(jq -r '.layers[].chain_id' "$T/json")" = "$(chain_of "${ids[@]}")" ]
	dist delete --root "$ROOT" "$(jq -r '.layers[1].digest' "$T/json")"
	[[ $(dist inspect --root "$ROOT" redis:6) = *"and 1 layers are here"* ]]
	[[ $(dist images --root "$ROOT") = *"1 of 2 layers"* ]]
}

@test "of an index the manifest of the platform is taken" {
	local mine other
	small_image mine
	mine=$MANIFEST
	mkdir "$T/three"
	put_image other '{"Cmd":["/x"]}' "$T/three"
	other=$MANIFEST
	for d in "$mine" "$other"; do
		jq -cn --arg d "$d" --argjson s "$(stat -c %s "$ROOT/blobs/sha256/${d#*:}")" \
			--arg a "$([ "$d" = "$mine" ] && dpkg --print-architecture || echo mips64le)" \
			'{mediaType: "application/vnd.oci.image.manifest.v1+json", digest: $d, size: $s,
			  platform: {os: "linux", architecture: $a}}'
	done | jq -cs '{schemaVersion: 2, manifests: .}' >"$T/index"
	dist tag --root "$ROOT" "$(put_blob "$T/index")" both
	[ "$(dist inspect --root "$ROOT" --json both | jq -r .digest)" = "$mine" ]
	[ "$(dist inspect --root "$ROOT" --json --platform linux/mips64le both | jq -r .digest)" = "$other" ]
	[[ $(dist inspect --root "$ROOT" --platform linux/s390x both) = *linux/mips64le* ]]
}
