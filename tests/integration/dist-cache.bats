#!/usr/bin/env bats
# What is pinned and what may be evicted, without a mount.

load ../lib/image

setup() {
	common_setup
	ROOT=$T/store
	mkdir "$T/base" "$T/a" "$T/b"
	echo base >"$T/base/f"
	echo a >"$T/a/f"
	echo b >"$T/b/f"
}

# Two images on one base, of one config: $A and $B are their manifests.
two_images() {
	put_image a:1 '{}' "$T/base" "$T/a"
	A=$MANIFEST
	BASE=$(layer_of "$A" 0)
	tar -C "$T/b" -czf "$T/b.tgz" .
	layer=$(descriptor layer.v1.tar+gzip "$(put_blob "$T/b.tgz")" "$T/b.tgz")
	jq -c ".layers[1] = $layer" "$ROOT/blobs/sha256/${A#sha256:}" >"$T/b.json"
	B=$(put_blob "$T/b.json")
}

layer_of() {
	jq -r ".layers[$2].digest" "$ROOT/blobs/sha256/${1#sha256:}"
}

# All blobs as an old fetch would have left them.
as_fetched() {
	local f label
	for f in "$ROOT"/blobs/sha256/*; do
		label=$ROOT/labels/sha256/${f##*/}
		jq -c '. + {source: ["host.example/x"], origin: "fetch"}' "$label" >"$label.new"
		mv "$label.new" "$label"
		touch -a -m -d '2 days ago' "$f"
	done
	label=$ROOT/labels/sha256/
	for f in "$A" "$B"; do
		jq -c '. + {mediatype: "application/vnd.oci.image.manifest.v1+json"}' \
			"$label${f#sha256:}" >"$T/label"
		mv "$T/label" "$label${f#sha256:}"
	done
}

pinned() {
	dist list --root "$ROOT" --pinned -q
}

blobs() {
	dist list --root "$ROOT" -q | wc -l
}

@test "an image is pinned with its parts, and what it shares with another one stays so" {
	two_images
	[ "$(dist pin --root "$ROOT" a:1)" = "$A" ]
	[ "$(pinned | wc -l)" -eq 4 ] # manifest, config, two layers
	[ "$(dist list --root "$ROOT" --pinned --json | jq -r '[.[].pinned] | sort | join(" ")')" = \
		"part part part yes" ]
	dist pin --root "$ROOT" "$B" a:1
	[ "$(pinned | wc -l)" -eq 6 ]
	[ "$(dist unpin --root "$ROOT" a:1)" = "$A" ]
	[ "$(pinned | wc -l)" -eq 4 ]
	pinned | grep -q "$BASE"
	dist unpin --root "$ROOT" "$B" "$A"
	[ -z "$(pinned)" ]
}

@test "a blob that is pinned by itself stays pinned when its image is not" {
	two_images
	dist pin --root "$ROOT" "$BASE" a:1
	dist unpin --root "$ROOT" a:1
	[ "$(pinned)" = "$BASE" ]
	dist unpin --root "$ROOT" "$BASE"
	[ -z "$(pinned)" ]
}

@test "what cannot be pinned is an error of one line" {
	two_images
	fails dist pin --root "$ROOT" c:1
	[ "${#lines[@]}" -eq 1 ]
	fails dist pin --root "$ROOT" "sha256:$(printf %064d 1)"
	[[ $output == *"not in the store" ]]
	fails dist pin --root "$ROOT"
	fails dist unpin --root "$ROOT" "sha256:xyz"
	[ "${#lines[@]}" -eq 1 ]
}

@test "evict removes what was fetched, oldest first, and neither pinned ones nor manifests" {
	two_images
	[ -z "$(dist evict --root "$ROOT" --to 0 --grace 0)" ] # all was ingested by hand
	as_fetched
	dist pin --root "$ROOT" "$B"
	old=$(layer_of "$A" 1)
	touch -a -m -d '3 days ago' "$ROOT/blobs/sha256/${old#sha256:}"
	[ "$(dist evict --root "$ROOT" --to 0 --dry-run | head -n1)" = "$old" ]
	[ "$(blobs)" -eq 6 ]
	size=$(stat -c %s "$ROOT/blobs/sha256/${old#sha256:}")
	[ -z "$(dist evict --root "$ROOT" --to "$size")" ]
	[ "$(dist evict --root "$ROOT" --to $((size - 1)))" = "$old" ]
	[ "$(blobs)" -eq 5 ]
	dist path --root "$ROOT" "$A" "$B" "$BASE"
	[ "$(jq -r '.size' "$ROOT/labels/sha256/${old#sha256:}")" -eq "$size" ]
	# Ingested again, it is somebody's own.
	dist unpin --root "$ROOT" "$B"
	dist ingest --root "$ROOT" --expected-digest "$BASE" </dev/null
	dist evict --root "$ROOT" --to 0 --grace 0
	dist path --root "$ROOT" "$BASE" "$A" "$B"
	[ "$(blobs)" -eq 3 ]
}

@test "a blob that was used a moment ago stays, which is said" {
	two_images
	as_fetched
	touch -a "$ROOT/blobs/sha256/${BASE#sha256:}"
	run dist evict --root "$ROOT" --to 0
	[ "$status" -eq 0 ]
	[[ $output == *"a moment ago"* ]]
	[ "$(blobs)" -eq 3 ]
	for wrong in "--to x" "" "--to 1 --grace x" "--to 1 sha256:x"; do
		# shellcheck disable=SC2086
		fails dist evict --root "$ROOT" $wrong
		[ "${#lines[@]}" -eq 1 ]
	done
}
