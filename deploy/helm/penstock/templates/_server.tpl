{{- /* What gateways and web share: one program serves both. */ -}}

{{- define "penstock.serverEnv" -}}
- name: PENSTOCK_HOST
  value: "::"
- name: PENSTOCK_PORT
  value: "8080"
# With the 5 s of preStop, this stays below the grace period.
- name: PENSTOCK_PRE_STOP_S
  value: "5"
- name: PENSTOCK_DRAIN_S
  value: "20"
{{- end -}}

{{- define "penstock.serverPorts" -}}
ports:
  - name: http
    containerPort: 8080
  {{- include "penstock.metricsPort" . | nindent 2 }}
{{ include "penstock.liveness" (dict "startSeconds" 60) }}
readinessProbe:
  httpGet: {path: /readyz, port: http}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 2
{{ include "penstock.lifecycle" . }}
{{- end -}}
