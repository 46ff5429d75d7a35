{{- /* What all pods and containers share. */ -}}

{{- define "penstock.image" -}}
{{- $image := .root.Values.image -}}
{{- $path := .repository | default $image.repository -}}
{{- if $image.registry -}}
{{- $path = printf "%s/%s" (trimSuffix "/" $image.registry) $path -}}
{{- end -}}
{{- if and $image.digest (not .repository) -}}
{{- printf "%s@%s" $path $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $path (default .root.Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}

{{- /* Pod template's metadata: {root, component, annotations} */ -}}
{{- define "penstock.podMetadata" -}}
labels:
  {{- include "penstock.labels" . | nindent 2 }}
  {{- if has .component (splitList " " (include "penstock.roles" .root)) }}
  penstock/metrics: "true"
  {{- end }}
annotations:
  # A changed setting, or a rotated Secret, restarts the pods.
  checksum/settings: {{ include "penstock.settings" .root | sha256sum }}
  {{- with .root.Values.secrets.revision }}
  penstock/secrets-revision: {{ . | quote }}
  {{- end }}
  {{- with .annotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{- /* The first lines of a pod's spec: {root, component, isJob?} */ -}}
{{- define "penstock.podSpec" -}}
{{- $values := .root.Values -}}
serviceAccountName: {{ include "penstock.serviceAccountName" .root }}
automountServiceAccountToken: false
# A Service named penstock would otherwise set PENSTOCK_PORT=tcp://… in every pod of the namespace.
enableServiceLinks: false
terminationGracePeriodSeconds: {{ $values.scheduling.terminationGracePeriodSeconds }}
{{- with $values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- if and (not .isJob) (include "penstock.priorityClass" .) }}
priorityClassName: {{ include "penstock.priorityClass" . }}
{{- end }}
securityContext:
  runAsNonRoot: true
  {{- if not $values.openshift.enabled }}
  runAsUser: {{ $values.security.runAsUser }}
  runAsGroup: {{ $values.security.runAsGroup }}
  fsGroup: {{ $values.security.fsGroup }}
  {{- end }}
  # The contents of a large volume need not be changed at each start.
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- end -}}

{{- /* Where the pods of a role may run: {root, component, role} */ -}}
{{- define "penstock.placement" -}}
{{- $role := .role -}}
{{- $scheduling := .root.Values.scheduling -}}
{{- with $role.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $role.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if .isScaled }}
{{- if $scheduling.spreadZones }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: topology.kubernetes.io/zone
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "penstock.selector" . | nindent 8 }}
    # Only pods of one revision count, or a rollout would leave them uneven.
    matchLabelKeys: [pod-template-hash]
{{- end }}
{{- if ne $scheduling.antiAffinity "none" }}
affinity:
  podAntiAffinity:
    {{- if eq $scheduling.antiAffinity "hard" }}
    requiredDuringSchedulingIgnoredDuringExecution:
      - topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels:
            {{- include "penstock.selector" . | nindent 12 }}
        matchLabelKeys: [pod-template-hash]
    {{- else }}
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector:
            matchLabels:
              {{- include "penstock.selector" . | nindent 14 }}
          matchLabelKeys: [pod-template-hash]
    {{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- /* The first lines of a container: {root, name, repository?} */ -}}
{{- define "penstock.container" -}}
name: {{ .name }}
image: {{ include "penstock.image" . }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  privileged: false
  readOnlyRootFilesystem: true
  runAsNonRoot: true
  capabilities:
    drop: [ALL]
{{- end -}}

{{- /* Whether a process works, by its own watchdog: asks neither the queue nor the stores. {startSeconds} */ -}}
{{- define "penstock.liveness" -}}
startupProbe:
  httpGet: {path: /healthz, port: metrics}
  periodSeconds: 2
  timeoutSeconds: 5
  failureThreshold: {{ div .startSeconds 2 }}
livenessProbe:
  httpGet: {path: /healthz, port: metrics}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 3
{{- end -}}

{{- /* Keeps serving while load balancers learn that the pod ends. */ -}}
{{- define "penstock.lifecycle" -}}
lifecycle:
  preStop:
    sleep:
      seconds: 5
{{- end -}}

{{- /* The container's port for probes and Prometheus. */ -}}
{{- define "penstock.metricsPort" -}}
- name: metrics
  containerPort: 9100
{{- end -}}
