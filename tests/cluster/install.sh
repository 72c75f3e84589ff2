#!/usr/bin/env bash
# Installs what the local cluster and the tests need: Debian packages, and programs built with Go into the cache directory.
# Each step looks first and does nothing if the thing is there. Says what it does.
#
#   install.sh [packages] [cluster] [helm] [kubeconform] [versitygw]     (default: all of them)
set -euo pipefail

readonly HELM=helm.sh/helm/v4/cmd/helm@v4.3.1
readonly KUBECONFORM=github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0
readonly VERSITYGW=github.com/versity/versitygw/cmd/versitygw@v1.8.0
readonly KUBERNETES=1.34.4
readonly PACKAGES=(
  containerd runc containernetworking-plugins iptables conntrack ipset ethtool iproute2 util-linux ca-certificates
)

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bin=${EASEL_CACHE_DIR:-$HOME/.cache/easel}/bin
mkdir -p "$bin"
bin=$(cd "$bin" && pwd)

say() { echo "install: $*" >&2; }

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

install_packages() {
  if ! command -v dpkg-query >/dev/null; then
    say "this is no Debian: install the equivalents of ${PACKAGES[*]} yourself"
    return
  fi
  local missing=() package
  for package in "${PACKAGES[@]}"; do
    if [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" != installed ]; then
      missing+=("$package")
    fi
  done
  if [ ${#missing[@]} -eq 0 ]; then return; fi
  say "installing the Debian packages ${missing[*]}"
  as_root apt-get -q update >&2
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get -q install -y --no-install-recommends "${missing[@]}" >&2
}

need_go() {
  command -v go >/dev/null || { say "Go is missing: see https://go.dev/doc/install"; exit 1; }
}

# What the program is built from; tests do not change it.
fingerprint() {
  (
    cd "$here"
    go version
    find . \( -name '*.go' ! -name '*_test.go' -o -path '*/templates/*' -o -name 'go.*' -o -name install.sh \) -type f -print0 |
      LC_ALL=C sort -z | xargs -0 sha256sum
  ) | sha256sum | cut -d ' ' -f 1
}

build_cluster() {
  need_go
  local wanted built unfinished component=k8s.io/component-base/version
  wanted=$(fingerprint)
  built=$(cat "$bin/easel-cluster.sources" 2>/dev/null || true)
  if [ "$wanted" = "$built" ] && [ -x "$bin/easel-cluster" ] && [ -x "$bin/easel-pause" ]; then return; fi
  say "building easel-cluster with Kubernetes $KUBERNETES (about 8 minutes the first time, then seconds)"
  unfinished=$(mktemp -d "$bin/.building.XXXXXX")
  (
    trap 'rm -rf "$unfinished"' EXIT
    cd "$here"
    export CGO_ENABLED=0
    go build -trimpath -o "$unfinished/easel-pause" -ldflags "-s -w" ./pause
    go build -trimpath -o "$unfinished/easel-cluster" -ldflags "-s -w -X $component.gitVersion=v$KUBERNETES \
      -X $component.gitMajor=1 -X $component.gitMinor=$(cut -d . -f 2 <<<"$KUBERNETES")" .
    # Renamed, not overwritten: a cluster may be running from the old file.
    mv -f "$unfinished/easel-pause" "$unfinished/easel-cluster" "$bin/"
  )
  ln -sf easel-cluster "$bin/kubectl"
  echo "$wanted" >"$bin/easel-cluster.sources"
  say "built $bin/easel-cluster"
}

# Installs a program with `go install` unless the cache has it in that version.
install_tool() {
  local source=$1 name version have
  name=$(basename "${source%@*}")
  version=${source#*@}
  have=$(go version -m "$bin/$name" 2>/dev/null | awk '$1 == "mod" { print $3 }' || true)
  if [ "$have" = "$version" ]; then return; fi
  say "building $name $version"
  CGO_ENABLED=0 GOBIN=$bin go install -trimpath -ldflags "-s -w" "$source"
  say "built $bin/$name"
}

main() {
  local steps=("$@") step
  if [ ${#steps[@]} -eq 0 ]; then steps=(packages cluster helm kubeconform versitygw); fi
  for step in "${steps[@]}"; do
    case $step in
      packages) install_packages ;;
      cluster) build_cluster ;;
      helm) need_go; install_tool "$HELM" ;;
      kubeconform) need_go; install_tool "$KUBECONFORM" ;;
      versitygw) need_go; install_tool "$VERSITYGW" ;;
      *) say "no step '$step': packages cluster helm kubeconform versitygw"; exit 2 ;;
    esac
  done
}

main "$@"
