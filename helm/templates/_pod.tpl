{{/* What the gateway's pods and the test's pod mount of the configuration and of secrets. */}}
{{- define "turnpike.volumes" -}}
- name: config
  configMap: {name: {{ include "turnpike.fullname" . }}}
- name: tmp
  emptyDir: {sizeLimit: 64Mi}
{{- range .Values.secretFiles }}
- name: secret-{{ .name }}
  secret: {secretName: {{ .existingSecret }}, defaultMode: 0440}
{{- end }}
{{- range $name, $secret := include "turnpike.ownSecrets" . | fromYaml }}
- name: {{ $name }}
  secret: {secretName: {{ $secret }}, defaultMode: 0440}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Directories, never subPath: a file that is mounted so never changes. */}}
{{- define "turnpike.volumeMounts" -}}
- {name: config, mountPath: /etc/turnpike/config, readOnly: true}
- {name: tmp, mountPath: /tmp}
{{- range .Values.secretFiles }}
- {name: secret-{{ .name }}, mountPath: /etc/turnpike/secrets/{{ .name }}, readOnly: true}
{{- end }}
{{- range $name, $secret := include "turnpike.ownSecrets" . | fromYaml }}
- {name: {{ $name }}, mountPath: /etc/turnpike/{{ $name }}, readOnly: true}
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Secrets that the chart's own values name, by their directory under /etc/turnpike. */}}
{{- define "turnpike.ownSecrets" -}}
{{- $own := dict
  "secret-key" .Values.secretKey.existingSecret
  "auths" .Values.credentialFiles.existingSecret
  "tls" .Values.tls.existingSecret
  "client-ca" .Values.tls.clientCa.existingSecret }}
{{- if .Values.redis.enabled }}
{{- $_ := set $own "redis" .Values.redis.existingSecret }}
{{- $_ := set $own "redis-tls" .Values.redis.tls.existingSecret }}
{{- end }}
{{- range $name, $secret := $own }}
{{- if not $secret }}
{{- $_ := unset $own $name }}
{{- end }}
{{- end }}
{{- toYaml $own }}
{{- end }}

{{- define "turnpike.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "turnpike.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "turnpike.pod" -}}
{{- $config := include "turnpike.config" . | fromYaml -}}
metadata:
  # Not the chart's version: a chart that changes nothing in the pod leaves it alone.
  labels:
    {{- include "turnpike.selector" . | nindent 4 }}
    {{- with .Values.commonLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    # Of what is read at the start only. All else is taken over by the running gateway.
    checksum/needs-restart: {{ include "turnpike.needsRestart" . }}
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "turnpike.serviceAccount" . }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ include "turnpike.gracePeriod" . }}
  securityContext:
    {{- include "turnpike.podSecurity" . | nindent 4 }}
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  containers:
    - name: turnpike
      image: {{ include "turnpike.image" . }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args: [--config, /etc/turnpike/config/turnpike.yaml]
      {{- with .Values.env }}
      env:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      ports:
        - {name: http, containerPort: {{ int $config.server.port }}}
        - {name: admin, containerPort: {{ int $config.admin.port }}}
      startupProbe:
        httpGet: {path: /healthz, port: admin}
        periodSeconds: 1
        failureThreshold: 60
      # Not whether a Redis or a provider is there: their loss would take all pods out at once.
      livenessProbe:
        httpGet: {path: /healthz, port: admin}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        httpGet: {path: /ready, port: admin}
        periodSeconds: 2
        timeoutSeconds: 2
        failureThreshold: 2
      resources:
        {{- toYaml .Values.resources | nindent 8 }}
      securityContext:
        {{- include "turnpike.containerSecurity" . | nindent 8 }}
      volumeMounts:
        - {name: data, mountPath: /var/lib/turnpike}
        {{- include "turnpike.volumeMounts" . | nindent 8 }}
  volumes:
    {{- if not .Values.persistence.enabled }}
    - name: data
      emptyDir: {}
    {{- end }}
    {{- include "turnpike.volumes" . | nindent 4 }}
  {{- if .Values.topologySpread.enabled }}
  topologySpreadConstraints:
    {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
    - topologyKey: {{ . }}
      maxSkew: 1
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "turnpike.selector" $ | nindent 10 }}
    {{- end }}
  {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
