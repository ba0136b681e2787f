#!/usr/bin/env bash
# Builds the peers whose toolchain this machine has; quick when nothing changed.
set -euo pipefail
cd "$(dirname "$0")"
mkdir -p .build

# Two test runs may start at once.
if command -v flock >/dev/null; then
    exec 9>.build/lock
    flock 9
fi

if command -v go >/dev/null; then
    (cd go && go build -p "${BUILD_JOBS:-2}" -mod=readonly -buildvcs=false -trimpath -o ../.build/gopeer .)
    (cd go && go build -p "${BUILD_JOBS:-2}" -mod=readonly -buildvcs=false -trimpath -o ../.build/boxoadd ./boxoadd)
    echo "go peer: built"
else
    echo "go peer: no go here" >&2
fi

if command -v node >/dev/null && command -v npm >/dev/null; then
    # npm ci deletes and fetches everything, so only when the lock file changed.
    if ! cmp -s js/package-lock.json .build/installed-package-lock.json || [ ! -d js/node_modules ]; then
        rm -f .build/installed-package-lock.json
        (cd js && npm ci --ignore-scripts --loglevel=error)
        cp js/package-lock.json .build/installed-package-lock.json
    fi
    echo "js peer: installed"
else
    echo "js peer: no node and npm here" >&2
fi
