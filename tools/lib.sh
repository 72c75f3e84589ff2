# Shared by the scripts beside it: progress lines, paths, Debian packages, tools. Source it.
# shellcheck shell=bash
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export EASEL_CACHE_DIR=${EASEL_CACHE_DIR:-$HOME/.cache/easel}
# Shared by every checkout of this user, so that a second clone does not compile the dependencies again.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$EASEL_CACHE_DIR/target}
export PATH=$EASEL_CACHE_DIR/bin:$PATH:/usr/sbin:/sbin
VERSION=$(sed -n 's/^version = "\(.*\)"/\1/p' "$ROOT/Cargo.toml" | head -1)
STARTED=$SECONDS
# shellcheck disable=SC2034
RELEASE_DIR=$CARGO_TARGET_DIR/$(rustc --print host-tuple 2>/dev/null || true)/release

# say TEXT: a progress line with the seconds since the script began.
say() { printf '[%4ds] %s\n' $((SECONDS - STARTED)) "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# need_commands NAME...: ends with a remedy when one is missing.
need_commands() {
  local name
  for name in "$@"; do
    command -v "$name" >/dev/null || die "\`$name\` is not installed; Easel is built with Rust (rustup.rs) and Go (go.dev)"
  done
}

# need_packages PACKAGE...: installs the Debian packages that are absent, saying so.
need_packages() {
  local missing=() package
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  command -v apt-get >/dev/null || die "these Debian packages are needed, and apt-get is not here: ${missing[*]}"
  [ "$(id -u)" = 0 ] || die "these Debian packages are needed; as root run: apt-get install ${missing[*]}"
  say "installing Debian packages: ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq </dev/null >/dev/null
  apt-get install -y -qq --no-install-recommends "${missing[@]}" </dev/null >/dev/null
}

# cargo_release COMMAND ARG...: one cargo command over the whole workspace, in release. Always the whole: a selection of
# crates has its own set of features, and cargo would compile the dependencies again for each.
cargo_release() {
  local command=$1
  shift
  (cd "$ROOT" && cargo "$command" --release --locked --workspace "$@" </dev/null)
}

# own_target: drops the workspace's own crates from the shared target directory when another checkout compiled them
# last. cargo tells files by their age, not by their folder, and would run the other checkout's programs as ours.
own_target() {
  local owner=$CARGO_TARGET_DIR/.easel-checkout
  [ "$(cat "$owner" 2>/dev/null || true)" = "$ROOT" ] && return
  if [ -d "$CARGO_TARGET_DIR" ]; then
    say "the target directory holds another checkout's crates: compiling this one's"
    local clean=(cargo clean --quiet --locked --workspace --target "$(rustc --print host-tuple)")
    (cd "$ROOT" && "${clean[@]}" && "${clean[@]}" --release)
  fi
  mkdir -p "$CARGO_TARGET_DIR"
  printf '%s' "$ROOT" >"$owner"
}

# cluster_up NAME: starts the local cluster, or uses the one that KUBECONFIG names.
cluster_up() {
  if [ -n "${EASEL_USER_KUBECONFIG:=${KUBECONFIG:-}}" ]; then
    say "using the cluster of KUBECONFIG=$EASEL_USER_KUBECONFIG"
    return
  fi
  KUBECONFIG=$(easel-cluster up --name "$1" </dev/null)
  export KUBECONFIG
}

kubectl() { easel-cluster kubectl "$@"; }
