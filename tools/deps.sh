#!/usr/bin/env bash
# Installs what the build, the local cluster and the tests need: Debian packages, the cluster program, helm.
# Usage: tools/deps.sh [build|cluster|test]...    Safe to run again; does nothing when all is there.
source "$(dirname "$0")/lib.sh"
need_commands cargo go

for part in "${@:-build}"; do
  case $part in
    build)
      need_packages gcc libc6-dev make ca-certificates curl
      own_target
      ;;
    cluster) "$ROOT/tests/cluster/install.sh" packages cluster helm ;;
    test)
      need_packages postgresql postgresql-client
      "$ROOT/tests/cluster/install.sh" kubeconform versitygw
      ;;
    *) die "unknown part $part: build, cluster or test" ;;
  esac
done
