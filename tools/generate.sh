#!/usr/bin/env bash
# `make generate`: writes the CRDs and their reference page from the Rust types.
source "$(dirname "$0")/lib.sh"
"$ROOT/tools/deps.sh" build
cargo_release build --quiet --bin easel-generate
cd "$ROOT"
exec "$RELEASE_DIR/easel-generate" charts/easel/crds docs/reference
