#!/usr/bin/env bash
# Run the suite on every supported Python that this machine has, each in an environment of its own:
#
#   tools/test-all.sh [WHAT…]      WHAT goes to pytest, and is all of the tests by default
set -euo pipefail
cd "$(dirname "$0")/.."

runs() { "$1" -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] != sys.argv[1])' "$2" 2>/dev/null; }

find_version() {
    local candidate
    for candidate in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$1"*/bin/python; do
        if runs "$candidate" "$1"; then
            echo "$candidate"
            return
        fi
    done
}

(($#)) || set -- tests
report=()
failed=0
for version in 3.11 3.12 3.13 3.14; do
    python=$(find_version "$version")
    if [[ -z $python ]]; then
        report+=("$version  skipped: it is not on this machine")
        continue
    fi
    venv=.venv-$version
    full=$("$python" --version)
    echo "== $full"
    if PYTHON=$python tools/setup.sh "$venv" test &&
        "$venv/bin/python" -m pytest -q -n auto --maxprocesses 4 --dist worksteal "$@"; then
        report+=("$version  passed (${full#Python })")
    else
        report+=("$version  FAILED (${full#Python })")
        failed=1
    fi
done

echo
printf '%s\n' "${report[@]}"
if [[ ${report[*]} != *passed* && $failed == 0 ]]; then
    echo "no supported Python was found"
    failed=1
fi
exit "$failed"
