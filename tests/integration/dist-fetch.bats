#!/usr/bin/env bats
# dist fetch: exact bytes or an exit status of 1, whatever the registry does.
#
# shellcheck disable=SC2030,SC2031 # each test is a subshell, that is how bats works

load ../lib/fake_registry

BIG=5000000

setup() {
	common_setup
	unset CONTAINERD_FETCH_TIMEOUT
	export HOME=$T REGISTRY_AUTH_FILE=$T/none.json
	mkdir "$T/hosts"
}

# An image whose layers have 1000, 150000 and $BIG bytes; ${LAYER[i]} their digests, $T/layer-i
# their bytes; $IMAGE its manifest's digest.
serve() {
	local made
	start_fake "${1:-{\}}"
	made=$(fake_image main '{"tag": "latest", "layers": [{"seed": 1, "size": 1000},
		{"seed": 2, "size": 150000}, {"seed": 3, "size": '$BIG'}]}')
	IMAGE=$(jq -r .digest <<<"$made")
	mapfile -t LAYER < <(jq -r '.layers[].digest' <<<"$made")
	local i
	for i in 0 1 2; do
		ln -sf "$FAKE_STATE/main/made/blobs/sha256/${LAYER[i]#sha256:}" "$T/layer-$i"
	done
}

fetch() {
	timeout 60 dist fetch --hosts-dir "$T/hosts" "$@" 2>"$T/fetch.log"
}

@test "a tag, a digest of a manifest, a digest of a blob: the bytes as they are served" {
	serve
	fetch "$FAKE/some/thing" latest mediatype:application/vnd.oci.image.manifest.v1+json >"$T/out"
	[ "sha256:$(sha_of "$T/out")" = "$IMAGE" ]
	fetch "$FAKE/some/thing" latest | cmp - "$T/out"
	# Without a hint a digest is tried as a blob first, then as a manifest.
	fetch "$FAKE/some/thing" "$IMAGE" | cmp - "$T/out"
	fake_log 'select(.event == "response" and .status == 404) | .path' | grep -q blobs
	fetch "$FAKE/some/thing" "$IMAGE" mediatype:application/vnd.oci.image.manifest.v1+json |
		cmp - "$T/out"
	for i in 0 1 2; do
		fetch "$FAKE/some/thing" "${LAYER[i]}" | cmp - "$T/layer-$i"
		fetch "$FAKE/some/thing" "${LAYER[i]}" >"$T/out"
		cmp "$T/out" "$T/layer-$i"
	done
	# No byte was asked for twice.
	fake_clear
	fetch "$FAKE/some/thing" "${LAYER[2]}" | cmp - "$T/layer-2"
	[ "$(fake_sent /blobs/)" -eq $BIG ]
}

@test "hints that say nothing are passed over, the last mediatype counts" {
	serve
	fetch "$FAKE/r" "${LAYER[0]}" - size:3 color:blue nothing mediatype: \
		$'mediatype:a\r\nX-Evil: 1' | cmp - "$T/layer-0"
	fake_clear
	fetch "$FAKE/r" latest mediatype:a/b mediatype:application/vnd.oci.image.manifest.v1+json >/dev/null
	fake_log 'select(.event == "request") | .headers.accept' | tail -n1 |
		grep -q 'application/vnd.oci.image.manifest.v1+json'
	run fake_log 'select(.headers."x-evil" != null)'
	[ -z "$output" ]
}

@test "what is called wrongly fails in a line" {
	fails dist fetch
	[ "$output" = "dist: remote required" ]
	fails dist fetch docker.io/library/redis
	[ "$output" = "dist: object required" ]
	fails dist fetch docker.io/library/redis:6 latest
	[[ $output == *"what is \"latest\"?" ]]
	fails dist fetch docker.io/library/redis sha256:123
	[ "${#lines[@]}" -eq 1 ]
	fails dist fetch --timeout 5 docker.io/library/redis latest
	[[ $output == *"invalid timeout"* ]]
	run dist fetch --help
	[ "$status" -eq 0 ]
	[[ $output == *"REMOTE OBJECT"*--timeout* ]]
}

@test "what is not there, or refused, says so" {
	serve '{"hosts": {"main": {}, "closed": {"auth": {"kind": "basic", "users": {"u": "p"}}}}}'
	fails fetch "$FAKE/r" nope
	[ ! -s "$T/out" ]
	grep -q "fetch $FAKE/r nope" "$T/fetch.log"
	fails fetch "$FAKE/r" sha256:"$(printf 0%.0s {1..64})"
	fails fetch "$(fake_host closed)/r" latest
	grep -q 'wants a user and a password' "$T/fetch.log"
	stop_fake
	fails fetch "$FAKE/r" latest
	# One line about what happens, one about why it failed.
	[ "$(wc -l <"$T/fetch.log")" -eq 2 ]
}

# wrong RULE DIGEST SIZE: exit status 1, and less than the whole was written.
wrong() {
	fake_rules "[$1]"
	if fetch "$FAKE/r" "$2" >"$T/out"; then
		echo "succeeded: $1"
		return 1
	fi
	if [ "$(stat -c %s "$T/out")" -ge "$3" ]; then
		echo "$1: wrote $(stat -c %s "$T/out") bytes of $3"
		return 1
	fi
	cmp -n "$(stat -c %s "$T/out")" "$T/out" "$4" || [ "$(jq -r .at <<<"$1")" -lt $((BIG - 65536)) ]
}

@test "wrong bytes: nothing more is written once they are known, and less than a whole" {
	serve
	local at
	for at in 0 1 998 999; do
		wrong '{"path": "/blobs/", "do": "flip", "at": '$at'}' "${LAYER[0]}" 1000 "$T/layer-0"
		[ ! -s "$T/out" ]
	done
	for at in 0 4095 4096 75000 149999; do
		wrong '{"path": "/blobs/", "do": "flip", "at": '$at'}' "${LAYER[1]}" 150000 "$T/layer-1"
	done
	for at in 0 4095 4096 65536 2500000 $((BIG - 65537)) $((BIG - 1)); do
		wrong '{"path": "/blobs/", "do": "flip", "at": '$at'}' "${LAYER[2]}" $BIG "$T/layer-2"
		# And into a pipe, where a page is sent ahead.
		fake_rules '[{"path": "/blobs/", "do": "flip", "at": '$at'}]'
		fetch "$FAKE/r" "${LAYER[2]}" | cat >"$T/out"
		[ "${PIPESTATUS[0]}" -eq 1 ]
		[ "$(stat -c %s "$T/out")" -lt $BIG ]
	done
	wrong '{"path": "/blobs/", "do": "shift", "by": 1}' "${LAYER[1]}" 150000 "$T/layer-1" || :
	# A manifest too.
	fake_rules '[{"path": "/manifests/", "do": "flip", "at": 3}]'
	fails fetch "$FAKE/r" "$IMAGE"
}

# right RULES: what the registry does is got over.
right() {
	fake_rules "$1"
	if ! fetch "$FAKE/r" "${LAYER[2]}" >"$T/out" || ! cmp "$T/out" "$T/layer-2"; then
		echo "not got over: $1"
		cat "$T/fetch.log"
		return 1
	fi
	if ! fetch "$FAKE/r" "${LAYER[2]}" | cmp - "$T/layer-2"; then
		echo "not got over, into a pipe: $1"
		cat "$T/fetch.log"
		return 1
	fi
}

@test "what a registry or the network does for a while is got over" {
	serve '{"hosts": {"main": {}, "other": {}}}'
	fake_ctl POST blob/other '{"seed": 3, "size": '$BIG'}' >/dev/null
	local at how
	for at in 0 1 4095 4096 2500000 $((BIG - 1)); do
		for how in cut reset; do
			right '[{"path": "/blobs/", "at": '$at', "nth": 1, "do": "'$how'"}]'
		done
	done
	right '[{"path": "/blobs/", "do": "ignore_range"}]'
	right '[{"path": "/blobs/", "do": "no_length"}]'
	right '[{"path": "/blobs/", "do": "chunked"}]'
	right '[{"path": "/blobs/", "nth": [1, 2], "do": "status", "code": 503}]'
	right '[{"path": "/blobs/", "nth": 1, "do": "status", "code": 429, "headers": {"Retry-After": "1"}}]'
	right '[{"path": "/blobs/", "nth": 1, "do": "drop"}]'
	right '[{"host": "main", "path": "/blobs/", "do": "redirect", "to": "other"}]'
	right '[{"path": "/blobs/", "at": 2000000, "nth": 1, "do": "cut"}, {"path": "/blobs/", "do": "ignore_range"}]'
}

@test "what a registry does all the time fails in a line, and ends" {
	serve
	local rule
	for rule in '{"do": "redirect"}' '{"do": "huge_headers", "bytes": 1000000}' \
		'{"do": "gzip"}' '{"do": "gzip", "cut": 10}' '{"do": "content_range", "by": 1000, "range": true}' \
		'{"do": "status", "code": 403}'; do
		fake_rules "[$rule]"
		SECONDS=0
		if fetch --timeout 20s "$FAKE/r" "${LAYER[1]}" >"$T/out"; then
			# What is not believed may be asked for otherwise.
			cmp "$T/out" "$T/layer-1"
		else
			[ "$(stat -c %s "$T/out")" -lt 150000 ]
			[ "$(wc -l <"$T/fetch.log")" -eq 2 ]
		fi
		[ $SECONDS -lt 30 ]
	done
	fake_rules '[{"do": "pad", "bytes": 5000000}]'
	fails fetch "$FAKE/r" latest
	[ "$(wc -l <"$T/fetch.log")" -eq 2 ]
}

@test "--timeout and CONTAINERD_FETCH_TIMEOUT end what would not end" {
	serve
	fake_rules '[{"path": "/blobs/", "at": 100000, "do": "stall"}]'
	SECONDS=0
	fails fetch --timeout 1s "$FAKE/r" "${LAYER[1]}"
	fails env CONTAINERD_FETCH_TIMEOUT=1s dist fetch --hosts-dir "$T/hosts" "$FAKE/r" "${LAYER[1]}"
	# A reader that does not read counts as well.
	fake_rules '[]'
	mkfifo "$T/pipe"
	exec {nobody}<>"$T/pipe"
	if fetch --timeout 1s "$FAKE/r" "${LAYER[2]}" >"$T/pipe"; then false; fi
	exec {nobody}>&-
	[ $SECONDS -lt 15 ]
}

@test "a reader that goes ends it, and little is transferred for nothing" {
	serve
	fetch "$FAKE/r" "${LAYER[2]}" | head -c 100 | cmp - <(head -c 100 "$T/layer-2")
	fake_clear
	fetch "$FAKE/r" "${LAYER[2]}" | true
	[ "${PIPESTATUS[0]}" -eq 141 ]
	[ "$(fake_sent /blobs/)" -le 69632 ]
	# Where SIGPIPE is ignored: a line, and 1.
	(trap '' PIPE; fetch "$FAKE/r" "${LAYER[2]}" || echo $? >"$T/status") | true
	poll_until 20 test -s "$T/status"
	[ "$(cat "$T/status")" -eq 1 ]
	grep -q 'Broken pipe' "$T/fetch.log"
	if fetch "$FAKE/r" "${LAYER[2]}" >/dev/full; then false; fi
	grep -q 'No space' "$T/fetch.log"
}

@test "a slow reader gets it all, and does not make us large" {
	serve
	local big
	big=$(fake_ctl POST blob/main '{"seed": 4, "size": 100000000}' | jq -r .digest)
	(ulimit -v 4000000; fetch "$FAKE/r" "$big" && echo 0 >"$T/status") |
		/usr/bin/python3 -c '
import hashlib, os, sys, time
h, n = hashlib.sha256(), 0
while data := os.read(0, 65536):
    h.update(data)
    n += len(data)
    if n % 400 == 0:
        time.sleep(0.001)
print("sha256:" + h.hexdigest())' >"$T/digest"
	[ "$(cat "$T/status")" -eq 0 ]
	[ "$(cat "$T/digest")" = "$big" ]
	[ "$(fake_sent "$big")" -eq 100000000 ]
}

@test "credentials: by --creds, by docker's file, to the registry they are for and no other" {
	serve '{"hosts": {
		"main": {"auth": {"kind": "bearer", "token_host": "tokens", "users": {"u": "p"}}},
		"tokens": {}, "cdn": {}}}'
	fake_ctl POST blob/cdn '{"seed": 3, "size": '$BIG'}' >/dev/null
	fake_rules '[{"host": "main", "path": "/blobs/", "do": "redirect", "to": "cdn"}]'
	fails fetch "$FAKE/r" "${LAYER[2]}"
	fetch --creds u:p "$FAKE/r" "${LAYER[2]}" | cmp - "$T/layer-2"
	jq -n --arg h "$FAKE" '{auths: {($h): {auth: ("u:p" | @base64)}}}' >"$T/auth.json"
	fetch --auth-file "$T/auth.json" "$FAKE/r" "${LAYER[2]}" | cmp - "$T/layer-2"
	REGISTRY_AUTH_FILE=$T/auth.json fetch "$FAKE/r" "${LAYER[2]}" | cmp - "$T/layer-2"
	[ "$(fake_log 'select(.event == "request" and .host == "cdn")' | wc -l)" -ge 3 ]
	run fake_log 'select(.event == "request" and .host == "cdn" and .headers.authorization != null)'
	[ -z "$output" ]
	fails fetch --creds u:wrong "$FAKE/r" "${LAYER[2]}"
}
