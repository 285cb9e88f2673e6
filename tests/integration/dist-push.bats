#!/usr/bin/env bats
# dist push: what goes from the store to a registry is what skopeo reads there.
#
# shellcheck disable=SC2030,SC2031

load ../lib/fake_registry
load ../lib/registry

setup() {
	common_setup
	unset CONTAINERD_FETCH_TIMEOUT
	export HOME=$T REGISTRY_AUTH_FILE=$T/none.json CONTAINERD_DIST_CONTENT_STORE=$T/root
	mkdir "$T/hosts"
}

push() {
	timeout 120 dist push --hosts-dir "$T/hosts" "$@" 2>"$T/push.log"
}

# An image in the store, as skopeo writes it: $IMAGE is its digest, its name "app:latest" in full.
image_in_store() {
	"$REPO/scripts/make-image" "$T/image" >/dev/null
	skopeo --insecure-policy copy -q "oci:$T/image:latest" \
		"oci:$T/root:docker.io/library/app:latest"
	IMAGE=$(jq -r '.manifests[0].digest' "$T/root/index.json")
}

# same_there NAME [SKOPEO_OPTION...]: skopeo copies NAME back, the same to the byte.
same_there() {
	local name=$1
	shift
	rm -rf "$T/back"
	skopeo --insecure-policy copy -q --src-tls-verify=false "$@" "docker://$name" "dir:$T/back"
	cmp "$T/back/manifest.json" "$T/root/blobs/sha256/${IMAGE#sha256:}"
	local d
	for d in $(jq -r '.config.digest, .layers[].digest' "$T/back/manifest.json"); do
		cmp "$T/back/${d#sha256:}" "$T/root/blobs/sha256/${d#sha256:}"
	done
}

@test "an image, by name and by digest; the second time nothing is sent" {
	start_registry
	image_in_store
	[ "$(push app "$REGISTRY/team/app:v1")" = "$IMAGE" ]
	same_there "$REGISTRY/team/app:v1"
	[ "$(grep -c ' pushed' "$T/push.log")" -eq 7 ]
	[ "$(push --json "$IMAGE" "$REGISTRY/team/app" | jq .sent_bytes)" -eq 0 ]
	same_there "$REGISTRY/team/app:latest"
	push "$IMAGE" "$REGISTRY/team/app@$IMAGE"
	fails push "$IMAGE" "$REGISTRY/team/app@sha256:$(printf 1%.0s {1..64})"
	grep -q 'names another digest' "$T/push.log"
}

@test "a registry that wants a user gets it, and what is pulled there again is the same" {
	HTPASSWD_LOGIN=u:p start_registry
	image_in_store
	fails push app "$REGISTRY/app"
	[ "$(wc -l <"$T/push.log")" -eq 1 ]
	dist login --hosts-dir "$T/hosts" --auth-file "$T/auth.json" -u u "$REGISTRY" <<<p
	push --auth-file "$T/auth.json" app "$REGISTRY/app"
	same_there "$REGISTRY/app:latest" --src-creds u:p
	dist pull --root "$T/second" --hosts-dir "$T/hosts" --creds u:p "$REGISTRY/app"
	diff <(ls "$T/root/blobs/sha256") <(ls "$T/second/blobs/sha256")
}

@test "across repositories of a registry layers are mounted, not sent" {
	start_registry
	"$REPO/scripts/make-image" "$T/image" >/dev/null
	skopeo --insecure-policy copy -q --dest-tls-verify=false "oci:$T/image:latest" \
		"docker://$REGISTRY/one:latest"
	dist pull --hosts-dir "$T/hosts" "$REGISTRY/one"
	IMAGE=$(jq -r '.manifests[0].digest' "$T/root/index.json")
	[ "$(push --json "$REGISTRY/one" "$REGISTRY/two" | jq .sent_bytes)" -eq 0 ]
	same_there "$REGISTRY/two:latest"
	push "$REGISTRY/one" "$REGISTRY/three"
	[ "$(grep -c ' mounted' "$T/push.log")" -eq 6 ]
}

@test "a blob by itself" {
	local d
	start_registry
	random_file "$T/data" 5000000
	dist ingest x <"$T/data"
	d=sha256:$(sha_of "$T/data")
	[ "$(push "$d" "$REGISTRY/blobs")" = "$d" ]
	curl -fsS "http://$REGISTRY/v2/blobs/blobs/$d" | cmp - "$T/data"
	fails push "sha256:$(printf 0%.0s {1..64})" "$REGISTRY/blobs"
	grep -q 'not in the store' "$T/push.log"
}

@test "an index whole, or one platform of it" {
	local arm
	start_fake
	start_registry
	fake_image main '{"layers": [{"seed": 1, "size": 1000}]}' >"$T/a"
	fake_image main '{"architecture": "arm64", "layers": [{"seed": 2, "size": 1000}]}' >"$T/b"
	jq -nc --slurpfile a "$T/a" --slurpfile b "$T/b" '{schemaVersion: 2,
		mediaType: "application/vnd.oci.image.index.v1+json", manifests: [
		($a[0] | {mediaType, digest, size, platform: {os: "linux", architecture: "amd64"}}),
		($b[0] | {mediaType, digest, size, platform: {os: "linux", architecture: "arm64"}})]}' |
		tr -d '\n' >"$T/index"
	curl -fsS -X PUT -H 'Content-Type: application/vnd.oci.image.index.v1+json' \
		--data-binary "@$T/index" "http://$FAKE/v2/app/manifests/latest"
	arm=$(jq -r .digest "$T/b")
	dist pull --hosts-dir "$T/hosts" --platform linux/arm64 "$FAKE/app"
	fails push "$FAKE/app" "$REGISTRY/app"
	grep -q 'not in the store (--platform' "$T/push.log"
	[ "$(push --platform linux/arm64 "$FAKE/app" "$REGISTRY/app:arm")" = "$arm" ]
	[ "$(dist resolve -q --hosts-dir "$T/hosts" "$REGISTRY/app:arm")" = "$arm" ]
	dist pull --hosts-dir "$T/hosts" --all-platforms "$FAKE/app"
	push "$FAKE/app" "$REGISTRY/app:all"
	skopeo inspect --raw --tls-verify=false "docker://$REGISTRY/app:all" | cmp - "$T/index"
	rm -rf "$T/back"
	skopeo --insecure-policy copy -q --all --src-tls-verify=false "docker://$REGISTRY/app:all" \
		"dir:$T/back"
}

@test "breaks on the way are got over; a refusal is told in a line" {
	start_fake
	image_in_store
	fake_rules '[{"method": "PATCH", "nth": 2, "do": "drop"}, {"method": "PUT", "nth": 1, "do": "status", "code": 503},
		{"method": "POST", "nth": 1, "do": "status", "code": 429, "headers": {"Retry-After": "1"}}]'
	push app "$FAKE/app"
	same_there "$FAKE/app:latest"
	fake_ctl PUT host/main '{"read_only": true}' >/dev/null
	fails push app "$FAKE/other"
	[ "$(grep -c ^dist: "$T/push.log")" -eq 1 ]
	grep -q "push app to $FAKE/other" "$T/push.log"
}

@test "what is called wrongly fails in a line" {
	image_in_store
	fails dist push
	fails dist push app
	fails dist push nope localhost:1/app
	[ "${#lines[@]}" -eq 1 ]
	fails dist push app UPPER/x
	[ "${#lines[@]}" -eq 1 ]
	fails dist push --platform linux/s390x app localhost:1/app
}
