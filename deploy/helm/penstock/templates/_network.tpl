{{- /* Who may talk to whom. */ -}}

{{- /* Peers that are pods of this release: {root, components} */ -}}
{{- define "penstock.peers" -}}
{{- $root := .root -}}
{{- range .components }}
- podSelector:
    matchLabels:
      {{- include "penstock.selector" (dict "root" $root "component" .) | nindent 6 }}
{{- end }}
{{- end -}}

{{- /* The API and the page, from clients. */ -}}
{{- define "penstock.fromClients" -}}
{{- $policy := .Values.networkPolicy -}}
- ports:
    - {port: http, protocol: TCP}
  {{- if $policy.clients }}
  from:
    {{- toYaml $policy.clients | nindent 4 }}
    {{- include "penstock.fromNodes" . | nindent 4 }}
    {{- if .Values.loadTest.enabled }}
    {{- include "penstock.peers" (dict "root" . "components" (list "load-master" "load-worker")) | nindent 4 }}
    {{- end }}
  {{- end }}
{{- end -}}

{{- /* Metrics, from Prometheus; and probes, where a network plug-in filters those. */ -}}
{{- define "penstock.fromPrometheus" -}}
- ports:
    - {port: metrics, protocol: TCP}
  from:
    {{- if .Values.networkPolicy.prometheus }}
    {{- toYaml .Values.networkPolicy.prometheus | nindent 4 }}
    {{- else }}
    - namespaceSelector: {}
    {{- end }}
    {{- include "penstock.fromNodes" . | nindent 4 }}
{{- end -}}

{{- define "penstock.fromNodes" -}}
{{- range .Values.networkPolicy.nodes }}
- ipBlock:
    {{- toYaml . | nindent 4 }}
{{- end }}
{{- end -}}

{{- define "penstock.toDns" -}}
- ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
    # OpenShift's.
    - {port: 5353, protocol: UDP}
    - {port: 5353, protocol: TCP}
  {{- with .Values.networkPolicy.dns }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{- /* {root, engines: list} */ -}}
{{- define "penstock.toEngines" -}}
{{- $root := .root -}}
{{- range .engines }}
{{- if and (eq . "points") $root.Values.store.enabled }}
- ports:
    - {port: 8123, protocol: TCP}
  to:
    {{- include "penstock.peers" (dict "root" $root "components" (list "store")) | nindent 4 }}
{{- else }}
{{- $engine := index $root.Values.networkPolicy.engines . }}
- ports:
    {{- range $engine.ports }}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
  {{- with $engine.to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- /* Paths that only gateways serve; everything else is the page's and the reading API's. */ -}}
{{- define "penstock.gatewayPaths" -}}
- {path: /v1/batches, pathType: Exact}
- {path: /v1/heartbeats, pathType: Exact}
# Creating a run. Reading runs has longer paths.
- {path: /v1/runs, pathType: Exact}
- {path: /v1/writers, pathType: Prefix}
# The official wandb client.
- {path: /graphql, pathType: Exact}
- {path: /files, pathType: Prefix}
- {path: /wandb, pathType: Prefix}
- {path: /artifacts, pathType: Prefix}
- {path: /artifactsV2, pathType: Prefix}
{{- end -}}

{{- /* Annotations of ingress controllers: no limit of bodies (the server has one), uploads and live updates passed on as
       they come, and an hour between two bytes. */ -}}
{{- define "penstock.ingressAnnotations" -}}
{{- if eq .Values.ingress.controller "nginx" }}
nginx.ingress.kubernetes.io/proxy-body-size: "0"
nginx.ingress.kubernetes.io/proxy-request-buffering: "off"
nginx.ingress.kubernetes.io/proxy-buffering: "off"
nginx.ingress.kubernetes.io/proxy-http-version: "1.1"
nginx.ingress.kubernetes.io/proxy-read-timeout: "3600"
nginx.ingress.kubernetes.io/proxy-send-timeout: "3600"
{{- else if eq .Values.ingress.controller "nginxinc" }}
nginx.org/client-max-body-size: "0"
nginx.org/proxy-buffering: "False"
nginx.org/proxy-read-timeout: 3600s
nginx.org/proxy-send-timeout: 3600s
{{- else if eq .Values.ingress.controller "haproxy" }}
haproxy.org/timeout-server: 1h
{{- else if eq .Values.ingress.controller "haproxy-ingress" }}
haproxy-ingress.github.io/timeout-client: 1h
haproxy-ingress.github.io/timeout-server: 1h
haproxy-ingress.github.io/proxy-body-size: unlimited
{{- else if eq .Values.ingress.controller "traefik" }}
# Traefik limits neither bodies nor replies here. How long a request may take is a setting of its entry point: NOTES.txt.
traefik.ingress.kubernetes.io/router.entrypoints: {{ ternary "websecure" "web" (ne .Values.ingress.tlsSecret "") }}
{{- end }}
{{- end -}}
