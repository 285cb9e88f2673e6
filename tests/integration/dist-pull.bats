#!/usr/bin/env bats
# dist pull: images from a real registry and from one that fails, judged by skopeo and sha256sum.
#
# shellcheck disable=SC2030,SC2031

load ../lib/fake_registry
load ../lib/registry

setup() {
	common_setup
	unset CONTAINERD_FETCH_TIMEOUT
	export HOME=$T REGISTRY_AUTH_FILE=$T/none.json
	mkdir "$T/hosts"
	ROOT=$T/root
}

pull() {
	timeout 120 dist pull --root "$ROOT" --hosts-dir "$T/hosts" "$@" 2>"$T/pull.log"
}

# verified DIGEST...: all of these are in the store, and everything in it is what its name says.
verified() {
	local d
	for d; do
		if [ ! -e "$ROOT/blobs/sha256/${d#sha256:}" ]; then
			echo "not there: $d"
			return 1
		fi
	done
	(cd "$ROOT/blobs/sha256" && for d in *; do echo "$d  $d"; done | sha256sum --quiet -c)
	[ -z "$(ls -A "$ROOT/ingest")" ]
}

nothing_half() {
	(cd "$ROOT/blobs/sha256" && for d in *; do
		[ ! -e "$d" ] || echo "$d  $d"
	done | sha256sum --quiet -c)
}

# Every digest of the image NAME of a registry, by skopeo.
digests() {
	local raw
	raw=$(skopeo inspect --raw --tls-verify=false "docker://$1")
	echo "sha256:$(skopeo inspect --raw --tls-verify=false "docker://$1" | sha256sum | cut -d' ' -f1)"
	jq -r '.config.digest, .layers[].digest' <<<"$raw"
}

@test "what skopeo wrote: every digest, and skopeo reads the store as an OCI layout" {
	local d
	start_registry
	make_image library/app
	mapfile -t d < <(digests "$REGISTRY/library/app:latest")
	[ "${#d[@]}" -ge 7 ]
	[ "$(pull "$REGISTRY/library/app")" = "sha256:$MANIFEST" ]
	verified "${d[@]}"
	# One line for each object where stderr is no terminal, and no escape sequences.
	[ "$(grep -c '^sha256:.* fetched' "$T/pull.log")" -eq "${#d[@]}" ]
	! grep -q $'\033' "$T/pull.log"
	skopeo --insecure-policy copy -q "oci:$ROOT:$REGISTRY/library/app:latest" "dir:$T/copy"
	cmp "$T/copy/manifest.json" "$ROOT/blobs/sha256/$MANIFEST"
	dist images --root "$ROOT" | grep -q "$REGISTRY/library/app:latest"
	dist inspect --root "$ROOT" "$REGISTRY/library/app:latest" >/dev/null
	# By tag and by digest as a second word, and with everything in one.
	[ "$(pull "$REGISTRY/library/app" latest)" = "sha256:$MANIFEST" ]
	[ "$(pull "$REGISTRY/library/app" "sha256:$MANIFEST")" = "sha256:$MANIFEST" ]
	[ "$(pull "$REGISTRY/library/app:latest@sha256:$MANIFEST")" = "sha256:$MANIFEST" ]
	[ "$(grep -c 'is here' "$T/pull.log")" -eq "${#d[@]}" ]
}

@test "Docker's manifests, and a registry that wants a user" {
	HTPASSWD_LOGIN=u:p start_registry
	HTPASSWD_LOGIN=u:p make_image app
	skopeo --insecure-policy copy -q --src-tls-verify=false --dest-tls-verify=false \
		--src-creds u:p --dest-creds u:p --format v2s2 "docker://$REGISTRY/app:latest" \
		"docker://$REGISTRY/app:v2s2"
	fails pull "$REGISTRY/app" v2s2
	[ ! -e "$ROOT/blobs/sha256" ] || [ -z "$(ls "$ROOT/blobs/sha256")" ]
	pull --creds u:p "$REGISTRY/app" v2s2
	pull --creds u:p --json "$REGISTRY/app" v2s2 >"$T/json"
	[ "$(jq -r .mediatype "$T/json")" = application/vnd.docker.distribution.manifest.v2+json ]
	[ "$(jq -r .fetched_bytes "$T/json")" -eq 0 ]
	mapfile -t d < <(jq -r '.objects[].digest' "$T/json")
	verified "${d[@]}"
}

@test "what is pulled comes once, the second time nothing does" {
	local image total
	start_fake
	image=$(fake_image main '{"tag": "latest", "layers": [{"seed": 1, "size": 10000000},
		{"seed": 2, "size": 1}, {"seed": 3, "size": 3000000}, {"seed": 1, "size": 10000000}]}')
	pull --json "$FAKE/app" >"$T/json"
	total=$((13000001 + $(jq .size <<<"$image")))
	[ "$(jq .fetched_bytes "$T/json")" -eq $((total + $(jq '.objects[] |
		select(.kind == "config") | .size' "$T/json"))) ]
	[ "$(fake_sent /blobs/)" -eq $((13000001 + $(jq '.objects[] |
		select(.kind == "config") | .size' "$T/json"))) ]
	[ "$(jq '.objects | length' "$T/json")" -eq 5 ]
	[ ! -s "$T/pull.log" ]
	fake_clear
	pull "$FAKE/app"
	[ "$(fake_sent .)" -eq 0 ]
	[ "$(fake_log 'select(.event == "request")' | wc -l)" -eq 1 ]
	# With a digest there is nothing to ask.
	fake_clear
	pull "$FAKE/app" "$(jq -r .digest <<<"$image")"
	[ -z "$(fake_log)" ]
}

@test "two pulls at once share what they fetch" {
	start_fake
	fake_image main '{"tag": "latest", "layers": [{"seed": 1, "size": 30000000},
		{"seed": 3, "size": 20000000}]}' >/dev/null
	fake_ctl PUT host/main '{"bandwidth": 40000000}' >/dev/null
	pull "$FAKE/app" &
	local one=$! sent
	timeout 120 dist pull --root "$ROOT" --hosts-dir "$T/hosts" "$FAKE/app" 2>"$T/other.log"
	wait $one
	verified
	sent=$(fake_sent /blobs/)
	[ "$sent" -le 51000000 ] # and a config, twice at most
}

# An index of two platforms, tagged "multi", in the fake.
multi() {
	local a b
	a=$(fake_image main '{"layers": [{"seed": 1, "size": 1000}]}')
	b=$(fake_image main '{"architecture": "arm64", "layers": [{"seed": 2, "size": 1000}]}')
	jq -nc --argjson a "$a" --argjson b "$b" '{schemaVersion: 2,
		mediaType: "application/vnd.oci.image.index.v1+json", manifests: [
		{mediaType: $a.mediaType, digest: $a.digest, size: $a.size,
			platform: {os: "linux", architecture: "amd64"}},
		{mediaType: $b.mediaType, digest: $b.digest, size: $b.size,
			platform: {os: "linux", architecture: "arm64", variant: "v8"}}]}' |
		tr -d '\n' >"$T/index"
	curl -fsS -X PUT -H 'Content-Type: application/vnd.oci.image.index.v1+json' \
		--data-binary "@$T/index" "http://$FAKE/v2/app/manifests/multi"
	AMD=$(jq -r .digest <<<"$a") ARM=$(jq -r .digest <<<"$b")
	AMD_LAYER=$(jq -r .layers[0].digest <<<"$a") ARM_LAYER=$(jq -r .layers[0].digest <<<"$b")
}

@test "of an index the platform that is asked for, or all" {
	start_fake
	multi
	[ "$(pull --platform linux/amd64 "$FAKE/app" multi)" = "sha256:$(sha_of "$T/index")" ]
	verified "sha256:$(sha_of "$T/index")" "$AMD" "$AMD_LAYER"
	[ ! -e "$ROOT/blobs/sha256/${ARM_LAYER#sha256:}" ]
	pull --json --platform linux/arm64 "$FAKE/app" multi >"$T/json"
	[ "$(jq -r .platform "$T/json")" = linux/arm64 ]
	verified "$ARM" "$ARM_LAYER"
	ROOT=$T/all
	pull --all-platforms "$FAKE/app" multi
	verified "$AMD" "$AMD_LAYER" "$ARM" "$ARM_LAYER"
	ROOT=$T/none
	fails pull --platform linux/s390x "$FAKE/app" multi
	grep -q 'no image for linux/s390x, but for: linux/amd64 linux/arm64' "$T/pull.log"
	fails pull --platform nonsense/x/y/z "$FAKE/app" multi
}

@test "on a terminal a bar for each layer, gone at the end" {
	start_fake
	fake_image main '{"tag": "latest", "layers": [{"seed": 1, "size": 4000000},
		{"seed": 2, "size": 5000000}]}' >/dev/null
	fake_ctl PUT host/main '{"bandwidth": 4000000}' >/dev/null
	script -qefc "stty cols 90 rows 30; dist pull --root $ROOT --hosts-dir $T/hosts $FAKE/app" \
		/dev/null >"$T/screen" 2>&1 </dev/null
	grep -qE '\[=* +\] +[0-9]+%  .* / 4 MB  .*layer sha256:' "$T/screen"
	grep -qE '/ 5 MB  ' "$T/screen"
	# Two lines are drawn over.
	grep -q $'\033\[2A' "$T/screen"
	[ "$(tr -d '\r' <"$T/screen" | tail -n1 | sed 's/\x1b\[[0-9]*[AJ]//g')" = \
		"$(dist images --root "$ROOT" --json | jq -r '.[0].digest')" ]
}

@test "wrong bytes: an error in a line, no blob, no name; then a mirror, and all is well" {
	start_fake '{"hosts": {"main": {}, "mirror": {}}}'
	local spec='{"tag": "latest", "layers": [{"seed": 1, "size": 3000000}, {"seed": 2, "size": 10}]}'
	local layer at
	layer=$(fake_image main "$spec" | jq -r '.layers[0].digest')
	fake_image mirror "$spec" >/dev/null
	for at in 0 1500000 2999999; do
		rm -rf "$ROOT"
		fake_rules '[{"host": "main", "path": "'"$layer"'", "do": "flip", "at": '$at'}]'
		fails pull --timeout 30s "$FAKE/app"
		tail -n1 "$T/pull.log" | grep -q "dist: pull $FAKE/app:latest: layer $layer: .*$FAKE"
		[ ! -e "$ROOT/blobs/sha256/${layer#sha256:}" ]
		nothing_half
		[ -z "$(dist images --root "$ROOT" --json | jq -r '.[].name')" ]
	done
	mkdir -p "$T/hosts/$FAKE"
	cat >"$T/hosts/$FAKE/hosts.toml" <<-TOML
		server = "http://$FAKE"
		[host."http://$FAKE"]
		[host."http://$(fake_host mirror)"]
	TOML
	pull "$FAKE/app"
	verified "$layer"
}

@test "what happens for a while on the way is got over; what does not end fails in time" {
	start_fake
	local spec='{"tag": "latest", "layers": [{"seed": 1, "size": 3000000}, {"seed": 2, "size": 10}]}'
	local layer rule
	layer=$(fake_image main "$spec" | jq -r '.layers[0].digest')
	for rule in '{"path": "/blobs/", "at": 1000000, "nth": 1, "do": "reset"}' \
		'{"path": "/blobs/", "at": 2999999, "nth": 1, "do": "cut"}' \
		'{"nth": [1, 2], "do": "status", "code": 502}' \
		'{"path": "/blobs/", "do": "ignore_range"}' \
		'{"path": "/blobs/", "nth": 1, "do": "status", "code": 429, "headers": {"Retry-After": "1"}}'; do
		fake_rules "[$rule]"
		rm -rf "$ROOT"
		if ! pull "$FAKE/app" || ! verified "$layer"; then
			echo "$rule"
			cat "$T/pull.log"
			return 1
		fi
	done
	for rule in '{"path": "/blobs/", "at": 1000000, "do": "stall"}' \
		'{"path": "/manifests/", "do": "pad", "bytes": 5000000, "method": "GET"}' \
		'{"path": "/manifests/", "do": "status", "code": 403}' \
		'{"path": "/blobs/", "do": "redirect"}'; do
		fake_rules "[$rule]"
		rm -rf "$ROOT"
		SECONDS=0
		fails pull --timeout 3s "$FAKE/app"
		[ $SECONDS -lt 20 ]
		[ "$(grep -c ^dist: "$T/pull.log")" -eq 1 ]
	done
}

@test "a pull that was killed goes on where it was" {
	start_fake
	local layer sent
	layer=$(fake_image main '{"tag": "latest", "layers": [{"seed": 1, "size": 40000000}]}' |
		jq -r '.layers[0].digest')
	fake_rules '[{"path": "'"$layer"'", "at": 30000000, "nth": 1, "do": "stall"}]'
	fake_ctl PUT host/main '{"bandwidth": 30000000}' >/dev/null
	dist pull --root "$ROOT" --hosts-dir "$T/hosts" "$FAKE/app" 2>"$T/first.log" 3>&- &
	local pid=$!
	track_pid $pid
	poll_until 30 sh -c "[ \"\$(find '$ROOT/ingest' -name data -size +10000k 2>/dev/null)\" ]"
	kill -9 $pid
	wait $pid || :
	fake_rules '[]'
	pull "$FAKE/app"
	verified "$layer"
	sent=$(fake_sent "$layer")
	# From the start it would be 10 MB more, at least.
	[ "$sent" -lt 50000000 ]
}

@test "what is called wrongly fails in a line" {
	fails dist pull
	fails dist pull a b c
	fails dist pull --parallel 0 a
	[[ $output == *"want 1 to"* ]]
	fails dist pull UPPER/case
	[ "${#lines[@]}" -eq 1 ]
	fails dist pull --root "$ROOT" redis:6 7
	[ "${#lines[@]}" -eq 1 ]
}
