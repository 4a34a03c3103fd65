#!/bin/sh
# Sees to it that the browser tests find Chromium: installs Debian's where it is missing and we may.
# Never fails: without a browser these tests skip, and say so.
set -u
for name in chromium chromium-browser google-chrome; do
    if command -v "$name" >/dev/null; then
        echo "   $(command -v "$name")"
        exit 0
    fi
done
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    echo "   not there: apt-get install chromium"
    export DEBIAN_FRONTEND=noninteractive
    if ! { apt-get -qq update && apt-get -qq install --no-install-recommends chromium; } >/dev/null </dev/null; then
        echo "   apt-get could not install it: the browser tests will be skipped"
    fi
else
    echo "   not there, and only root on Debian may install it from here: the browser tests will be skipped"
fi
exit 0
