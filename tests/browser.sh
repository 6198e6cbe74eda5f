#!/bin/sh
# The reader's tests in a real browser: the system's Chromium through playwright-core and axe-core (npm, test-only).
#   sh tests/browser.sh setup          Chromium by apt-get where it is missing and we are root; npm ci in tests/viewer
#   sh tests/browser.sh test [ARGS]    setup, then pytest -m browser tests/viewer; a missing browser is a failure, not a skip
# CHROMIUM=/path/to/it, and PYTHON (default: .venv/bin/python) may be set. Needs node 18 or newer.
set -eu
cd "$(dirname "$0")/.."

setup() {
    if [ -z "${CHROMIUM:-}" ] && ! command -v chromium > /dev/null; then
        [ "$(id -u)" = 0 ] || { echo "Chromium is missing: install it, or set CHROMIUM=/path/to/it" >&2; exit 1; }
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium > /dev/null
    fi
    command -v npm > /dev/null || { echo "node and npm are missing: install nodejs 18 or newer" >&2; exit 1; }
    stamp=tests/viewer/node_modules/.installed
    cmp -s tests/viewer/package-lock.json "$stamp" && return
    npm ci --prefix tests/viewer --ignore-scripts --no-audit --no-fund --loglevel=error
    cp tests/viewer/package-lock.json "$stamp"
}

command=${1:-test}
[ $# -eq 0 ] || shift
case $command in
    setup) setup ;;
    test) setup; RRM_REQUIRE="${RRM_REQUIRE:+$RRM_REQUIRE,}browser" "${PYTHON:-.venv/bin/python}" -m pytest -q -m browser tests/viewer "$@" ;;
    *) sed -n '2,5s/^# *//p' "$0" >&2; exit 2 ;;
esac
