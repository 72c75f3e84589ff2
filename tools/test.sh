#!/usr/bin/env bash
# `make test`: every test, in the order in which a fault is cheapest to find.
# Usage: tools/test.sh [lint] [unit] [chart] [e2e]    (none: all of them)
source "$(dirname "$0")/lib.sh"
cd "$ROOT"
parts=${*:-lint unit chart e2e}
wants() { [[ " $parts " == *" $1 "* ]]; }
CLUSTER=easel-test
export EASEL_BUILD_ARGS=--tests
# cluster_test NAME ARG...: one of the test programs that need a cluster (tests/tests/NAME).
cluster_test() { cargo_release test --features easel-tests/cluster --test "$1" -- "${@:2}"; }

tools/deps.sh build
if wants lint; then
  say "cargo fmt, cargo clippy, shell syntax"
  cargo fmt --all --check
  cargo clippy --locked --workspace --all-targets --quiet -- -D warnings
  for script in tools/*.sh examples/*/*.sh tests/cluster/*.sh .ci/run; do bash -n "$script"; done
fi
if wants unit || wants chart || wants e2e; then
  tools/deps.sh cluster test
fi
if wants unit; then
  say "cargo test: every crate, without those tests that need a cluster"
  cargo_release test
  say "go test: the local cluster's program"
  # The flags of the program's own build: with others, Go would compile Kubernetes once more.
  (cd tests/cluster && GOFLAGS=-trimpath CGO_ENABLED=0 go test ./internal/... </dev/null)
fi
if wants chart || wants e2e; then
  say "a local cluster for the tests"
  cleanup() {
    status=$?
    if [ -z "$EASEL_USER_KUBECONFIG" ]; then
      easel-cluster down --name "$CLUSTER" </dev/null || status=1
    fi
    exit "$status"
  }
  cluster_up "$CLUSTER"
  trap cleanup EXIT
  tools/images.sh --load "$CLUSTER" >/dev/null
  if wants e2e; then
    say "the API server's rules"
    cluster_test crd_rules
  fi
  if wants chart; then
    say "the chart: lint, schemas, installation, upgrade"
    tests/chart/run.sh
  fi
  if wants e2e; then
    say "whole flows with real pods"
    tools/test-images.sh "$CLUSTER"
    tools/install-chart.sh easel-test --values tests/values.yaml
    EASEL_URL=$(tools/facade-url.sh easel-test)
    export EASEL_URL EASEL_NAMESPACE=easel-test
    cluster_test flows --test-threads 2
    say "processes that die in the middle"
    cluster_test disruption --test-threads 1
  fi
fi
say "all of it passed: $parts"
