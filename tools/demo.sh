#!/usr/bin/env bash
# `make demo`: local Kubernetes, the chart, the example manifests, one REST call, a picture in demo/out/.
# Safe to run again. Leaves everything running; `make down` stops it.
source "$(dirname "$0")/lib.sh"
NAMESPACE=easel
PROMPT=${PROMPT:-a red circle on a blue background}

"$ROOT/tools/deps.sh" build cluster
cluster_up easel
if [ -n "$EASEL_USER_KUBECONFIG" ]; then
  "$ROOT/tools/images.sh" >/dev/null
  say "images are in $EASEL_CACHE_DIR/images: they must be in the cluster's registry or nodes already"
else
  "$ROOT/tools/images.sh" --load easel >/dev/null
fi
"$ROOT/tools/install-chart.sh" "$NAMESPACE" --values "$ROOT/examples/demo/values.yaml"

say "kubectl apply -f examples/demo/manifests"
kubectl apply -n "$NAMESPACE" -f "$ROOT/examples/demo/manifests" >/dev/null
URL=$("$ROOT/tools/facade-url.sh" "$NAMESPACE")
KEY=$(kubectl -n "$NAMESPACE" get secret easel-api-key -o 'jsonpath={.data.apiKey}' | base64 -d)
WEIGHTS=$ROOT/examples/demo-model/easel-demo.safetensors
stored=$(kubectl -n "$NAMESPACE" get models.easel.dev easel-demo -o 'jsonpath={.status.files[0].sha256}')
if [ "$stored" != "$(sha256sum "$WEIGHTS" | cut -d' ' -f1)" ]; then
  say "uploading $(basename "$WEIGHTS") to Model easel-demo"
  EASEL_URL=$URL EASEL_API_KEY=$KEY "$ROOT/examples/demo/upload.sh" "$WEIGHTS"
fi

say "waiting for endpoint demo (kubectl -n $NAMESPACE get eep demo)"
kubectl -n "$NAMESPACE" wait --for=condition=Ready endpoints.easel.dev/demo --timeout=120s >/dev/null ||
  die "endpoint demo is not ready: $(kubectl -n "$NAMESPACE" get eep demo -o 'jsonpath={.status.conditions[?(@.type=="Ready")].message}')"
EASEL_URL=$URL EASEL_API_KEY=$KEY "$ROOT/examples/demo/generate.sh" "$PROMPT" "$ROOT/demo/out"

cat <<TEXT

Easel is running. A picture of "$PROMPT" is in demo/out/.

  export EASEL_URL=$URL
  export EASEL_API_KEY=$KEY
  export KUBECONFIG=${KUBECONFIG:-$EASEL_USER_KUBECONFIG}

  curl -H "x-api-key: \$EASEL_API_KEY" \$EASEL_URL/inference/list-inference-jobs
  examples/demo/generate.sh "a yellow star on a purple background" demo/out
  kubectl -n $NAMESPACE get endpoints.easel.dev,models.easel.dev,pods    (kubectl: $EASEL_CACHE_DIR/bin/easel-cluster kubectl)

Stop it with \`make down\`. ($((SECONDS - STARTED)) s)
TEXT
