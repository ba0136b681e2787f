#!/usr/bin/env bash
# Builds the peers whose toolchain this machine has; quick when nothing changed. With `kubo`, builds kubo's
# daemon alone, with the versions of everything that its release has: three minutes of CPU the first time.
set -euo pipefail
cd "$(dirname "$0")"
mkdir -p .build

# Two test runs may start at once.
if command -v flock >/dev/null; then
    exec 9>.build/lock
    flock 9
fi

KUBO=v0.42.0
KUBO_SUM=h1:mp40G/pAwckX54zJfIK3CTLK6S1Ae+Wa63g3I68W8cA=
if [ "${1:-}" = kubo ]; then
    command -v go >/dev/null || { echo "kubo: no go here" >&2; exit 0; }
    module=$(cd / && go mod download -json "github.com/ipfs/kubo@$KUBO")
    grep -qF "\"Sum\": \"$KUBO_SUM\"" <<<"$module" || { echo "kubo $KUBO is not what it was: $module" >&2; exit 1; }
    folder=$(sed -n 's/.*"Dir": "\(.*\)".*/\1/p' <<<"$module")
    target=$PWD/.build/ipfs
    (cd "$folder" && go build -p "${BUILD_JOBS:-2}" -mod=readonly -buildvcs=false -trimpath -tags=nofuse -o "$target" ./cmd/ipfs)
    echo "kubo: built"
    exit 0
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
