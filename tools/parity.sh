#!/usr/bin/env bash
# `make parity`: runs the engine's tests against the reference and writes what they measured into docs/parity.md.
source "$(dirname "$0")/lib.sh"
cd "$ROOT"
tools/deps.sh build
rows=$(mktemp -d)
trap 'rm -rf "$rows"' EXIT
say "the engine's tests (each leaves its figures)"
(cd runtime/diffusion && EASEL_PARITY_DIR=$rows cargo_release test --test suite -- --quiet >"$rows/log" 2>&1) ||
  { tail -40 "$rows/log" >&2; die "a test failed: the page is as it was"; }
{
  cat docs/parity-head.md
  cat "$rows"/*.tsv | sort -t "$(printf '\t')" -k1,1 -k2,2 | awk -F '\t' '
    $1 != area { area = $1; printf "\n## %s\n\n| feature | max abs difference | PSNR dB | tolerance | origin of the tolerance |\n|---|---|---|---|---|\n", area }
    { printf "| %s | %s | %s | %s | %s |\n", $2, $3, $4, $5, $6 }'
} >"$rows/page"
cp "$rows/page" docs/parity.md
say "docs/parity.md has $(cat "$rows"/*.tsv | wc -l) rows"
