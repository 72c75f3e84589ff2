#!/usr/bin/env bash
# Installs or upgrades the chart from this checkout into the cluster of KUBECONFIG and waits for it.
# Usage: tools/install-chart.sh NAMESPACE [helm arguments]
source "$(dirname "$0")/lib.sh"
namespace=$1
shift
say "helm upgrade --install easel in namespace $namespace"
# helm does not upgrade the CRDs in a chart's crds/ folder.
kubectl apply --server-side --force-conflicts --field-manager helm -f "$ROOT/charts/easel/crds" >/dev/null
# A digest of the binaries in an annotation restarts the pods exactly when an image with the same tag changed.
digest=$(cat "$EASEL_CACHE_DIR"/images/{operator,facade,runtime}.tar | sha256sum | cut -c1-16)
helm upgrade --install easel "$ROOT/charts/easel" --namespace "$namespace" --create-namespace \
  --set "podAnnotations.easel\.dev/images=$digest" "$@" --wait --timeout 120s </dev/null >/dev/null
