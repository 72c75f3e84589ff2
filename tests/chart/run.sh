#!/usr/bin/env bash
# Tests of the chart: lint, schemas, refused values; then an installation, an upgrade and a removal on the cluster of
# KUBECONFIG (`make test` starts one and loads the images). The last line is "N passed, N failed".
# Usage: tests/chart/run.sh [render] [cluster]    (none: both)
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
chart=$root/charts/easel
export PATH=${EASEL_CACHE_DIR:-$HOME/.cache/easel}/bin:$PATH
parts=${*:-render cluster}
work=$(mktemp -d)
passed=0
failed=0

# ok NAME COMMAND...: the command succeeds.
ok() {
  local name=$1
  shift
  if "$@" >"$work/out" 2>&1 </dev/null; then
    passed=$((passed + 1))
    echo "ok      $name"
  else
    failed=$((failed + 1))
    echo "FAILED  $name"
    sed 's/^/        /' "$work/out" | tail -40
  fi
}

# refused NAME SENTENCE COMMAND...: the command fails, and says so.
refused() {
  local name=$1 sentence=$2
  shift 2
  says_no() { if "$@"; then echo "it was accepted"; return 1; fi; }
  no_and_why() {
    says_no "$@" >"$work/refusal" 2>&1
    local status=$?
    cat "$work/refusal"
    [ $status -eq 0 ] && grep -qF -- "$sentence" "$work/refusal"
  }
  ok "$name" no_and_why "$@"
}

render() { helm template easel "$chart" --namespace easel "$@"; }

# shellcheck source=render.sh
source "$here/render.sh"
# shellcheck source=cluster.sh
source "$here/cluster.sh"

cleanup() {
  [ "$(type -t cluster_cleanup)" = function ] && cluster_cleanup
  rm -rf "$work"
}
trap cleanup EXIT
for part in $parts; do
  case $part in
    render) test_render ;;
    cluster) test_cluster ;;
    *) echo "no part '$part': render cluster" >&2; failed=$((failed + 1)) ;;
  esac
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
