# What only a cluster can tell: installation under restricted Pod Security, upgrade, removal. Sourced by run.sh.
# shellcheck shell=bash disable=SC2154

namespace=easel-chart-$$
forward_pid=

cluster_cleanup() {
  [ -n "$forward_pid" ] && kill "$forward_pid" 2>/dev/null
  [ -n "${cluster_used:-}" ] || return
  helm uninstall easel --namespace "$namespace" --wait --timeout 60s >/dev/null 2>&1 </dev/null
  kubectl delete namespace "$namespace" --wait=false >/dev/null 2>&1 </dev/null
}

on_cluster() { kubectl --namespace "$namespace" "$@"; }

apply_crds() { kubectl apply --server-side --force-conflicts --field-manager helm -f "$chart/crds"; }

make_namespace() {
  kubectl create namespace "$namespace" &&
    kubectl label namespace "$namespace" pod-security.kubernetes.io/enforce=restricted
}

# One namespace only, so that an installation of the whole cluster is not disturbed.
installation() {
  helm "$1" easel "$chart" --namespace "$namespace" --set "watchNamespaces={$namespace}" --set persistence.size=1Gi \
    "${@:2}" --wait --timeout 120s
}

state() {
  on_cluster get pods,pvc,events -o wide
  local pod
  for pod in $(on_cluster get pods -o name); do on_cluster logs "$pod" --tail 20; done
}

install_or_show() { installation "$@" || { state; return 1; }; }

secret_key() { on_cluster get secret easel-api-key -o 'jsonpath={.data.apiKey}' | base64 -d; }

hash_of_secret_is_known() {
  [ "$(on_cluster get apikeys.easel.dev default -o 'jsonpath={.spec.keySha256}')" = \
    "$(secret_key | sha256sum | cut -d ' ' -f 1)" ]
}

key_is_still() { [ -n "$1" ] && [ "$(secret_key)" = "$1" ] && hash_of_secret_is_known; }

# answers KEY CODE: the public API answers that code to that key.
answers() {
  local port="" code="" attempt
  if [ -z "$forward_pid" ] || ! kill -0 "$forward_pid" 2>/dev/null; then
    on_cluster port-forward service/easel-facade :8080 >"$work/forward" 2>&1 </dev/null &
    forward_pid=$!
  fi
  for attempt in $(seq 100); do
    port=$(sed -n 's/^Forwarding from 127.0.0.1:\([0-9]*\).*/\1/p' "$work/forward")
    if [ -n "$port" ]; then
      code=$(curl -s -o "$work/answer" -w '%{http_code}' --max-time 5 -H "x-api-key: $1" \
        "http://127.0.0.1:$port/inference/test-connection")
      [ "$code" = "$2" ] && return 0
    fi
    sleep 0.1
  done
  echo "after $attempt attempts: code ${code:-none}, wanted $2"
  cat "$work/forward" "$work/answer"
  return 1
}

stop_forward() {
  [ -n "$forward_pid" ] && kill "$forward_pid" 2>/dev/null && wait "$forward_pid" 2>/dev/null
  forward_pid=
}

# may PART YES|NO VERB RESOURCE [ARGUMENT...]
may() {
  local answer
  answer=$(on_cluster auth can-i "$3" "$4" --as "system:serviceaccount:$namespace:easel-$1" "${@:5}")
  [ "$answer" = "$2" ] || { echo "$1 $3 $4: $answer"; return 1; }
}

rights_are_narrow() {
  local part
  may operator yes patch endpoints.easel.dev --subresource=status &&
    may operator yes create deployments.apps && may operator yes create models.easel.dev &&
    may operator no create trainingjobs.easel.dev && may operator yes patch trainingjobs.easel.dev --subresource=status &&
    may facade yes create trainingjobs.easel.dev && may facade yes patch datasets.easel.dev &&
    may facade no delete trainingjobs.easel.dev && may facade no patch datasets.easel.dev --subresource=status &&
    may operator no patch endpoints.easel.dev &&
    may facade yes watch apikeys.easel.dev && may facade no create apikeys.easel.dev || return 1
  for part in operator facade; do
    may $part no get secrets && may $part no create pods && may $part no get nodes &&
      may $part no create pods --subresource=exec && may $part no list endpoints.easel.dev --namespace default || return 1
  done
}

nothing_of_the_cluster_is_left() {
  local left
  left=$(kubectl get clusterroles,clusterrolebindings -o name | grep -- "/$namespace-")
  [ -z "$left" ] || { echo "$left"; return 1; }
}

notes_tell_the_first_request() {
  helm get notes easel --namespace "$namespace" >"$work/notes"
  has "$work/notes" "get secret easel-api-key" "port-forward service/easel-facade" "/inference-api/inference"
}

test_cluster() {
  ok "KUBECONFIG names a cluster (make test starts one)" kubectl version
  [ "$failed" -eq 0 ] || return
  cluster_used=1
  ok "CRDs are accepted" apply_crds
  ok "a namespace that enforces restricted pods" make_namespace
  ok "install" install_or_show install
  local key
  key=$(secret_key)
  ok "the ApiKey has the hash of the Secret's key" hash_of_secret_is_known
  ok "NOTES tell how to send the first request" notes_tell_the_first_request
  ok "the key opens the API" answers "$key" 200
  ok "another key does not" answers "wrong" 403
  ok "rights are narrow" rights_are_narrow
  stop_forward
  ok "upgrade" install_or_show upgrade --set logging.filter=debug
  ok "an upgrade keeps the key" key_is_still "$key"
  ok "the key opens the API after the upgrade" answers "$key" 200
  stop_forward
  ok "uninstall" helm uninstall easel --namespace "$namespace" --wait --timeout 60s
  ok "uninstalling leaves nothing cluster-wide" nothing_of_the_cluster_is_left
  ok "install again" install_or_show install
  ok "the key outlives the release" key_is_still "$key"
  refused "a lost Secret is told, not papered over" "put the Secret back, or delete the ApiKey" lose_secret_and_upgrade
}

lose_secret_and_upgrade() {
  on_cluster delete secret easel-api-key
  installation upgrade
}
