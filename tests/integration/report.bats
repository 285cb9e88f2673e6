#!/usr/bin/env bats
# The pipelines of containerd's report of January 2017, as users typed them: docker.io is a
# registry on loopback, by a hosts.toml in its usual place (in a mount namespace of the test's own).
#
# shellcheck disable=SC2016 # what is in single quotes is for sh

load ../lib/fake_registry

MANIFEST_TYPE=application/vnd.docker.distribution.manifest.v2+json

setup() {
	common_setup
	require_root || return 1
	mkdir -p "$T/etc/certs.d/docker.io" "$T/work"
	ln -s "$BIN/dist" "$T/work/dist"
	"$REPO/scripts/make-image" "$T/image" >/dev/null
}

# docker_io HOST:PORT: there docker.io's library/redis is from now on.
docker_io() {
	cat >"$T/etc/certs.d/docker.io/hosts.toml" <<-TOML
		server = "http://$1"
		[host."http://$1"]
		  capabilities = ["pull", "resolve"]
	TOML
	skopeo --insecure-policy copy -q --dest-tls-verify=false --format v2s2 "oci:$T/image:latest" \
		"docker://$1/library/redis:latest"
	skopeo --insecure-policy inspect --raw --tls-verify=false "docker://$1/library/redis:latest" \
		>"$T/manifest"
}

# What comes on stdin, by sh, where the report's author sat.
typed() {
	unshare -m sh -c 'mount --bind "$1/etc" /etc/containerd && cd "$1/work" && exec sh -s' sh "$T"
}

layers() {
	jq -r '.layers[].digest' "$T/manifest"
}

fetch_layers() {
	typed <<-'SH'
		./dist fetch docker.io/library/redis latest mediatype:application/vnd.docker.distribution.manifest.v2+json | \
		    jq -r '.layers[] | "./dist fetch docker.io/library/redis "+.digest + "| ./dist ingest --expected-digest "+.digest+" --expected-size "+(.size | tostring) +" docker.io/library/redis@"+.digest' | xargs -I{} -P10 -n1 sh -c "{}"
	SH
}

all_is_there() {
	local d
	for d in $(layers); do
		(cd "$T/work" && sha256sum -c <<<"${d#sha256:}  .content/blobs/sha256/${d#sha256:}") ||
			return 1
	done
}

tell_the_story() {
	local first second

	# By tag, the bytes as they are served.
	typed >"$T/out" <<-'SH'
		./dist fetch docker.io/library/redis latest mediatype:application/vnd.docker.distribution.manifest.v2+json
	SH
	cmp "$T/out" "$T/manifest"

	# By digest, where shasum's "-" becomes a hint.
	typed >"$T/out" <<-'SH'
		./dist fetch docker.io/library/redis sha256:$(./dist fetch docker.io/library/redis latest mediatype:application/vnd.docker.distribution.manifest.v2+json | shasum -a256)
	SH
	cmp "$T/out" "$T/manifest"

	fetch_layers
	all_is_there

	first=$(layers | head -n1)
	typed >"$T/out" <<-SH
		./dist path $first
		./dist path -q $first
	SH
	second=$T/work/.content/blobs/sha256/${first#sha256:}
	diff "$T/out" <(echo "$first $second"; echo "$second")

	# In order, with sudo, the redirection being the shell's.
	mkdir "$T/work/redis-rootfs"
	for first in $(layers); do
		typed <<-SH
			sudo ./dist apply ./redis-rootfs < \$(./dist path -q $first)
		SH
	done
	[ -x "$T/work/redis-rootfs/bin/busybox" ]
	umoci_rootfs >/dev/null
	(cd "$T/work/redis-rootfs" && find . | sort) >"$T/ours"
	(cd "$T/bundle/rootfs" && find . | sort) >"$T/theirs"
	diff "$T/ours" "$T/theirs"

	typed >"$T/out" <<-'SH'
		./dist list -q | xargs ./dist delete
	SH
	diff <(sort "$T/out") <(layers | sort -u)
	[ -z "$(ls "$T/work/.content/blobs/sha256")" ]
	typed <<-'SH'
		./dist list -q | xargs ./dist delete
	SH
}

umoci_rootfs() {
	umoci unpack --image "$T/image:latest" "$T/bundle"
}

@test "the report's pipelines, on a real registry" {
	load ../lib/registry
	start_registry
	docker_io "127.0.0.1:${REGISTRY#*:}"
	tell_the_story
}

@test "the report's pipelines, where every byte is counted; the second run transfers nothing" {
	start_fake
	docker_io "$FAKE"
	tell_the_story
	fake_clear
	fetch_layers
	all_is_there
	# Each layer came once and whole.
	[ "$(fake_sent /blobs/)" -eq "$(jq '[.layers[].size] | add' "$T/manifest")" ]
	[ "$(fake_sent /manifests/)" -eq "$(stat -c %s "$T/manifest")" ]
	fake_clear
	fetch_layers
	# Where a request was on its way already when ingest left, it was for one page.
	[ "$(fake_sent /blobs/)" -le $((4096 * $(layers | wc -l))) ]
	[ "$(fake_log 'select(.event == "response" and .sent > 4096)' | wc -l)" -eq 0 ]
}

@test "a layer whose bytes are wrong comes to nothing, and the pipeline says so" {
	start_fake
	docker_io "$FAKE"
	local d
	d=$(layers | head -n1)
	fake_rules '[{"path": "'"$d"'", "do": "flip", "at": 700000}]'
	fails fetch_layers
	[[ $output == *"unexpected digest"* ]]
	[ ! -e "$T/work/.content/blobs/sha256/${d#sha256:}" ]
	[ "$(ls "$T/work/.content/blobs/sha256" | wc -l)" -eq $(($(layers | wc -l) - 1)) ]
	fake_rules '[]'
	fetch_layers
	all_is_there
}

@test "watch -n0.2 dist active shows what is on its way" {
	mkfifo "$T/slow"
	exec {slow}<>"$T/slow"
	(cd "$T/work" && exec ./dist ingest docker.io/library/redis@sha256:slow) \
		<"$T/slow" >"$T/ingest.log" 2>&1 3>&- {slow}>&- &
	track_pid $!
	head -c 1500000 /dev/zero >&"$slow"
	(cd "$T/work" && TERM=xterm exec script -qec 'watch -n0.2 ./dist active' /dev/null) \
		>"$T/screen" 2>&1 </dev/null 3>&- {slow}>&- &
	track_pid $!
	poll_until 30 grep -q 'redis@sha256:slow.*1.5 MB' "$T/screen"
	exec {slow}>&-
}
