#!/usr/bin/env bash
# Builds the three images (FROM scratch, static binaries) as docker archives, without Docker.
# Usage: tools/images.sh [--load CLUSTER]    Prints the archives; --load imports them into a local cluster.
source "$(dirname "$0")/lib.sh"
OUT=$EASEL_CACHE_DIR/images
mkdir -p "$OUT"

say "building the binaries (release)"
# EASEL_BUILD_ARGS=--tests (by tools/test.sh): the tests' features as well, so that nothing is compiled twice.
# shellcheck disable=SC2086
cargo_release build --bins ${EASEL_BUILD_ARGS:-}
archives=()
for part in operator facade runtime; do
  strip -o "$OUT/easel-$part" "$RELEASE_DIR/easel-$part"
  easel-cluster build-image --name "localhost/easel/$part:$VERSION" \
    --binary "$OUT/easel-$part:/easel-$part" --entrypoint "/easel-$part" --user 65532 --out "$OUT/$part.tar" >/dev/null
  archives+=("$OUT/$part.tar")
done
if [ "${1:-}" = --load ]; then
  for archive in "${archives[@]}"; do
    # A stamp per cluster: importing what is there already costs seconds.
    stamp=$EASEL_CACHE_DIR/clusters/$2/loaded-$(basename "$archive" .tar)
    sum=$(sha256sum <"$archive")
    [ "$(cat "$stamp" 2>/dev/null)" = "$sum" ] && continue
    say "loading $(basename "$archive") ($(du -h "$archive" | cut -f1))"
    easel-cluster load-image --name "$2" "$archive" </dev/null
    printf '%s' "$sum" >"$stamp"
  done
fi
printf '%s\n' "${archives[@]}"
