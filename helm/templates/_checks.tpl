{{/* What the schema cannot say. All mistakes are reported at once. */}}
{{- define "turnpike.checks" -}}
{{- $v := .Values }}
{{- $isFleet := include "turnpike.isFleet" . }}
{{- $server := default dict $v.config.server }}
{{- $admin := default dict $v.config.admin }}
{{- $state := default dict $v.config.state }}
{{- $wrong := list }}
{{- if not $v.image.repository }}
{{- $wrong = append $wrong "image.repository is empty: name the image that you built from the Dockerfile" }}
{{- end }}
{{- if not $v.config }}
{{- $wrong = append $wrong "config is empty: say there who may call (api_keys, sso or jwt) and which providers there are" }}
{{- end }}
{{- range include "turnpike.literalSecrets" (dict "at" "config" "node" $v.config) | splitList "\n" | compact }}
{{- $wrong = append $wrong (printf "%s: a secret would stand in a ConfigMap; write \"file:/etc/turnpike/secrets/NAME/KEY\" (secretFiles) or \"${NAME}\" (env)" .) }}
{{- end }}
{{- $mounted := list }}
{{- range $v.secretFiles }}
{{- if has .name $mounted }}
{{- $wrong = append $wrong (printf "secretFiles: %s is there twice" .name) }}
{{- end }}
{{- $mounted = append $mounted .name }}
{{- end }}
{{- range regexFindAll "file:/etc/turnpike/secrets/[^/\"'\\s]+" (toYaml $v.config) -1 | uniq }}
{{- $name := base . }}
{{- if not (has $name $mounted) }}
{{- $wrong = append $wrong (printf "config refers to /etc/turnpike/secrets/%s, which secretFiles does not mount" $name) }}
{{- end }}
{{- end }}
{{- $variables := list }}
{{- range $v.env }}
{{- $variables = append $variables .name }}
{{- end }}
{{- range regexFindAll "\\$\\{[A-Za-z_][A-Za-z0-9_]*\\}" (toYaml $v.config) -1 | uniq }}
{{- $name := . | trimPrefix "${" | trimSuffix "}" }}
{{- if not (has $name $variables) }}
{{- $wrong = append $wrong (printf "config refers to the variable %s, which env does not set" $name) }}
{{- end }}
{{- end }}
{{- if and (not $isFleet) (or (gt (int $v.replicas) 1) $v.autoscaling.hpa.enabled $v.autoscaling.keda.enabled) }}
{{- $wrong = append $wrong "replicas and autoscaling: an embedded store is one gateway's; more than one needs redis.enabled" }}
{{- end }}
{{- if and $v.autoscaling.hpa.enabled $v.autoscaling.keda.enabled }}
{{- $wrong = append $wrong "autoscaling: hpa and keda are both enabled; KEDA makes an autoscaler of its own" }}
{{- end }}
{{- range $kind, $of := $v.autoscaling }}
{{- if and (kindIs "map" $of) (gt (int (get (default dict $of) "minReplicas")) (int (get (default dict $of) "maxReplicas"))) }}
{{- $wrong = append $wrong (printf "autoscaling.%s: minReplicas is above maxReplicas" $kind) }}
{{- end }}
{{- end }}
{{- if and $v.autoscaling.keda.enabled (not $v.autoscaling.keda.serverAddress) }}
{{- $wrong = append $wrong "autoscaling.keda.serverAddress is empty: where is Prometheus?" }}
{{- end }}
{{- if $v.redis.enabled }}
{{- if or $state.redis $state.backend }}
{{- $wrong = append $wrong "redis.enabled and config.state.redis or backend: say it once" }}
{{- end }}
{{- if and (eq $v.redis.mode "standalone") (not $v.redis.host) }}
{{- $wrong = append $wrong "redis.host is empty" }}
{{- end }}
{{- if and (ne $v.redis.mode "standalone") (not $v.redis.nodes) }}
{{- $wrong = append $wrong (printf "redis.nodes is empty: mode %s needs them, as host:port" $v.redis.mode) }}
{{- end }}
{{- if and (eq $v.redis.mode "sentinel") (not $v.redis.masterName) }}
{{- $wrong = append $wrong "redis.masterName is empty: what do the sentinels call the master?" }}
{{- end }}
{{- if and (eq $v.redis.mode "cluster") (ne (int $v.redis.database) 0) }}
{{- $wrong = append $wrong "redis.database: a cluster has only 0" }}
{{- end }}
{{- if ne (empty $v.redis.tls.certKey) (empty $v.redis.tls.keyKey) }}
{{- $wrong = append $wrong "redis.tls: certKey and keyKey go together" }}
{{- end }}
{{- if and $v.redis.tls.existingSecret (not $v.redis.tls.enabled) }}
{{- $wrong = append $wrong "redis.tls.existingSecret without redis.tls.enabled: the connection would be in clear text" }}
{{- end }}
{{- if and $v.redis.tls.certKey (not $v.redis.tls.existingSecret) }}
{{- $wrong = append $wrong "redis.tls.certKey without redis.tls.existingSecret" }}
{{- end }}
{{- end }}
{{- $hasKey := or $v.secretKey.existingSecret $server.secret_key (get $server "secret-key") }}
{{- if and $isFleet (not $hasKey) }}
{{- $wrong = append $wrong "secretKey.existingSecret is empty: with redis all gateways need the same key (openssl rand -base64 32)" }}
{{- end }}
{{- if and $isFleet (not (or $server.public_url (get $server "public-url"))) }}
{{- $wrong = append $wrong "config.server.public_url is missing: with redis all gateways need the same" }}
{{- end }}
{{- if and (not $v.tls.existingSecret) (or $v.tls.clientCa.existingSecret (ne $v.tls.clientAuth "off")) }}
{{- $wrong = append $wrong "tls: client certificates need tls.existingSecret" }}
{{- end }}
{{- if and (ne $v.tls.clientAuth "off") (not $v.tls.clientCa.existingSecret) }}
{{- $wrong = append $wrong "tls.clientCa.existingSecret is empty: whose client certificates are good?" }}
{{- end }}
{{- $loopback := list "127.0.0.1" "localhost" "::1" }}
{{- if or (has (toString $server.host) $loopback) (has (toString $admin.host) $loopback) }}
{{- $wrong = append $wrong "config.server.host and config.admin.host: the pod's Service and probes cannot reach a loopback address" }}
{{- end }}
{{- if eq (int (default 8080 $server.port)) (int (default 8317 $admin.port)) }}
{{- $wrong = append $wrong "config.admin.port is server's: the Service would offer management to everybody who may call" }}
{{- end }}
{{- if not (or $v.persistence.enabled (include "turnpike.recordOutlivesPods" .)) }}
{{- $wrong = append $wrong "persistence.enabled is false, and the audit record would end with the pod: give config.audit.sinks one that is elsewhere (syslog, webhook, splunk_hec, otlp, or stdout, which the cluster's log collector keeps), or say config.audit.enabled: false" }}
{{- end }}
{{- if and $v.ingress.enabled (not $v.ingress.hosts) }}
{{- $wrong = append $wrong "ingress.hosts is empty" }}
{{- end }}
{{- if and $v.httpRoute.enabled (not $v.httpRoute.parentRefs) }}
{{- $wrong = append $wrong "httpRoute.parentRefs is empty: which Gateway?" }}
{{- end }}
{{- if hasKey $v.configFiles "turnpike.yaml" }}
{{- $wrong = append $wrong "configFiles: turnpike.yaml is made of config" }}
{{- end }}
{{- if and (not $v.serviceAccount.create) (not $v.serviceAccount.name) }}
{{- $wrong = append $wrong "serviceAccount.name is empty: none is made, so which one?" }}
{{- end }}
{{- if $wrong }}
{{- fail (printf "\n- %s" (join "\n- " $wrong)) }}
{{- end }}
{{- end }}

{{/*
The paths below `at` where a secret stands as such. Names of keys that hold one are those of
docs/configuration.md; `key` beside `cert` is a file's path. helm/tests compares the list with the schema.
*/}}
{{- define "turnpike.literalSecrets" -}}
{{- $at := .at }}
{{- if kindIs "map" .node }}
{{- range $name, $value := .node }}
{{- $key := $name | replace "-" "_" }}
{{- $isSecret := has $key (list "api_key" "client_secret" "hec_token" "key" "password" "secret" "secret_key" "token") }}
{{- $isList := has $key (list "api_keys" "previous_keys" "claude_api_key" "codex_api_key" "gemini_api_key" "openai_api_key" "vertex_api_key") }}
{{- if and (eq $key "key") (hasKey $.node "cert") }}
{{- $isSecret = false }}
{{- end }}
{{- if and (eq $key "headers") (kindIs "map" $value) }}
{{- range $header, $text := $value }}
{{- if and (regexMatch "(?i)auth|cookie|key|secret|token" $header) (include "turnpike.isLiteral" $text) }}
{{ printf "%s.%s.%s" $at $name $header }}
{{- end }}
{{- end }}
{{- else if and $isSecret (include "turnpike.isLiteral" $value) }}
{{ printf "%s.%s" $at $name }}
{{- else if and $isList (kindIs "slice" $value) }}
{{- range $index, $item := $value }}
{{- if include "turnpike.isLiteral" $item }}
{{ printf "%s.%s[%d]" $at $name $index }}
{{- end }}
{{- end }}
{{- end }}
{{ include "turnpike.literalSecrets" (dict "at" (printf "%s.%s" $at $name) "node" $value) }}
{{- end }}
{{- else if kindIs "slice" .node }}
{{- range $index, $value := .node }}
{{ include "turnpike.literalSecrets" (dict "at" (printf "%s[%d]" $at $index) "node" $value) }}
{{- end }}
{{- else if and (kindIs "string" .node) (regexMatch "://[^/@\\s]+:[^/@\\s]+@" .node) }}
{{ $at }}
{{- end }}
{{- end }}

{{/*
Whether the audit record is somewhere else when a pod is gone, or none is wanted. What a pod says on its
standard output the node keeps, for whoever collects the cluster's logs. Where no sinks are written there is
the gateway's own (config/src/document/audit.rs), beside its store.
*/}}
{{- define "turnpike.recordOutlivesPods" -}}
{{- $config := include "turnpike.config" . | fromYaml }}
{{- $audit := default dict $config.audit }}
{{- if eq (toString $audit.enabled) "false" }}true{{ end }}
{{- range default (list (dict "kind" "file" "path" "audit.jsonl")) $audit.sinks }}
{{- if ne (toString .stream) "usage" }}
{{- if eq (toString .kind) "file" }}
{{- $file := isAbs (toString .path) | ternary .path (printf "%s/%s" (dir $config.state.path) .path) | toString | clean }}
{{- include "turnpike.fileOutlivesPods" (dict "root" $ "file" $file) }}
{{- else }}true{{ end }}
{{- end }}
{{- end }}
{{- end }}

{{/*
Whether `file` is on a volume of the operator's that is still there when a pod is gone. Of mounts that lie within
each other the innermost has it, and that may be the chart's own. What is read-only keeps no file, by its kind, its
mount or its source, and a volume of which only the name is written is an emptyDir to Kubernetes.
*/}}
{{- define "turnpike.fileOutlivesPods" -}}
{{- $file := .file }}
{{- $innermost := dict "name" "" "mountPath" "" }}
{{- $mounts := include "turnpike.volumeMounts" .root | fromYamlArray }}
{{- range prepend $mounts (dict "name" "data" "mountPath" "/var/lib/turnpike") }}
{{- $folder := clean .mountPath }}
{{- if and (hasPrefix (printf "%s/" $folder) $file) (ge (len $folder) (len $innermost.mountPath)) }}
{{- $innermost = dict "name" (ternary "" .name (default false .readOnly)) "mountPath" $folder }}
{{- end }}
{{- end }}
{{- range .root.Values.extraVolumes }}
{{- $lasting := omit . "name" "emptyDir" "ephemeral" "gitRepo" "configMap" "downwardAPI" "image" "projected" "secret" }}
{{- $source := first (concat (values $lasting) (list dict)) }}
{{- $isReadOnly := and (kindIs "map" $source) $source.readOnly }}
{{- if and (eq .name $innermost.name) $lasting (not $isReadOnly) }}true{{ end }}
{{- end }}
{{- end }}

{{/* Numbers, too: YAML reads an unquoted 4711 as one. */}}
{{- define "turnpike.isLiteral" -}}
{{- $text := ternary "" (toString .) (or (kindIs "map" .) (kindIs "slice" .) (kindIs "invalid" .)) }}
{{- if and $text (not (hasPrefix "file:" $text)) (not (regexMatch "^\\$\\{[A-Za-z_][A-Za-z0-9_]*\\}$" $text)) }}literal{{ end }}
{{- end }}
