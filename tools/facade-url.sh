#!/usr/bin/env bash
# Prints the URL under which this machine reaches the facade of the release in NAMESPACE (a NodePort).
source "$(dirname "$0")/lib.sh"
port=$(kubectl -n "$1" get service easel-facade -o 'jsonpath={.spec.ports[?(@.name=="http")].nodePort}')
node=$(kubectl get nodes -o 'jsonpath={.items[0].status.addresses[?(@.type=="InternalIP")].address}')
[ -n "$port" ] || die "service easel-facade in $1 has no NodePort; use kubectl port-forward"
echo "http://$node:$port"
