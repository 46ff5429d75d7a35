{{- /* Names and labels. Nothing here is random or looked up: rendering twice gives the same bytes. */ -}}

{{- define "penstock.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "penstock.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "penstock.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "penstock.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- /* What selects the pods of one role. Kubernetes forbids changing it: no version, nothing from values but names. */ -}}
{{- define "penstock.selector" -}}
app.kubernetes.io/name: {{ include "penstock.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- /* What selects all pods of the release. */ -}}
{{- define "penstock.releaseSelector" -}}
app.kubernetes.io/name: {{ include "penstock.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "penstock.labels" -}}
{{ include "penstock.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: penstock
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- end -}}

{{- /* metadata: {root, component, name?} */ -}}
{{- define "penstock.metadata" -}}
name: {{ .name | default (printf "%s-%s" (include "penstock.fullname" .root) .component) }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "penstock.labels" . | nindent 2 }}
{{- end -}}

{{- define "penstock.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "penstock.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "penstock.isCluster" -}}
{{- if eq .Values.mode "cluster" -}}true{{- end -}}
{{- end -}}

{{- /* The roles that accept traffic or metrics, in this mode. */ -}}
{{- define "penstock.roles" -}}
{{- if include "penstock.isCluster" . -}}
gateway web worker{{ if .Values.store.enabled }} store{{ end }}
{{- else -}}
single
{{- end -}}
{{- end -}}

{{- define "penstock.priorityClass" -}}
{{- $kind := ternary "serve" "ingest" (eq .component "web") -}}
{{- if .root.Values.scheduling.createPriorityClasses -}}
{{- printf "%s-%s-%s" .root.Release.Namespace (include "penstock.fullname" .root) $kind -}}
{{- else if ne $kind "serve" -}}
{{- .root.Values.scheduling.priorityClassName -}}
{{- end -}}
{{- end -}}
