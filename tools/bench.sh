#!/usr/bin/env bash
# `make bench`: the figures that the README speaks of, on this machine. Usage: tools/bench.sh [store] [facade] [transfer] [engine] [training] [cluster]
source "$(dirname "$0")/lib.sh"
cd "$ROOT"
parts=${*:-store facade transfer engine training cluster}
wants() { [[ " $parts " == *" $1 "* ]]; }
echo "machine: $(nproc) cores, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), $(free -g | awk '/^Mem:/{print $2}') GiB"
tools/deps.sh build cluster test

if wants store; then
  say "job store: claim + complete"
  cargo bench --locked --workspace --bench job_store </dev/null
fi
if wants facade; then
  say "facade: POST latency, 50 concurrent callers"
  cargo bench --locked --workspace --bench post_latency </dev/null
fi
if wants transfer; then
  say "transfer: a file from an HTTP server and from versitygw, in one go and through ten kills"
  cargo_release build --example transfer
  "$RELEASE_DIR/examples/transfer" </dev/null
fi
if wants engine; then
  say "engine: models of real size with random weights (SDXL takes some 16 GiB and minutes)"
  cargo_release build --example measure
  "$RELEASE_DIR/examples/measure" </dev/null
fi
if wants training; then
  say "training: a LoRA of rank 4, here and with diffusers and PEFT (takes some 12 GiB and minutes)"
  python=$EASEL_CACHE_DIR/venv/bin/python
  if ! "$python" -c 'import diffusers, peft' 2>/dev/null; then
    need_packages python3-venv
    python3 -m venv "$EASEL_CACHE_DIR/venv"
    "$EASEL_CACHE_DIR/venv/bin/pip" install --quiet -r runtime/diffusion/tests/golden/train/requirements.txt </dev/null
  fi
  cargo_release build --example measure_training
  echo "load before: $(cut -d ' ' -f 1-3 /proc/loadavg)"
  "$RELEASE_DIR/examples/measure_training" </dev/null
  "$python" runtime/diffusion/examples/measure_training.py </dev/null
fi
if wants cluster; then
  say "cluster: operator, memory, time to ready, time to a picture"
  cluster_up easel
  if [ -z "$EASEL_USER_KUBECONFIG" ]; then tools/images.sh --load easel >/dev/null; fi
  tools/install-chart.sh easel --values examples/demo/values.yaml
  EASEL_URL=$(tools/facade-url.sh easel) EASEL_NAMESPACE=easel "$RELEASE_DIR/easel-bench"
fi
