#!/bin/sh
# Static checks: format, clang-tidy, cppcheck, shellcheck, the arrows between rooms.
#
#   scripts/check.sh [CHECK...]     format tidy cppcheck shell arrows; all when none is named
#
# tidy and cppcheck want the compile commands of the ci preset and configure it when need be.
# shellcheck disable=SC2317 # the checks are called by name
set -u
cd "$(dirname "$0")/.." || exit 2

jobs=$(nproc)
database=build/ci/compile_commands.json
rooms='fs proto shim tools tests'
bad=0

# A whole build, for the generated headers that sources include.
need_database() {
	[ -e "$database" ] && return
	{ cmake --preset ci && cmake --build --preset ci; } >build/check-configure.out || exit 2
}

c_files() {
	# shellcheck disable=SC2086
	find $rooms -name '*.[ch]' | sort
}

shell_files() {
	find scripts tests .ci -type f ! -name '*.bats' | sort | while read -r f; do
		case $f in
		*.sh | *.bash) echo "$f" ;;
		*) head -n1 "$f" | grep -aqE '^#!.*[/ ](ba)?sh( |$)' && echo "$f" ;;
		esac
	done
}

check_format() {
	c_files | xargs clang-format --dry-run -Werror
}

check_tidy() {
	need_database
	run-clang-tidy -p build/ci -quiet -j "$jobs" "^$PWD/(fs|proto|shim|tools|tests)/" \
		>build/tidy.out 2>build/tidy.err
	r=$?
	# The command lines of what passed say nothing.
	grep -vE '^clang-tidy|^$' build/tidy.out
	[ "$r" -eq 0 ] || grep -vE 'warnings? (generated|treated)|^Suppressed|^Use -header|^$' build/tidy.err
	return "$r"
}

# What is on is bugs, not style. cppcheck does not follow cleanup attributes, so leaks and
# variables initialised by a macro are left to ASan and clang; readdir() of a DIR that nobody
# else has is safe in glibc.
check_cppcheck() {
	need_database
	mkdir -p build/cppcheck
	cppcheck --project="$database" --cppcheck-build-dir=build/cppcheck -j "$jobs" \
		--enable=warning,portability,performance --inline-suppr --quiet \
		--error-exitcode=1 --library=posix -i build \
		--suppress='*:build/*' --suppress=memleak --suppress=resourceLeak \
		--suppress=ctuuninitvar --suppress=readdirCalled --suppress=missingIncludeSystem
}

check_shell() {
	shell_files | xargs shellcheck -x -P SCRIPTDIR -P tests/lib
}

check_arrows() {
	tests/lint/check-arrows
}

[ $# -gt 0 ] || set -- format arrows shell cppcheck tidy
mkdir -p build
for check; do
	case $check in
	format | tidy | cppcheck | shell | arrows) ;;
	*)
		echo "check.sh: no check \"$check\"" >&2
		exit 2
		;;
	esac
	if "check_$check"; then
		echo "ok $check"
	else
		echo "FAILED $check"
		bad=1
	fi
done
exit $bad
