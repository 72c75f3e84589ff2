# What can be told without a cluster. Sourced by run.sh.
# shellcheck shell=bash disable=SC2154

# JSON schemas of Kubernetes and of Easel's kinds, made without a download.
make_schemas() {
  local kubernetes
  mkdir -p "$work/schemas"
  kubernetes=$(cd "$root/tests/cluster" && go mod download k8s.io/kubernetes && go list -m -f '{{.Dir}}' k8s.io/kubernetes) || return 1
  (cd "$root/tests/cluster" &&
    go run "$here/schemas/main.go" "$kubernetes/api/openapi-spec/v3" "$chart/crds" "$work/schemas")
}

conform() {
  kubeconform -strict -summary \
    -schema-location "$work/schemas/{{ .ResourceKind }}{{ .KindSuffix }}.json" \
    -schema-location "$here/schemas/extra/{{ .ResourceKind }}{{ .KindSuffix }}.json" "$@"
}

# conforms FILE WANT: every object is valid, and there are at least WANT of them.
conforms() {
  local found
  conform "$1" || return 1
  found=$(grep -c '^kind:' "$1")
  [ "$found" -ge "$2" ] || { echo "only $found objects"; return 1; }
}

misspelt_is_found() {
  sed 's/readOnlyRootFilesystem/readOnlyRootFilesytem/' "$1" >"$work/misspelt.yaml"
  ! conform "$work/misspelt.yaml"
}

# The key in the Secret and the hash in the ApiKey come from one rendering.
hash_fits_key() {
  local key hash
  key=$(sed -n 's/^  apiKey: //p' "$1" | base64 -d)
  hash=$(sed -n 's/^  keySha256: "\(.*\)"$/\1/p' "$1")
  [ ${#key} -ge 43 ] || { echo "the key has ${#key} characters"; return 1; }
  [ "$(printf %s "$key" | sha256sum | cut -d ' ' -f 1)" = "$hash" ] || { echo "the hash is of another key"; return 1; }
}

keys_differ() { ! diff -q <(grep ' apiKey: ' "$1") <(grep ' apiKey: ' "$2"); }

# has FILE TEXT...: every text is in the file.
has() {
  local file=$1 text
  shift
  for text in "$@"; do
    grep -qF -- "$text" "$file" || { echo "not in $(basename "$file"): $text"; return 1; }
  done
}

has_not() {
  local file=$1 text
  shift
  for text in "$@"; do
    if grep -nF -- "$text" "$file"; then return 1; fi
  done
}

versions_agree() {
  local version
  version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$root/Cargo.toml" | head -1)
  has "$chart/Chart.yaml" "version: $version" "appVersion: $version" "image: localhost/easel/facade:$version"
}

# Each kind of the CRDs is among the annotations that Artifact Hub reads.
annotations_name_every_crd() {
  local file name
  for file in "$chart"/crds/*.yaml; do
    name=$(sed -n 's/^  name: //p' "$file" | head -1)
    has "$chart/Chart.yaml" "name: $name" || return 1
  done
}

only_token_reviews_are_cluster_wide() {
  [ "$(grep -c '^kind: ClusterRole$' "$1")" = 1 ] && [ "$(grep -c '^kind: Role$' "$1")" -ge 6 ] &&
    has "$1" "name: easel-studio-facade-token-reviews"
}

# Every verb has a reason, and none is a wildcard.
rbac_is_explained() {
  awk '
    /^rules:/ { inside = 1 } /^[a-z]/ && !/^rules:/ { inside = 0 }
    inside && /^ *#/ { reason = $0 }
    inside && /verbs:/ {
      seen++; verbs = $0; gsub(/.*\[|\].*|,/, " ", verbs); count = split(verbs, words, " ")
      if (reason == "") { print "no reason: " $0; bad = 1 }
      for (i = 1; i <= count; i++) if (words[i] == "*") { print "wildcard: " $0; bad = 1 }
    }
    /^kind:/ { reason = "" }
    END { if (seen < 10) { print seen " rules only"; bad = 1 } exit bad }' "$1" && has_not "$1" '"*"' "pods/exec"
}

# rule FILE PART RESOURCE: the verbs that a part has on a resource of easel.dev, one per line.
rule() {
  awk -v role="name: easel-easel-$2" -v want="$3" '
    /^kind:/ { mine = 0 } $0 ~ role "$" { mine = 1 }
    mine && /resources:/ { list = $0; gsub(/.*\[|\].*/, "", list); gsub(/, */, "\n", list); found = 0
      count = split(list, names, "\n"); for (i = 1; i <= count; i++) if (names[i] == want) found = 1 }
    mine && found && /verbs:/ { verbs = $0; gsub(/.*\[|\].*/, "", verbs); gsub(/, */, "\n", verbs); print verbs; found = 0 }
  ' "$1" | sort -u
}

# Each part may write what it makes and reports, and nothing else of a training.
rights_are_divided() {
  local want got
  while read -r part resource want; do
    got=$(rule "$1" "$part" "$resource" | paste -sd , -)
    [ "$got" = "$want" ] || { echo "$part on $resource: $got, not $want"; return 1; }
  done <<'RIGHTS'
operator trainingjobs get,list,watch
operator datasets get,list,watch
operator trainingjobs/status patch
operator datasets/status patch
operator models create,get,list,patch,watch
facade trainingjobs create,get,list,patch,watch
facade datasets create,get,list,patch,watch
facade trainingjobs/status patch
facade models get,list,patch,watch
RIGHTS
}

test_render() {
  local default=$work/default.yaml all=$work/all.yaml
  ok "helm lint" helm lint --strict "$chart"
  ok "helm lint with everything on" helm lint --strict "$chart" --values "$here/values-all.yaml"
  ok "versions of chart and workspace agree" versions_agree
  ok "annotations name every CRD" annotations_name_every_crd
  ok "schemas are made from the OpenAPI documents" make_schemas
  ok "template with defaults" render
  cp "$work/out" "$default"
  ok "template with everything on" render --values "$here/values-all.yaml" --api-versions easel.dev/v1alpha1/ApiKey
  cp "$work/out" "$all"
  ok "kubeconform: defaults" conforms "$default" 20
  ok "kubeconform: everything on" conforms "$all" 30
  ok "kubeconform: CRDs" conform "$chart/crds"
  ok "kubeconform finds a misspelt field" misspelt_is_found "$default"
  ok "the hash is that of the key" hash_fits_key "$default"
  render >"$work/again.yaml" 2>&1
  ok "each installation gets a key of its own" keys_differ "$default" "$work/again.yaml"
  ok "verbs have reasons" rbac_is_explained "$default"
  ok "verbs have reasons with everything on" rbac_is_explained "$all"
  ok "by default one facade keeps its stores on a volume" has "$default" "kind: StatefulSet" "volumeClaimTemplates:" \
    "value: sqlite:///data/jobs.db" "runAsNonRoot: true" "readOnlyRootFilesystem: true" "drop: [ALL]" "type: RuntimeDefault"
  ok "by default bytes that no Model needs are deleted" has "$default" "value: delete" "name: EASEL_GC_GRACE_SECONDS"
  ok "garbage is only counted if that is asked for" has "$all" "value: dry-run"
  ok "trainings and checks have room and time" has "$default" "name: EASEL_TRAINING_WORK_LIMIT" 'value: "64Gi"' \
    "name: EASEL_CHECK_DEADLINE_SECONDS" 'value: "3600"'
  ok "their room and time are as asked" has "$all" 'value: "200Gi"' 'value: "8Gi"' 'value: "600"'
  ok "only the facade makes trainings, only the operator Models" rights_are_divided "$default"
  ok "by default nobody reads Secrets" has_not "$default" "resources: [secrets]" "kind: Ingress" "kind: HTTPRoute" "kind: ServiceMonitor"
  ok "by default imports work on their pods' disks, and nobody makes volumes for them" has_not "$default" \
    "resources: [persistentvolumeclaims]" "EASEL_IMPORT_VOLUME"
  ok "imports get volumes if that is asked for" has "$all" "resources: [persistentvolumeclaims]" \
    "name: EASEL_IMPORT_VOLUME_SIZE" 'value: "20Gi"' 'value: "fast"' 'value: "ReadWriteOncePod"'
  ok "with stores outside the facade is a Deployment" has "$all" "replicas: 3" "name: EASEL_S3_ENDPOINT" "name: easel-database" \
    "name: studio-facade" "/easel/facade@sha256:" "EASEL_RUNTIME_IMAGE_CUDA" "port: 9000" "port: 5432" "cidr: 0.0.0.0/0, except: [169.254.0.0/16]"
  ok "with stores outside there is no volume" has_not "$all" "kind: StatefulSet" "volumeClaimTemplates:" "kind: Secret"
  ok "with named namespaces only token reviews are cluster-wide" only_token_reviews_are_cluster_wide "$all"

  local unknown="additional properties 'none' not allowed"
  local section
  for section in "" images. images.runtime. operator. operator.resources. facade. facade.service. persistence. database. training. \
    s3. import. import.workVolume. logging. apiKey. ingress. httpRoute. networkPolicy. podDisruptionBudget. metrics.serviceMonitor. metrics.prometheusRule.; do
    refused "an unknown value ${section}none is refused" "$unknown" render --set "${section}none=1"
  done
  refused "several facades on one volume are refused" "needs database.existingSecret and s3.endpoint" render --set facade.replicas=2
  refused "S3 without credentials is refused" "s3.endpoint needs s3.existingSecret" render --set s3.endpoint=https://s3.example.com
  refused "a route to nowhere is refused" "httpRoute.parentRefs" render --set httpRoute.enabled=true
  refused "a key that is not known is refused" "make it first, or set apiKey.sha256" render --set apiKey.existingSecret=mine
  refused "an access mode that nobody can write with is refused" "/import/workVolume/accessModes/0" \
    render --set "import.workVolume.accessModes={ReadOnlyMany}"
  refused "a wrong type is refused" "got string, want boolean" render --set-string persistence.enabled=maybe
  refused "a URL without a scheme is refused" "publicUrl" render --set publicUrl=easel.example.com
}
