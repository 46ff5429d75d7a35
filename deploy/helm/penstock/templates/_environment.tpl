{{- /* Settings and secrets, as environment variables. */ -}}

{{- /* What all roles share, without secrets; the content of the ConfigMap. */ -}}
{{- define "penstock.settings" -}}
{{- $values := .Values -}}
{{- $shared := dict -}}
{{- if include "penstock.isCluster" . -}}
{{- $engines := $values.engines -}}
{{- with $engines.queue.url }}{{ $_ := set $shared "PENSTOCK_REDIS_URL" . }}{{ end -}}
{{- with $engines.catalog.url }}{{ $_ := set $shared "PENSTOCK_CATALOG_URL" . }}{{ end -}}
{{- $_ := set $shared "PENSTOCK_STORE_URL" (include "penstock.pointsUrl" .) -}}
{{- $_ := set $shared "PENSTOCK_BLOBS_URL" $engines.blobs.url -}}
{{- end -}}
{{- with $values.rootPath }}{{ $_ := set $shared "PENSTOCK_ROOT_PATH" . }}{{ end -}}
{{- with $values.trustedProxies }}{{ $_ := set $shared "PENSTOCK_TRUSTED_PROXIES" . }}{{ end -}}
{{- $_ := set $shared "PENSTOCK_METRICS_LISTEN" "[::]:9100" -}}
{{- $_ := set $shared "PENSTOCK_UPLOAD_BYTES" (mul (int64 $values.maxUploadGiB) 1073741824 | toString) -}}
{{- range $name, $value := $values.settings }}{{ $_ := set $shared $name $value }}{{ end -}}
{{- range $name := keys $shared | sortAlpha }}
{{ $name }}: {{ index $shared $name | quote }}
{{- end }}
{{- end -}}

{{- define "penstock.pointsUrl" -}}
{{- if .Values.store.enabled -}}
{{- printf "http://%s-store:8123" (include "penstock.fullname" .) -}}
{{- else -}}
{{- .Values.engines.points.url -}}
{{- end -}}
{{- end -}}

{{- define "penstock.envFrom" -}}
envFrom:
  - configMapRef:
      name: {{ include "penstock.fullname" .root }}-settings
  {{- if and (include "penstock.isCluster" .root) .readsBlobs }}
  {{- with .root.Values.engines.blobs.credentialsFrom.name }}
  - secretRef:
      name: {{ . }}
  {{- end }}
  {{- end }}
{{- end -}}

{{- /* One variable from a Secret: {variable, from: {name, key}} */ -}}
{{- define "penstock.secretVariable" -}}
- name: {{ .variable }}
  valueFrom:
    secretKeyRef:
      name: {{ .from.name }}
      key: {{ .from.key }}
{{- end -}}

{{- /* Secrets of a role in cluster mode: {root, reads: list of queue, points, catalog, key} */ -}}
{{- define "penstock.secretEnv" -}}
{{- $engines := .root.Values.engines -}}
{{- if and (has "key" .reads) }}
{{ include "penstock.secretVariable" (dict "variable" "PENSTOCK_SECRET" "from" .root.Values.secrets.hashingKey) }}
{{- end }}
{{- if and (has "queue" .reads) $engines.queue.urlFrom.name }}
{{ include "penstock.secretVariable" (dict "variable" "PENSTOCK_REDIS_URL" "from" $engines.queue.urlFrom) }}
{{- end }}
{{- if and (has "catalog" .reads) $engines.catalog.urlFrom.name }}
{{ include "penstock.secretVariable" (dict "variable" "PENSTOCK_CATALOG_URL" "from" $engines.catalog.urlFrom) }}
{{- end }}
{{- if and (has "points" .reads) $engines.points.passwordFrom.name }}
{{ include "penstock.secretVariable" (dict "variable" "PENSTOCK_STORE_TOKEN" "from" $engines.points.passwordFrom) }}
{{- end }}
{{- end -}}

{{- /* Variables of every pod. Homes and temporary files lie on a volume, as the root file system is read-only and the
       user may have no home. */ -}}
{{- define "penstock.commonEnv" -}}
- name: HOME
  value: /tmp
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}
