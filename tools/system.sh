#!/bin/sh
# Sees to it that the tests find Chromium, for cards in a real JupyterLab, and strace, for disks that fail: installs
# Debian's where they are missing and we may. Never fails: without one of them its tests skip, and say so.
set -u
missing=
for package in chromium strace; do
    found=
    for name in "$package" $([ "$package" = chromium ] && echo chromium-browser google-chrome); do
        if command -v "$name" >/dev/null; then
            found=$(command -v "$name")
            break
        fi
    done
    echo "   $package: ${found:-not there}"
    [ -n "$found" ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    echo "   apt-get install$missing"
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086 # words on purpose
    if ! { apt-get -qq update && apt-get -qq install --no-install-recommends $missing; } >/dev/null </dev/null; then
        echo "   apt-get could not install it: its tests will be skipped"
    fi
else
    echo "   only root on Debian may install it from here: its tests will be skipped"
fi
exit 0
