#!/bin/sh
# Makes .venv and puts the locked requirements and this project into it: scripts/setup.sh runtime|dev
# Does nothing, in well under a second, when the lock files have not changed since the last time.
# PYTHON=/path/to/python chooses the interpreter.
set -eu
cd "$(dirname "$0")/.."
wanted=$1
stamp=.venv/.set-up
venv_python=.venv/bin/python

say() { printf '%s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }
suitable() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }
minor_version() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])'; }

# 3.12 and 3.11 before 3.13: the package that carries a real tritonserver is locked for those (docs/adr/0002).
find_python() {
    if [ -n "${PYTHON:-}" ]; then
        suitable "$PYTHON" || fail "PYTHON=$PYTHON is not a Python 3.11 or later."
        echo "$PYTHON"
        return
    fi
    for candidate in python3.12 python3.11 python3.13 python3; do
        if suitable "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    found=$(python3 --version 2>/dev/null || echo "no python3 at all")
    say "maas needs Python 3.11 or later; here is $found."
    fail "Install one (Debian 12, Ubuntu 24.04 and later: sudo apt-get install python3 python3-venv), or name it: make PYTHON=/path/to/python3.11"
}

# Debian and Ubuntu keep a part of the standard library, which fills new environments with pip, in a package of its own.
need_ensurepip() {
    "$1" -c 'import ensurepip, venv' 2>/dev/null && return
    case $(command -v "$1") in
        /usr/bin/*) package="python$(minor_version "$1")-venv" ;;
        *) fail "$1 lacks its modules venv and ensurepip; name another: make PYTHON=/path/to/python3.11" ;;
    esac
    sh scripts/apt.sh "$1 cannot make virtual environments without it" "$package" ||
        fail "Then run the same command again."
}

make_venv() {
    python=$(find_python)
    need_ensurepip "$python"
    say "Making .venv with $("$python" --version)"
    "$python" -m venv --clear .venv || fail "$python could not make .venv: see above."
}

venv_is_good() {
    suitable $venv_python || return 1
    # Commands in .venv/bin name their interpreter by its full path: a folder that moved needs a new .venv.
    [ ! -e $stamp ] || grep -qxF "in $PWD" $stamp || return 1
    [ -z "${PYTHON:-}" ] || [ "$(minor_version "$PYTHON")" = "$(minor_version $venv_python)" ]
}

# One line for each thing whose change asks for a new installation.
fingerprint() {
    echo "in $PWD"
    echo "installer $(cksum <requirements/installer.txt)"
    echo "requirements $1 $(cksum <"requirements/$1.txt")"
    echo "project $(cksum <pyproject.toml)"
}
up_to_date() { [ -x .venv/bin/maas ] && fingerprint "$1" | cmp -s - $stamp; }

uv() {
    if [ -t 2 ]; then $venv_python scripts/uv.py "$@"; else $venv_python scripts/uv.py "$@" --quiet; fi
}

# Two makes at once: the second waits, then finds the work done.
if command -v flock >/dev/null; then
    exec 9<scripts/setup.sh
    flock 9
fi

venv_is_good || make_venv
# Development requirements hold the runtime's, the same versions: what has them keeps them.
if [ "$wanted" = dev ] || grep -q '^requirements dev ' $stamp 2>/dev/null; then chosen=dev; else chosen=runtime; fi
# Where an administrator installs and another user serves, nobody else would: the gateway's own files, as they are now.
compile_gateway() { $venv_python -m compileall -q gateway; }
if up_to_date $chosen; then compile_gateway && exit 0; fi

installer=$(sed -n 's/^uv==\([^ ]*\).*/\1/p' requirements/installer.txt)
if [ "$(.venv/bin/uv --version 2>/dev/null | cut -d' ' -f2)" != "$installer" ]; then
    say "Installing uv $installer, the installer, into .venv"
    $venv_python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/installer.txt
fi
say "Installing $(grep -c '^[a-z0-9]' requirements/$chosen.txt) locked packages (requirements/$chosen.txt) into .venv"
# Compiled once here, not at every start: it halves the time that the command, and each server of a test, needs to start.
uv pip sync --python $venv_python --compile-bytecode --require-hashes requirements/installer.txt "requirements/$chosen.txt"
uv pip install --python $venv_python --no-deps --no-build-isolation --editable .
compile_gateway
fingerprint $chosen >$stamp
say "Ready: .venv/bin/maas"
