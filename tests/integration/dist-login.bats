#!/usr/bin/env bats
# dist login and logout: docker's config.json, credential helpers, a registry that has its say.
#
# shellcheck disable=SC2030,SC2031

load ../lib/registry

setup() {
	common_setup
	export HOME=$T/home
	mkdir "$HOME"
	unset REGISTRY_AUTH_FILE DOCKER_CONFIG CONTAINERD_FETCH_TIMEOUT
	CONFIG=$HOME/.docker/config.json
	mkdir "$T/hosts"
}

login() {
	dist login --hosts-dir "$T/hosts" "$@"
}

auth_of() {
	jq -r --arg h "$1" '.auths[$h].auth | @base64d' "$CONFIG"
}

@test "a right password is kept, 0600, and read by skopeo and by us" {
	HTPASSWD_LOGIN=u:secret start_registry
	HTPASSWD_LOGIN=u:secret make_image app
	login -u u --password-stdin "$REGISTRY" <<<secret
	[ "$(auth_of "$REGISTRY")" = u:secret ]
	[ "$(stat -c %a "$CONFIG")" = 600 ]
	[ "$(stat -c %a "$HOME/.docker")" = 700 ]
	REGISTRY_AUTH_FILE=$CONFIG skopeo inspect --tls-verify=false "docker://$REGISTRY/app:latest" \
		>/dev/null
	[ "$(dist resolve -q --hosts-dir "$T/hosts" "$REGISTRY/app")" = "sha256:$MANIFEST" ]
	dist logout "$REGISTRY"
	[ "$(jq -c .auths "$CONFIG")" = '{}' ]
	fails dist resolve -q --hosts-dir "$T/hosts" "$REGISTRY/app"
}

@test "a wrong password is not" {
	HTPASSWD_LOGIN=u:secret start_registry
	fails login -u u --password-stdin "$REGISTRY" <<<wrong
	[[ $output == *"$REGISTRY"* ]]
	[[ $output != *wrong* ]]
	[ ! -e "$CONFIG" ]
	login -u u --password-stdin --no-verify "$REGISTRY" <<<wrong
	[ "$(auth_of "$REGISTRY")" = u:wrong ]
}

@test "a registry with a token server is asked there" {
	load ../lib/fake_registry
	start_fake '{"hosts": {"main": {"auth": {"kind": "bearer", "users": {"u": "p"}}}}}'
	fails login -u u --password-stdin "$FAKE" <<<wrong
	login -u u --password-stdin "$FAKE" <<<p
	[ "$(auth_of "$FAKE")" = u:p ]
}

@test "what else is in the file stays, also behind a link" {
	mkdir -p "$HOME/.docker" "$T/elsewhere"
	cat >"$T/elsewhere/c.json" <<-JSON
		{"psFormat": "x", "auths": {"a.example": {"auth": "dTpw", "email": "e"}}, "n": [1, 2.5, null]}
	JSON
	ln -s "$T/elsewhere/c.json" "$CONFIG"
	login -u me --no-verify b.example:5000 <<<pw
	[ -L "$CONFIG" ]
	[ "$(auth_of b.example:5000)" = me:pw ]
	[ "$(jq -c 'del(.auths."b.example:5000")' "$CONFIG")" = \
		'{"psFormat":"x","auths":{"a.example":{"auth":"dTpw","email":"e"}},"n":[1,2.5,null]}' ]
	dist logout b.example:5000
	run dist logout b.example:5000
	[ "$status" -eq 0 ]
	[[ $output == *"was not logged in"* ]]
	[ "$(jq -c '.auths | keys' "$CONFIG")" = '["a.example"]' ]
	[ -z "$(find "$T/elsewhere" -name '*.tmp')" ]
}

@test "names as people type them; docker.io under docker's own key" {
	login -u u --no-verify <<<p
	login -u u --no-verify https://c.example/ <<<p
	[ "$(jq -c '.auths | keys' "$CONFIG")" = '["c.example","https://index.docker.io/v1/"]' ]
	fails login -u u --no-verify c.example/path <<<p
	fails login -u u:x --no-verify c.example <<<p
	fails login -u u --no-verify c.example </dev/null
	fails login --no-verify c.example <<<p
	[ "$(jq -c '.auths | keys | length' "$CONFIG")" = 2 ]
}

@test "logout takes out every name that docker has filed a registry under, and no other" {
	mkdir -p "$HOME/.docker"
	cat >"$CONFIG" <<-'JSON'
		{"auths": {"https://c.example/v1/": {"auth": "dTpw"}, "c.example": {"auth": "dTpw"},
		 "http://c.example": {"auth": "dTpw"}, "c.example/team": {"auth": "dTpw"},
		 "c.example:5000": {"auth": "dTpw"}, "docker.io": {"auth": "dTpw"},
		 "https://index.docker.io/v1/": {"auth": "dTpw"}}}
	JSON
	dist logout c.example
	[ "$(jq -c '.auths | keys' "$CONFIG")" = \
		'["c.example/team","c.example:5000","docker.io","https://index.docker.io/v1/"]' ]
	dist logout
	[ "$(jq -c '.auths | keys' "$CONFIG")" = '["c.example/team","c.example:5000"]' ]
}

@test "a file that is no JSON is left alone" {
	mkdir -p "$HOME/.docker"
	local text='{"auths": {"c.example": {"auth": "dTpzM2NyZXQ=" "email": ""}}}'
	echo "$text" >"$CONFIG"
	fails login -u u --no-verify c.example <<<p
	[ "${#lines[@]}" -eq 1 ]
	[[ $output == *"$CONFIG: line 1"* ]]
	[[ $output != *dTpzM2NyZXQ* ]]
	[ "$(cat "$CONFIG")" = "$text" ]
}

@test "a credential helper keeps it instead" {
	mkdir -p "$HOME/.docker" "$T/bin"
	cat >"$T/bin/docker-credential-kept" <<-'SH'
		#!/bin/sh
		echo "$1" >>"$HOME/helper.verbs"
		cat >>"$HOME/helper.input"
	SH
	chmod +x "$T/bin/docker-credential-kept"
	PATH=$T/bin:$PATH
	echo '{"credHelpers": {"c.example": "kept"}}' >"$CONFIG"
	login -u u --no-verify c.example <<<p
	[ "$(cat "$HOME/helper.verbs")" = store ]
	[ "$(jq -c . "$HOME/helper.input")" = '{"ServerURL":"c.example","Username":"u","Secret":"p"}' ]
	[ "$(cat "$CONFIG")" = '{"credHelpers": {"c.example": "kept"}}' ]
	dist logout c.example
	[ "$(tail -n1 "$HOME/helper.verbs")" = erase ]
	echo '{"credsStore": "absent"}' >"$CONFIG"
	fails login -u u --no-verify c.example <<<p
	[[ $output == *docker-credential-absent* ]]
}

@test "on a terminal the password is asked for, and not shown" {
	mkfifo "$T/keys"
	exec {keys}<>"$T/keys"
	script -qefc "dist login --no-verify c.example" /dev/null <"$T/keys" >"$T/screen" 2>&1 \
		3>&- {keys}>&- &
	local pid=$! # poll_until has its own
	track_pid $pid
	poll_until 20 grep -q 'Username: ' "$T/screen"
	echo me >&"$keys"
	poll_until 20 grep -q 'Password: ' "$T/screen"
	echo hidden >&"$keys"
	wait_for $pid
	exec {keys}>&-
	[ "$(auth_of c.example)" = me:hidden ]
	! grep -q hidden "$T/screen"
}

@test "Ctrl-C at the password gives the terminal its echo back" {
	# A shell without job control has its background jobs ignore it.
	mkfifo "$T/keys"
	exec {keys}<>"$T/keys"
	env --default-signal=INT script -qefc "trap : INT; dist login -u u --no-verify c.example; stty -a >$T/stty" /dev/null \
		<"$T/keys" >"$T/screen" 2>&1 3>&- {keys}>&- &
	local pid=$! # poll_until has its own
	track_pid $pid
	poll_until 20 grep -q 'Password: ' "$T/screen"
	printf '\003' >&"$keys"
	wait_for $pid
	exec {keys}>&-
	grep -qE '[ ;]echo ' "$T/stty"
	[ ! -e "$CONFIG" ]
}
