#!/bin/sh
# Makes or brings up to date the project's environment in .venv from requirements.lock. Does nothing when it is current.
set -eu
cd "$(dirname "$0")/.."

python=${PYTHON:-}
if [ -z "$python" ]; then
    for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
        if command -v "$candidate" >/dev/null 2>&1 && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            python=$candidate
            break
        fi
    done
fi
[ -n "$python" ] || { echo "setup: Python 3.11 or newer is needed; none was found on PATH" >&2; exit 1; }

want=$(cat requirements.lock pyproject.toml deploy/setup.sh | cksum)-$(pwd | cksum)
[ -f .venv/made-from ] && [ "$(cat .venv/made-from)" = "$want" ] && exit 0

if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    rm -rf .venv
    "$python" -m venv .venv 2>/dev/null || {
        echo "setup: $python cannot make a virtual environment; install its venv module (Debian: python3-venv)" >&2
        exit 1
    }
fi
rm -f .venv/made-from

log=$(mktemp)
trap 'rm -f "$log"' EXIT
failed() {
    if grep -qiE 'connection|timed? ?out|resolve|unreachable|dns|network|no matching distribution|proxy|fetch' "$log"; then
        echo "setup: the package registry could not be reached ($1); check the network and run the same command again" >&2
    else
        echo "setup: $1 failed:" >&2
        tail -n 20 "$log" >&2
    fi
    exit 1
}

echo "setup: making the environment in .venv (about a minute, once)" >&2
# uv comes from the same hashed lock as all else.
awk '/^uv==/ {on=1} on {print} on && !/\\$/ {exit}' requirements.lock > .venv/uv.lock
.venv/bin/python -m pip install --quiet --retries 2 --require-hashes --no-deps -r .venv/uv.lock >"$log" 2>&1 || failed "installing uv"
# uv does not read pip's configuration: hand it a registry that pip was told to use.
index=$(.venv/bin/python -m pip config get global.index-url 2>/dev/null || true)
index=${PIP_INDEX_URL:-$index}
[ -z "$index" ] || export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$index}"
export UV_LINK_MODE="${UV_LINK_MODE:-copy}" UV_HTTP_TIMEOUT="${UV_HTTP_TIMEOUT:-60}" VIRTUAL_ENV="$PWD/.venv"
.venv/bin/uv pip sync --quiet --require-hashes requirements.lock >"$log" 2>&1 || failed "installing requirements.lock"
.venv/bin/uv pip install --quiet --offline --no-deps --no-build-isolation --editable . >"$log" 2>&1 || failed "installing the project"
# Compiled once here: every process of the product would otherwise compile thousands of modules at each start.
.venv/bin/python -m compileall -q -j 0 .venv/lib >/dev/null 2>&1 || true
printf '%s' "$want" > .venv/made-from
