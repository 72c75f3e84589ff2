#!/usr/bin/env bash
# `make down`: removes the demo's cluster with everything in it.
source "$(dirname "$0")/lib.sh"
if ! command -v easel-cluster >/dev/null; then
  say "nothing is running"
  exit 0
fi
easel-cluster down --name easel </dev/null
