#!/usr/bin/env bash
# Brings up a cluster of its own, uses all of it, kills it, and asserts that nothing is left. Needs root; about a minute.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${EASEL_CACHE_DIR:-$HOME/.cache/easel}
program=$cache/bin/easel-cluster
readonly name=smoke
readonly state=$cache/clusters/$name
readonly nodes=${NODES:-1}
work=$(mktemp -d)

"$here/install.sh" packages cluster
unset KUBECONFIG

step() { echo "smoke: $*"; }
fail() { echo "smoke: FAILED: $*" >&2; exit 1; }
kube() { KUBECONFIG=$state/kubeconfig "$program" kubectl "$@"; }
cluster() { local command=$1; shift; "$program" "$command" --name "$name" "$@"; }
first_process() { sed -n 's/.*"id": \([0-9]*\).*/\1/p' "$state/nodes/node1/process.json"; }

# until_true SECONDS COMMAND...: runs the command until it succeeds.
until_true() {
  local deadline=$((SECONDS + $1)); shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.2
  done
}

clean_up() {
  local status=$?
  if [ "$status" -ne 0 ] && cluster status >&2; then
    kube get pods,events -A >&2 || true
    tail -n 5 "$state"/logs/*.log >&2 || true
  fi
  cluster down || true
  rm -rf "$work"
  exit "$status"
}
trap clean_up EXIT

# Where the first node's processes live; all of them, shims and containers too, share it.
namespace() { readlink "/proc/$(first_process)/ns/pid" | tr -dc 0-9; }

kubelet_starts() { grep -c 'kubelet started' "$state/logs/node1-init.log"; }
kubelet_is_back() { [ "$(kubelet_starts)" -ge 2 ]; }
no_volumes() { [ -z "$(find "$state/volumes" -mindepth 2 -maxdepth 2)" ]; }

# traces SLOT NAMESPACE: what of the cluster the machine still knows: processes, mounts, links, routes, cgroups, files.
traces() {
  find /proc -maxdepth 3 -path '/proc/[0-9]*/ns/pid' -lname "*$2*" 2>/dev/null || true
  grep -F "clusters/$name" /proc/self/mounts || true
  ip -o link | grep -E " easel$1(n[0-9]+)?[@:]" || true
  ip route | grep -F "dev easel$1 " || true
  find /sys/fs/cgroup -type d -name "easel$1-node*" -prune 2>/dev/null
  [ ! -e "$state" ] || echo "$state"
}

step "down where there is nothing succeeds, status fails"
cluster down
if cluster status 2>"$work/err"; then fail "status of no cluster succeeded"; fi
grep -q "not running" "$work/err" || fail "status says: $(cat "$work/err")"

step "up, twice"
# Through a pipe: it ends only when nothing holds the other end any more.
kubeconfig=$(cluster up --nodes "$nodes" 2>&1 | tee /dev/stderr | tail -n 1)
[ "$kubeconfig" = "$state/kubeconfig" ] || fail "printed the kubeconfig $kubeconfig"
cluster up >"$work/up" 2>&1
grep "running already" "$work/up" || fail "the second start said nothing of the first"
slot=$(sed -n 's/.*"slot":\([0-9]*\).*/\1/p' "$state/cluster.json")
seen=$(traces "$slot" "$(namespace)")
for kind in /proc/ "easel$slot: " "dev easel$slot " /sys/fs/cgroup "$state"; do
  grep -qF "$kind" <<<"$seen" || fail "a running cluster leaves no $kind: the last check would prove nothing"
done

step "an image, a volume, DNS, a GPU, a Service"
"$program" build-image --name localhost/easel/smoke:v1 --binary "$program" --out "$work/smoke.tar"
cluster load-image "$work/smoke.tar"
cluster gpus 2
kube apply -f "$here/smoke.yaml"
kube wait --for=condition=Ready pod/smoke --timeout=60s || { kube describe pod smoke; kube logs smoke -c asks-by-name; exit 1; }
[ "$(kube logs smoke -c asks-by-name)" = ok ] || fail "the API server was not reached by its name"
ls -d "$state"/volumes/node*/*/cache >/dev/null || fail "the volume is empty"
address=$(kube get node node1 -o jsonpath='{.status.addresses[?(@.type=="InternalIP")].address}')
service=$(kube get service smoke -o jsonpath='{.spec.clusterIP}')
for url in "http://$address:30080/ready" "http://$service/ready"; do
  until_true 10 curl --silent --fail --max-time 2 "$url" || fail "$url does not answer"
done
grep -q "$address" <<<"$(cluster exec-node -- ip -brief address)" || fail "exec-node is not in the node"
cluster status

step "a component that is killed comes back, and pods and GPUs stay"
cluster exec-node -- sh -c 'for p in /proc/[0-9]*; do
  if [ "$(head -zn1 $p/cmdline | tr -d "\0")" = kubelet ]; then kill -9 ${p#/proc/}; fi; done'
until_true 20 grep -q 'kubelet ended: killed by SIGKILL' "$state/logs/node1-init.log" || fail "the kubelet was not killed"
until_true 30 kubelet_is_back || fail "the kubelet was not started again"
cluster gpus 2
kube wait --for=condition=Ready pod/smoke --timeout=30s

step "deleting the claim removes its directory"
kube delete -f "$here/smoke.yaml" --wait
until_true 30 no_volumes || fail "the volume is still there"

step "kill -9 of the node, then up"
kill -9 "$(first_process)"
cluster up --nodes "$nodes" 2>&1 | tee "$work/up"
grep -q "removing what is left" "$work/up" || fail "the dead cluster was not noticed"
kube get nodes

step "kill -9 of the node, then down leaves nothing"
lived_in=$(namespace)
kill -9 "$(first_process)"
cluster down
nothing_left() { [ -z "$(traces "$slot" "$lived_in")" ]; }
# The node's first process is dead, but it stays listed until the machine's own init collects it.
until_true 5 nothing_left || fail "left behind: $(traces "$slot" "$lived_in")"
step "passed in $SECONDS s"
