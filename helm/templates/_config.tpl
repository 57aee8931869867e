{{/* The gateway's configuration: what the chart fills in, under what the operator wrote. */}}
{{- define "turnpike.config" -}}
{{- $server := dict "host" "0.0.0.0" "port" 8080 "limits" (dict "max_buffered" "256MiB") }}
{{- with .Values.shutdown }}
{{- $lameDuck := ternary "-1" (printf "%ds" (int64 .lameDuckSeconds)) (eq (int64 .lameDuckSeconds) 0) }}
{{- $_ := set $server "drain" (dict "lame_duck" $lameDuck "limit" (printf "%ds" (int64 .drainSeconds))) }}
{{- end }}
{{- with .Values.secretKey }}
{{- if .existingSecret }}
{{- $_ := set $server "secret_key" (printf "file:/etc/turnpike/secret-key/%s" .existingSecretKey) }}
{{- end }}
{{- end }}
{{- with .Values.tls }}
{{- if .existingSecret }}
{{- $tls := dict "cert" (printf "/etc/turnpike/tls/%s" .certKey) "key" (printf "/etc/turnpike/tls/%s" .keyKey) }}
{{- if .clientCa.existingSecret }}
{{- $_ := set $tls "client_ca" (printf "/etc/turnpike/client-ca/%s" .clientCa.existingSecretKey) }}
{{- $_ := set $tls "client_auth" .clientAuth }}
{{- end }}
{{- $_ := set $server "tls" $tls }}
{{- end }}
{{- end }}
{{- $state := dict "path" "/var/lib/turnpike/turnpike.db" }}
{{- if .Values.redis.enabled }}
{{- $_ := set $state "backend" "redis" }}
{{- $_ := set $state "redis" (include "turnpike.redis" . | fromYaml) }}
{{- end }}
{{- $auths := ternary "/etc/turnpike/auths" "/var/lib/turnpike/auths" (not (empty .Values.credentialFiles.existingSecret)) }}
{{- $base := dict
  "server" $server
  "admin" (dict "host" "0.0.0.0" "port" 8317)
  "logging" (dict "format" "json")
  "state" $state
  "auth" (dict "dir" $auths) }}
{{- mustMergeOverwrite $base (deepCopy .Values.config) | toYaml }}
{{- end }}

{{/* The host of a URL with nodes is not asked; it says whether it is TLS, and which database. */}}
{{- define "turnpike.redis" -}}
{{- with .Values.redis }}
{{- $scheme := ternary "rediss" "redis" .tls.enabled }}
{{- $address := ternary (printf "%s:%d" .host (int .port)) .mode (eq .mode "standalone") }}
mode: {{ .mode }}
url: {{ printf "%s://%s/%d" $scheme $address (int .database) | quote }}
{{- if ne .mode "standalone" }}
nodes: {{ toJson .nodes }}
{{- end }}
{{- if eq .mode "sentinel" }}
master_name: {{ .masterName | quote }}
{{- end }}
{{- with .username }}
username: {{ . | quote }}
{{- end }}
{{- if .existingSecret }}
password: "file:/etc/turnpike/redis/{{ .existingSecretKey }}"
{{- end }}
key_prefix: {{ .keyPrefix | quote }}
{{- if and .tls.enabled .tls.existingSecret }}
tls:
  {{- with .tls.caKey }}
  ca_file: /etc/turnpike/redis-tls/{{ . }}
  {{- end }}
  {{- with .tls.certKey }}
  cert: /etc/turnpike/redis-tls/{{ . }}
  {{- end }}
  {{- with .tls.keyKey }}
  key: /etc/turnpike/redis-tls/{{ . }}
  {{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* Whether several gateways may share one state: by `redis` above, or by the operator's own words. */}}
{{- define "turnpike.isFleet" -}}
{{- $state := default dict .Values.config.state }}
{{- if or .Values.redis.enabled (eq (toString $state.backend) "redis") }}true{{ end }}
{{- end }}

{{/*
What is read at the start only: a change of it needs new pods. All else is taken over. The list is that of
docs/configuration.md, and of gateway/src/reload/stays.rs.
*/}}
{{- define "turnpike.needsRestart" -}}
{{- $config := include "turnpike.config" . | fromYaml }}
{{- $tokens := default dict (default $config.agent_tokens (get $config "agent-tokens")) }}
{{- $audit := omit (default dict $config.audit) "claimed_headers" "claimed-headers" "prompts" "sinks" }}
{{- $sinks := list }}
{{- range (default dict $config.audit).sinks }}
{{- $sinks = append $sinks (omit . "secret" "token") }}
{{- end }}
{{- dict
  "server" (pick $config.server "host" "port" "threads")
  "admin" (pick $config.admin "host" "port")
  "state" (pick $config.state "backend" "path" "redis")
  "tokens" (pick $tokens "max_concurrent_hashes" "max-concurrent-hashes")
  "audit" $audit
  "sinks" $sinks
  "logging" (pick $config.logging "format" "file")
  | toJson | sha256sum }}
{{- end }}

{{/* Seconds of a duration as the configuration writes it: 5s, 10m, 1h, 1500ms; -1 is none. */}}
{{- define "turnpike.seconds" -}}
{{- if eq (toString .) "-1" }}0{{ else }}
{{- $number := regexFind "^[0-9]+" (toString .) }}
{{- $unit := regexFind "[a-z]+$" (toString .) }}
{{- $units := dict "ms" 0.001 "s" 1 "m" 60 "h" 3600 }}
{{- if not (and (regexMatch "^[0-9]+[a-z]+$" (toString .)) (hasKey $units $unit)) }}
{{- fail (printf "config.server.drain: %v is no duration: write 30s, 10m or 1h" .) }}
{{- end }}
{{- mulf (float64 $number) (get $units $unit) | ceil | int64 }}
{{- end }}
{{- end }}

{{/* What the gateway itself takes: then at most 7 s to tell those who are cut and 8 s to tell the store and the
     audit's sinks (gateway/src/stop.rs), and as much again for a machine that is slow just then. */}}
{{- define "turnpike.gracePeriod" -}}
{{- $drain := (include "turnpike.config" . | fromYaml).server.drain }}
{{- add (include "turnpike.seconds" $drain.lame_duck | int64) (include "turnpike.seconds" $drain.limit | int64) 30 }}
{{- end }}
