#!/bin/sh
# Looks for the servers that tests and benchmarks start for themselves, and installs the missing ones where it may:
# scripts/services.sh postgresql redis-server nginx wrk nghttp2-client nghttp2-server libpython
# A missing one is no failure: what needs it is skipped, with the reason.
set -eu
cd "$(dirname "$0")/.."

has() {
    command -v "$1" >/dev/null || [ -x "/usr/sbin/$1" ] || ls /usr/lib/postgresql/*/bin/"$1" >/dev/null 2>&1
}

# The Python backend of a real Triton loads the shared library of .venv's interpreter, which Debian keeps apart from it.
# Prints the package when it is missing; nothing when it is there, or is of no use.
missing_libpython() {
    .venv/bin/python - <<'END'
import ctypes, importlib.util, sys, sysconfig
from pathlib import Path

library = sysconfig.get_config_var("INSTSONAME") or ""
folder = Path(sysconfig.get_config_var("LIBDIR") or "/")
debian = Path(sys.base_prefix) == Path("/usr")
if debian and importlib.util.find_spec("pytriton") and not (folder / library).is_file():
    name = f"libpython{sys.version_info.major}.{sys.version_info.minor}"
    try:
        ctypes.CDLL(f"{name}.so.1.0")
    except OSError:
        print(name)
END
}

missing=
for package in "$@"; do
    case $package in
        postgresql) has postgres || missing="$missing $package" ;;
        nghttp2-client) has h2load || missing="$missing $package" ;;
        nghttp2-server) has nghttpd || missing="$missing $package" ;;
        libpython) missing="$missing $(missing_libpython)" ;;
        *) has "$package" || missing="$missing $package" ;;
    esac
done
# shellcheck disable=SC2086 # from here on `missing` is a list of names
missing=$(echo $missing)
[ -n "$missing" ] || exit 0
why="for tests and benchmarks, which start their own on free ports and in temporary folders; no system service is started"
without=$missing
status=0
sh scripts/apt.sh "$why" $missing || status=$?
if [ $status -eq 0 ]; then exit 0; fi
if [ $status -eq 2 ] && [ "$missing" != "${missing% *}" ]; then # one that is not to be had keeps none of the others away
    without=
    for package in $missing; do
        sh scripts/apt.sh "$why" "$package" || without="$without $package"
    done
fi
[ -z "$without" ] || printf '%s\n' "Going on without: ${without# }. What needs them is skipped, with the reason." >&2
