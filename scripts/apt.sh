#!/bin/sh
# Installs Debian packages where this user may: scripts/apt.sh "WHY" PACKAGE...
# Says what it installs, or what to type where it may not (exit 1); apt-get may fail (exit 2). Starts no service.
set -eu
why=$1
shift

say() { printf '%s\n' "$*" >&2; }

if ! command -v apt-get >/dev/null; then
    say "Missing: $* ($why). There is no apt-get here: install it in this system's own way."
    exit 1
fi
if [ "$(id -u)" = 0 ]; then
    as_root() { "$@"; }
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    as_root() { sudo -n "$@"; }
else
    say "Missing: $* ($why). To install: sudo apt-get install $*"
    exit 1
fi

say "Installing Debian packages: $* ($why)"
log=$(mktemp)
no_start=/usr/sbin/policy-rc.d
made_policy=
clean_up() {
    rm -f "$log"
    if [ -n "$made_policy" ]; then as_root rm -f $no_start; fi
}
trap clean_up EXIT
trap 'exit 1' INT TERM

# Debian's own switch: packages that bring a service install it and leave it stopped.
if [ ! -e $no_start ]; then
    made_policy=yes
    as_root sh -c "printf '#!/bin/sh\nexit 101\n' >$no_start && chmod 755 $no_start"
fi

apt() {
    as_root timeout 300 env DEBIAN_FRONTEND=noninteractive apt-get -q \
        -o DPkg::Lock::Timeout=120 -o Acquire::Retries=1 -o Acquire::http::Timeout=20 "$@" >>"$log" 2>&1 </dev/null
}
if apt install -y --no-install-recommends "$@" || { apt update && apt install -y --no-install-recommends "$@"; }; then
    exit 0
fi
grep '^E:' "$log" >&2 || tail -n 15 "$log" >&2
say "apt-get could not install: $*"
exit 2
