#!/usr/bin/env bash
# Builds and loads the image of the tests' own web server (tests/src/bin/origin.rs). Usage: tools/test-images.sh CLUSTER
source "$(dirname "$0")/lib.sh"
cargo_release build --bins --tests
out=$EASEL_CACHE_DIR/images
mkdir -p "$out"
strip -o "$out/easel-test-origin" "$RELEASE_DIR/easel-test-origin"
easel-cluster build-image --name localhost/easel/test-origin:test --binary "$out/easel-test-origin:/easel-test-origin" \
  --entrypoint /easel-test-origin --user 65532 --out "$out/test-origin.tar" \
  --file "$ROOT/examples/demo-model/easel-demo.safetensors:/files/easel-demo.safetensors" >/dev/null
easel-cluster load-image --name "$1" "$out/test-origin.tar" </dev/null
