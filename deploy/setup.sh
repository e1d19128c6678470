#!/bin/sh
# Makes or brings up to date the project's environment in .venv from requirements.lock. Does nothing when it is current.
set -eu
cd "$(dirname "$0")/.."

die() {
    echo "setup: $1" >&2
    exit 1
}

# .venv/made-from: what the environment was made from, and where; written last, so that an interrupted one lacks it.
want=$(cat requirements.lock pyproject.toml deploy/setup.sh | cksum)
where=$(pwd)
current() {
    [ -x .venv/bin/python ] && [ "$(cat .venv/made-from 2>/dev/null)" = "$want
$where" ]
}
current && exit 0

[ -w . ] || die "$where is not writable by $(id -un)"
# One at a time: a second one waits here, then finds the work done.
exec 9<deploy
if command -v flock >/dev/null 2>&1; then
    flock 9
    current && exit 0
fi

new_enough() {
    command -v "$1" >/dev/null 2>&1 && "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}
if [ -n "${PYTHON:-}" ]; then
    new_enough "$PYTHON" || die "PYTHON=$PYTHON is not a Python 3.11 or newer"
    python=$PYTHON
else
    for python in python3 python3.14 python3.13 python3.12 python3.11 ''; do
        [ -n "$python" ] || die "Python 3.11 or newer is needed; none was found on PATH"
        new_enough "$python" && break
    done
fi

# An environment that was never finished, or moved here from elsewhere, is made anew: an installer that was killed leaves
# packages that look whole, and scripts name the folder they were made in.
if [ ! -x .venv/bin/python ] || [ "$(tail -n 1 .venv/made-from 2>/dev/null)" != "$where" ]; then
    "$python" -c 'import ensurepip, venv' >/dev/null 2>&1 ||
        die "$python cannot make a virtual environment; install its venv module (Debian, Ubuntu: apt-get install python3-venv)"
    rm -rf .venv 2>/dev/null || die "$where/.venv cannot be removed by $(id -un); remove it and run the same command again"
    fresh=yes
else
    fresh=no
    rm .venv/made-from
fi

mkdir -p .venv
log=.venv/setup.log
step() {
    what=$1
    shift
    "$@" >"$log" 2>&1 || failed
}
failed() {
    if grep -qi 'no space left' "$log"; then
        die "$what failed: the disk is full (about 3 GiB are needed)"
    elif grep -qiE 'certificate' "$log"; then
        die "$what failed: the package registry's certificate is not trusted; name your authorities' file in SSL_CERT_FILE"
    elif grep -qiE 'connect|timed? ?out|resolve|unreachable|dns error|proxy|error sending request' "$log"; then
        die "$what failed: the package registry could not be reached; check the network and run the same command again"
    fi
    tail -n 20 "$log" >&2
    die "$what failed; its last lines are above, all of them in $log"
}

export PIP_USER=0 PIP_DISABLE_PIP_VERSION_CHECK=1
if [ "$fresh" = yes ]; then
    echo "setup: making the environment in .venv (a minute or two, once)" >&2
    step "making .venv" "$python" -m venv .venv
    # uv comes from the same hashed lock as all else.
    awk '/^uv==/ {on=1} on {print} on && !/\\$/ {exit}' requirements.lock >.venv/uv.lock
    step "installing uv" .venv/bin/python -m pip install --quiet --retries 2 --require-hashes --no-deps -r .venv/uv.lock
else
    echo "setup: bringing the environment in .venv up to date" >&2
fi

# uv does not read pip's configuration: hand it the registry and the certificates that pip was told to use.
told_pip() {
    .venv/bin/python -m pip config get "global.$1" 2>/dev/null || true
}
index=${UV_DEFAULT_INDEX:-${PIP_INDEX_URL:-$(told_pip index-url)}}
[ -z "$index" ] || export UV_DEFAULT_INDEX="$index"
authorities=${SSL_CERT_FILE:-${PIP_CERT:-$(told_pip cert)}}
[ -z "$authorities" ] || export SSL_CERT_FILE="$authorities"
[ -w "${HOME:-/nonexistent}" ] || export UV_CACHE_DIR="${UV_CACHE_DIR:-.venv/cache}"
export UV_LINK_MODE="${UV_LINK_MODE:-copy}" UV_HTTP_TIMEOUT="${UV_HTTP_TIMEOUT:-60}"

uv_pip() {
    command=$1
    shift
    .venv/bin/uv pip "$command" --quiet --python .venv/bin/python "$@"
}
sync() {
    uv_pip sync --require-hashes requirements.lock && return
    grep -qi certificate "$log" || return 1
    # A registry behind a company's own authority: the system knows it, uv's built-in list does not.
    UV_SYSTEM_CERTS=1 uv_pip sync --require-hashes requirements.lock
}
step "installing requirements.lock" sync
step "installing the project" uv_pip install --offline --no-deps --no-build-isolation --editable .
# Compiled once here: every process of the product would otherwise compile thousands of modules at each start.
.venv/bin/python -m compileall -q -j 0 .venv/lib >/dev/null 2>&1 || true
rm -rf .venv/cache
printf '%s\n%s' "$want" "$where" >.venv/made-from
