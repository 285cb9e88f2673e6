#!/usr/bin/env bats
# Images that are not in the store: unpacked while they arrive, from a real registry and from one
# that fails; and unpacking that is interrupted.

# shellcheck disable=SC2153 # LAYERS is set by the library

load ../lib/image
load ../lib/registry
load ../lib/fake_registry

setup() {
	common_setup
	require_root
	unset CONTAINERD_FETCH_TIMEOUT
	export HOME=$T REGISTRY_AUTH_FILE=$T/none.json
	mkdir "$T/hosts"
	ROOT=$T/store
}

# of unpack and bundle; options go first
remote() {
	local command=$1
	shift
	timeout 120 dist "$command" --root "$ROOT" --hosts-dir "$T/hosts" "$@"
}

same_tree() {
	/usr/bin/python3 "$REPO/tests/lib/tree_walk.py" "$1" "$2"
}

# An image of two layers in $T/image, a layout: about 30 MB packed, then 20 MB more. $ONE and $TWO are
# its layers.
big_image() {
	mkdir -p "$T/one/deep" "$T/two"
	for i in 1 2 3 4 5 6; do
		head -c 5000000 /dev/urandom >"$T/one/deep/$i"
	done
	head -c 20000000 /dev/urandom >"$T/two/more"
	: >"$T/two/.wh.gone"
	: >"$T/one/gone"
	ROOT=$T/image put_image big '{"Cmd":["/x"]}' "$T/one" "$T/two"
	mapfile -t layers < <(jq -r '.layers[].digest' "$T/image/blobs/sha256/${MANIFEST#*:}")
	ONE=${layers[0]} TWO=${layers[1]}
}

to_fake() {
	start_fake
	skopeo --insecure-policy copy -q --dest-tls-verify=false "oci:$T/image:docker.io/library/big:latest" \
		"docker://$FAKE/app:latest"
	fake_clear
}

nothing_damaged() {
	(cd "$ROOT/blobs/sha256" && for d in *; do
		[ ! -e "$d" ] || echo "$d  $d"
	done | sha256sum --quiet -c)
}

@test "an image straight from a registry is what umoci makes of it; a second time nothing is asked" {
	start_registry
	make_image library/app
	remote unpack "$REGISTRY/library/app" "$T/ours" >"$T/chain"
	skopeo --insecure-policy copy -q --src-tls-verify=false "docker://$REGISTRY/library/app:latest" \
		"oci:$T/copy:latest"
	umoci unpack --image "$T/copy:latest" "$T/theirs"
	same_tree "$T/ours" "$T/theirs/rootfs"
	[ "$(wc -l <"$T/chain")" -eq "${#LAYERS[@]}" ]
	[ -z "$(ls -A "$ROOT/ingest")" ]
	[ "$(dist images --root "$ROOT" -q)" = "$REGISTRY/library/app:latest" ]
	dist verify --root "$ROOT"
	# the same name, its digest, and both: all is here
	stop_registry || :
	remote unpack "$REGISTRY/library/app" "$T/again"
	same_tree "$T/ours" "$T/again"
	remote unpack "sha256:$MANIFEST" "$T/digest"
	remote unpack "$REGISTRY/library/app@sha256:$MANIFEST" "$T/both" | cmp - "$T/chain"
}

@test "a bundle straight from a registry that wants a user runs" {
	command -v runc >/dev/null || lacking runc
	HTPASSWD_LOGIN=u:p start_registry
	HTPASSWD_LOGIN=u:p make_image app
	fails remote bundle "$REGISTRY/app" "$T/b"
	[ ! -e "$T/b" ]
	remote bundle --creds u:p "$REGISTRY/app" "$T/b" /bin/cat /etc/issue
	ID=$(basename "$T")
	[ "$(cd "$T/b" && runc run "$ID" </dev/null 3>&-)" = "a layer above the others" ]
}

@test "only what is missing is fetched, unless that is forbidden" {
	local size
	big_image
	to_fake
	remote unpack "$FAKE/app" "$T/a"
	[ "$(fake_sent "/blobs/")" -eq "$(find "$T/image/blobs" -type f ! -name "${MANIFEST#*:}" -printf '%s\n' |
		paste -sd+ | bc)" ]
	dist delete --root "$ROOT" "$TWO"
	fake_clear
	fails remote unpack --no-fetch "$FAKE/app" "$T/b"
	[[ $output = *"layer 2 of 2, $TWO: not in the store"* ]]
	[ ! -e "$T/b" ]
	[ -z "$(fake_log)" ]
	remote unpack "$FAKE/app" "$T/b"
	same_tree "$T/a" "$T/b"
	size=$(stat -c %s "$T/image/blobs/sha256/${TWO#*:}")
	[ "$(fake_sent .)" -eq "$size" ]
	fails remote unpack --no-fetch "$FAKE/other" "$T/c"
	[[ $output = *"no image"* ]]
}

@test "a layer is unpacked while it arrives, and the next is fetched meanwhile" {
	big_image
	to_fake
	fake_rules '[{"path": "'"$ONE"'", "at": 25000000, "do": "stall"}]'
	dist unpack --root "$ROOT" --hosts-dir "$T/hosts" --timeout 100s "$FAKE/app" "$T/out" \
		2>"$T/log" 3>&- &
	local pid=$!
	track_pid $pid
	poll_until 60 test -s "$T/out/deep/3"
	poll_until 60 test -e "$ROOT/blobs/sha256/${TWO#*:}"
	[ ! -e "$ROOT/blobs/sha256/${ONE#*:}" ]
	kill -0 $pid
	# and a signal leaves nothing of it
	kill $pid
	if wait $pid; then
		return 1
	fi
	[ ! -e "$T/out" ]
	# what came is kept: the rest of it, and no more, is fetched
	fake_rules '[]'
	fake_clear
	remote unpack "$FAKE/app" "$T/out"
	cmp "$T/one/deep/6" "$T/out/deep/6"
	[ "$(fake_sent .)" -lt 15000000 ]
}

@test "wrong bytes and bytes cut short: one line, exit 1, and nothing is left" {
	local at n
	big_image
	to_fake
	for at in 0 100 1500000 29999999; do
		fake_rules '[{"path": "'"$ONE"'", "do": "flip", "at": '$at'}]'
		fails remote unpack --timeout 60s "$FAKE/app" "$T/out"
		[ "$status" -eq 1 ]
		[[ $output = "dist: $FAKE/app: layer 1 of 2, $ONE"* ]]
		[ "${#lines[@]}" -eq 1 ]
		[ ! -e "$T/out" ]
		[ ! -e "$ROOT/blobs/sha256/${ONE#*:}" ]
		nothing_damaged
		[ -z "$(dist images --root "$ROOT" -q)" ]
		rm -rf "$ROOT"
	done
	mkdir "$T/there"
	for n in '"path": "'"$TWO"'", "do": "cut", "at": 10000000' \
		'"path": "'"$TWO"'", "do": "reset", "at": 10000000' \
		'"path": "'"$TWO"'", "do": "status", "code": 404' \
		'"path": "'"$TWO"'", "do": "stall", "at": 10000000'; do
		fake_rules "[{$n}]"
		fails remote unpack --timeout 5s "$FAKE/app" "$T/there"
		[ "$status" -eq 1 ]
		[ "$(grep -c "^dist: $FAKE/app: layer 2 of 2, $TWO" <<<"$output")" -eq 1 ]
		[ "$(grep -vcE '^sha256:' <<<"$output")" -eq 1 ]
		[ -d "$T/there" ] && [ -z "$(ls -A "$T/there")" ]
		nothing_damaged
	done
	fake_rules '[]'
	remote unpack "$FAKE/app" "$T/there"
	cmp "$T/two/more" "$T/there/more"
}

@test "what a registry does not have, or is no image, is told" {
	start_fake
	fails remote unpack "$FAKE/nothing" "$T/out"
	[ "${#lines[@]}" -eq 1 ]
	fake_image main '{"tag": "latest", "layers": [{"seed": 1, "size": 1000000}]}' >/dev/null
	fails remote unpack "$FAKE/app" "$T/out"
	[ "${#lines[@]}" -eq 1 ]
	[ ! -e "$T/out" ]
	fails remote unpack --platform linux/s390x/v1/x "$FAKE/app" "$T/out"
	fails remote unpack --creds '' "UPPER" "$T/out"
	[ "${#lines[@]}" -eq 1 ]
}

@test "a signal during the unpacking of a local image leaves nothing, and ends it as a signal does" {
	local pid sig there
	mkdir "$T/big"
	head -c 200000000 /dev/urandom >"$T/big/file"
	put_image big '{"Cmd":["/x"]}' "$T/big"
	for sig in INT TERM HUP; do
		for there in no yes; do
			rm -rf "$T/out"
			[ $there = no ] || mkdir "$T/out"
			# python, for a job of a shell ignores SIGINT
			/usr/bin/python3 - "$BIN/dist" "$ROOT" "$T/out" $sig <<-'PY'
				import os, signal, subprocess, sys, time
				dist, root, out, name = sys.argv[1:]
				sig = getattr(signal, "SIG" + name)
				p = subprocess.Popen([dist, "unpack", "--root", root, "big", out],
				                     preexec_fn=lambda: signal.signal(sig, signal.SIG_DFL))
				end = time.monotonic() + 60
				while not os.path.exists(out + "/file") and time.monotonic() < end:
				    time.sleep(0.001)
				p.send_signal(sig)
				assert p.wait(60) == -sig, p.returncode
			PY
			if [ $there = yes ]; then
				[ -z "$(ls -A "$T/out")" ]
			else
				[ ! -e "$T/out" ]
			fi
		done
	done
}
