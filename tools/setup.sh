#!/usr/bin/env bash
# Make the virtual environment VENV ready for GROUP:  tools/setup.sh VENV GROUP
#
# GROUP is a dependency group of pyproject.toml, or "core" for mediakeep with its extras alone.
# PYTHON=… names the Python to make a new environment with; otherwise the first one that is new enough.
# When all is installed VENV/.ready-GROUP is touched, so that make need not ask again.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=$1
group=$2

say() { printf 'setup: %s\n' "$*" >&2; }
fail() {
    say "$@"
    exit 1
}

is_new_enough() { "$@" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    local candidate
    if [[ -n ${PYTHON:-} ]]; then
        is_new_enough "$PYTHON" || fail "PYTHON=$PYTHON is not a Python 3.11 or newer"
        echo "$PYTHON"
        return
    fi
    for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
        if is_new_enough "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    fail "no Python 3.11 or newer was found: install one, or name it: make … PYTHON=/path/to/python3"
}

# Debian and its relatives ship Python without ensurepip, which a virtual environment needs for its pip.
can_make_venvs() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }

install_venv_package() {
    local package=python3-venv as_root=() version
    version=$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    [[ $(/usr/bin/python3 --version 2>/dev/null) == "Python $version."* ]] || package=python$version-venv
    if ! command -v apt-get >/dev/null; then
        fail "$1 cannot make virtual environments: install its venv and ensurepip modules, then try again"
    fi
    if ((EUID != 0)); then
        as_root=(sudo)
        [[ -t 0 ]] || as_root=(sudo -n) # nobody is there to type a password
    fi
    if ! command -v "${as_root[0]:-true}" >/dev/null; then
        fail "$1 cannot make virtual environments: have root run 'apt-get install $package', then try again"
    fi
    say "$1 has no ensurepip: installing Debian's $package with ${as_root[*]:+${as_root[*]} }apt-get"
    apt_install "$package" "${as_root[@]}" ||
        fail "that failed: run 'apt-get install $package' yourself, then try again"
}

apt_install() { # PACKAGE [SUDO…]
    local install=(env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$1")
    shift
    "$@" "${install[@]}" >/dev/null 2>&1 ||
        { "$@" apt-get update -qq >/dev/null && "$@" "${install[@]}" >/dev/null; }
}

# The dashboard is tested in a real browser. Where it cannot be had those tests skip, and say so.
install_chromium() {
    local as_root=()
    [[ -x ${CHROMIUM:-/usr/bin/chromium} ]] && return
    if ((EUID != 0)); then
        as_root=(sudo)
        [[ -t 0 ]] || as_root=(sudo -n)
    fi
    if ! command -v apt-get >/dev/null || ! command -v "${as_root[0]:-true}" >/dev/null; then
        say "there is no chromium, and no apt-get or root to install it: the browser tests will be skipped"
        return
    fi
    say "installing Debian's chromium for the browser tests with ${as_root[*]:+${as_root[*]} }apt-get"
    apt_install chromium "${as_root[@]}" ||
        say "that failed, so the browser tests will be skipped: run 'apt-get install chromium' yourself"
}

make_venv() {
    local python
    python=$(find_python)
    can_make_venvs "$python" || install_venv_package "$python"
    can_make_venvs "$python" || fail "$python still cannot make virtual environments: name another PYTHON=…"
    say "making $venv with $("$python" --version)"
    "$python" -m venv --clear "$venv"
    echo '*' >"$venv/.gitignore"
}

python=$venv/bin/python
pip=("$python" -m pip --disable-pip-version-check --quiet)

if ! is_new_enough "$python" || ! "${pip[@]}" --version >/dev/null 2>&1; then
    make_venv
fi
# Dependency groups (PEP 735) came with pip 25.1.
"$python" -c 'import pip, sys; sys.exit(tuple(map(int, pip.__version__.split(".")[:2])) < (25, 1))' ||
    "${pip[@]}" install --upgrade 'pip>=25.1'

wanted=(--editable '.[all]')
[[ $group == core ]] || wanted+=(--group "$group")
say "installing mediakeep$([[ $group == core ]] || echo " and the group '$group'") into $venv"
"${pip[@]}" install "${wanted[@]}"
if [[ $group == test ]]; then
    # aiogram wants an older pydantic than others do, and so has a folder of its own.
    rm -rf "$venv/apart/aiogram"
    "${pip[@]}" install --target "$venv/apart/aiogram" --group aiogram
    install_chromium
fi
touch "$venv/.ready-$group"
