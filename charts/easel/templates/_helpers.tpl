{{/* Name of the chart's objects: "easel" for release easel. */}}
{{- define "easel.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{/* Labels that select the pods of a component; they never change. (dict "root" $ "component" "facade") */}}
{{- define "easel.selector" -}}
app.kubernetes.io/name: easel
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "easel.labels" -}}
{{ include "easel.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: easel
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Name of a cluster-scoped object: unique also when two releases have the same name. */}}
{{- define "easel.clusterName" -}}
{{ printf "%s-%s-%s" .root.Release.Namespace (include "easel.fullname" .root) .component }}
{{- end }}

{{/* (dict "root" $ "image" .Values.images.facade) */}}
{{- define "easel.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ default .root.Chart.AppVersion .image.tag }}
{{- end }}
{{- end }}

{{/* Does the facade keep anything on its volume? */}}
{{- define "easel.stateful" -}}
{{- if not (and .Values.database.existingSecret .Values.s3.endpoint) }}true{{ end }}
{{- end }}

{{/* The watched namespaces, comma separated; empty for all. The release's own has the first ApiKey. */}}
{{- define "easel.namespaces" -}}
{{- with .Values.watchNamespaces }}
{{- append . $.Release.Namespace | uniq | sortAlpha | join "," }}
{{- end }}
{{- end }}

{{/* URL of the facade inside the cluster. (dict "root" $ "port" 8081) */}}
{{- define "easel.internalUrl" -}}
http://{{ include "easel.fullname" .root }}-facade-internal.{{ .root.Release.Namespace }}.svc:{{ .port }}
{{- end }}

{{- define "easel.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "easel.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* What operator and facade pods say about where they run. */}}
{{- define "easel.placement" -}}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .topologySpreadConstraints }}
topologySpreadConstraints:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{- define "easel.logEnv" -}}
- name: EASEL_LOG
  value: {{ .Values.logging.filter | quote }}
- name: EASEL_LOG_FORMAT
  value: {{ .Values.logging.format }}
- name: EASEL_WATCH_NAMESPACES
  value: {{ include "easel.namespaces" . | quote }}
{{- end }}

{{- define "easel.s3Env" -}}
{{- if .Values.s3.endpoint -}}
- name: EASEL_S3_ENDPOINT
  value: {{ .Values.s3.endpoint }}
{{- with .Values.s3.publicEndpoint }}
- name: EASEL_S3_PUBLIC_ENDPOINT
  value: {{ . }}
{{- end }}
- name: EASEL_S3_PATH_STYLE
  value: {{ .Values.s3.pathStyle | quote }}
- name: EASEL_S3_ACCESS_KEY_ID
  valueFrom:
    secretKeyRef:
      name: {{ .Values.s3.existingSecret }}
      key: {{ .Values.s3.accessKeyIdKey }}
- name: EASEL_S3_SECRET_ACCESS_KEY
  valueFrom:
    secretKeyRef:
      name: {{ .Values.s3.existingSecret }}
      key: {{ .Values.s3.secretAccessKeyKey }}
{{ end -}}
- name: EASEL_S3_REGION
  value: {{ .Values.s3.region }}
- name: EASEL_S3_BUCKET
  value: {{ .Values.s3.bucket }}
{{- end }}

{{/* What the operator may do in a namespace that it serves. */}}
{{- define "easel.operatorRules" -}}
# get, list, watch: what is to be reconciled.
- apiGroups: [easel.dev]
  resources: [endpoints, models, trainingjobs, datasets]
  verbs: [get, list, watch]
# patch: the finalizer of a Model that something uses; create: the Model that a TrainingJob ends in.
- apiGroups: [easel.dev]
  resources: [models]
  verbs: [create, patch]
# patch: status is server-side applied.
- apiGroups: [easel.dev]
  resources: [endpoints/status, models/status, trainingjobs/status, datasets/status]
  verbs: [patch]
# update: an owner reference that blocks the owner's deletion is only accepted from who may do this.
- apiGroups: [easel.dev]
  resources: [endpoints/finalizers, models/finalizers, trainingjobs/finalizers, datasets/finalizers]
  verbs: [update]
# The children of all kinds. get, list, watch: to see what is there and what others changed; create and patch:
# server-side apply, which needs both; delete: those that a changed spec no longer has.
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [services, serviceaccounts]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
# Imports, trainings and checks of Datasets: as above; patch also holds a training and lets it go on; delete also ends
# the import of a source that was changed.
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
{{- if .Values.import.workVolume.enabled }}
# The volume that an import works on: get, list: is it there; create, patch: it is applied; delete: the import is over.
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, list, create, patch, delete]
{{- end }}
# get, list, watch: why a pod does not start, and the last words of an import, a training or a check.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
# create: events for people; patch: counts the same event instead of repeating it.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}

{{/* What the facade may do in a namespace that it serves. */}}
{{- define "easel.facadeRules" -}}
# get, list, watch: the catalogue of what a key may name; kept in memory.
- apiGroups: [easel.dev]
  resources: [endpoints, models, apikeys, trainingjobs, datasets]
  verbs: [get, list, watch]
# create, patch: what clients of the REST APIs train, and on what; patch also holds a training.
- apiGroups: [easel.dev]
  resources: [trainingjobs, datasets]
  verbs: [create, patch]
# patch: the annotation that says that an upload is complete.
- apiGroups: [easel.dev]
  resources: [models]
  verbs: [patch]
# patch: the progress of an import and of a training.
- apiGroups: [easel.dev]
  resources: [models/status, trainingjobs/status]
  verbs: [patch]
# patch: which models the workers hold.
- apiGroups: [easel.dev]
  resources: [endpoints/status]
  verbs: [patch]
{{- if .Values.import.sourceSecrets }}
# get: headers, tokens and keys of sources, by the name that the Model gives; never list or watch.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get]
{{- end }}
{{- end }}
