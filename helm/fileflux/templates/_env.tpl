{{/* The environment of a container. tests/deploy/chart compares it with the settings classes. */}}

{{- define "fileflux.env" -}}
{{- $facts := include "fileflux.facts" . | fromYaml }}
{{- $components := include "fileflux.components" .root | fromYaml }}
{{- $values := .root.Values }}
{{- $own := get $values $facts.values }}
- { name: FILEFLUX_LOG_FORMAT, value: {{ $values.logging.format }} }
- { name: FILEFLUX_LOG_LEVEL, value: {{ $values.logging.level }} }
{{- if $facts.kafka }}
{{ include "fileflux.env.kafka" . }}
- { name: FILEFLUX_LANES, value: {{ $values.lanes | quote }} }
- { name: FILEFLUX_SLOTS, value: {{ $values.slots | quote }} }
- { name: FILEFLUX_OPS_HOST, value: 0.0.0.0 }
- { name: FILEFLUX_OPS_PORT, value: "9100" }
{{ include "fileflux.env.tracing" . }}
{{- end }}
{{- range $variable := get $components.reads .component }}
{{- range $secret := $facts.secrets }}
{{- if has $variable (get $components.secretKeys $secret) }}
{{ include "fileflux.env.secret" (list $variable (get $values.secrets.names $secret) $variable) }}
{{- end }}
{{- end }}
{{- end }}
{{- if and $facts.archive $values.archive.url (or (ne .component "sequencer") (not $values.archiver.enabled)) }}
{{ include "fileflux.env.archive" . }}
{{- end }}
{{- include (printf "fileflux.env.of.%s" .component) . }}
{{- range $name, $value := $own.settings }}
- { name: {{ $name }}, value: {{ include "fileflux.env.text" $value | toJson }} }
{{- end }}
{{- range concat $values.extraEnv $own.extraEnv }}
- {{ toJson . }}
{{- end }}
{{- end }}

{{/* Numbers of a values file are floats: 1048576 would become 1.048576e+06. */}}
{{- define "fileflux.env.text" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) }}{{ int64 . }}{{ else }}{{ . }}{{ end }}
{{- end }}

{{/* list VARIABLE SECRET KEY */}}
{{- define "fileflux.env.secret" -}}
- name: {{ index . 0 }}
  valueFrom: { secretKeyRef: { name: {{ index . 1 }}, key: {{ index . 2 }} } }
{{- end }}

{{- define "fileflux.env.kafka" -}}
{{- $kafka := .root.Values.kafka -}}
- { name: KAFKA_BOOTSTRAP_SERVERS, value: {{ $kafka.bootstrapServers | quote }} }
- { name: KAFKA_SECURITY_PROTOCOL, value: {{ $kafka.securityProtocol }} }
{{- if hasPrefix "SASL" $kafka.securityProtocol }}
- { name: KAFKA_SASL_MECHANISM, value: {{ $kafka.saslMechanism }} }
{{- if $kafka.userPerComponent }}
- { name: KAFKA_SASL_USERNAME, value: fileflux-{{ .component }} }
{{ include "fileflux.env.secret" (list "KAFKA_SASL_PASSWORD" (printf "fileflux-%s" .component) "password") }}
{{- else }}
{{ include "fileflux.env.secret" (list "KAFKA_SASL_USERNAME" .root.Values.secrets.names.kafka "KAFKA_SASL_USERNAME") }}
{{ include "fileflux.env.secret" (list "KAFKA_SASL_PASSWORD" .root.Values.secrets.names.kafka "KAFKA_SASL_PASSWORD") }}
{{- end }}
{{- end }}
{{- if $kafka.ca.secret }}
- { name: KAFKA_CA_FILE, value: /etc/fileflux/kafka-ca/{{ $kafka.ca.key }} }
{{- end }}
{{- end }}

{{- define "fileflux.env.tracing" -}}
{{- with .root.Values.tracing }}
{{- if .endpoint -}}
- { name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ .endpoint | quote }} }
- { name: OTEL_TRACES_SAMPLER, value: parentbased_traceidratio }
- { name: OTEL_TRACES_SAMPLER_ARG, value: {{ .ratio | quote }} }
{{- end }}
{{- end }}
{{- end }}

{{- define "fileflux.env.archive" -}}
{{- $archive := .root.Values.archive -}}
- { name: FILEFLUX_ARCHIVE_URL, value: {{ $archive.url | quote }} }
- { name: FILEFLUX_ARCHIVE_ENDPOINT, value: {{ $archive.endpoint | quote }} }
- { name: FILEFLUX_ARCHIVE_REGION, value: {{ $archive.region | quote }} }
- { name: FILEFLUX_ARCHIVE_KEEP_S, value: {{ $archive.keepSeconds | int64 | quote }} }
{{- with .root.Values.secrets.names.archive }}
{{ include "fileflux.env.secret" (list "FILEFLUX_ARCHIVE_ACCESS_KEY" . "FILEFLUX_ARCHIVE_ACCESS_KEY") }}
{{ include "fileflux.env.secret" (list "FILEFLUX_ARCHIVE_SECRET_KEY" . "FILEFLUX_ARCHIVE_SECRET_KEY") }}
{{- end }}
{{- end }}

{{- define "fileflux.env.classes" }}
- { name: FILEFLUX_CLASSES, value: {{ .root.Values.classes.all | quote }} }
- { name: FILEFLUX_DEFAULT_CLASS, value: {{ .root.Values.classes.default }} }
{{- end }}

{{/* From the downward API: variables of the pod that other values are made of. */}}
{{- define "fileflux.env.field" }}
- name: {{ index . 0 }}
  valueFrom: { fieldRef: { fieldPath: {{ index . 1 | quote }} } }
{{- end }}

{{- define "fileflux.env.of.materializer" }}{{ end }}
{{- define "fileflux.env.of.archiver" }}{{ end }}
{{- define "fileflux.env.of.migrate" }}{{ end }}

{{- define "fileflux.env.of.placement" }}
{{- include "fileflux.env.classes" . }}
- { name: FILEFLUX_PLACEMENT_DATA_DIR, value: /tmp/fileflux-placement }
{{- end }}

{{- define "fileflux.env.of.sequencer" }}
{{- if .root.Values.sequencer.auditKey.enabled }}
- { name: FILEFLUX_AUDIT_KEY_FILE, value: /etc/fileflux/audit-key/audit.key }
{{- end }}
{{- end }}

{{- define "fileflux.env.of.webhooks" }}
- { name: FILEFLUX_WEBHOOKS_ALLOWED_NETWORKS, value: {{ join "," .root.Values.webhooks.allowedNetworks | quote }} }
- { name: FILEFLUX_WEBHOOKS_ALLOW_HTTP, value: {{ .root.Values.webhooks.allowHttp | quote }} }
{{- end }}

{{- define "fileflux.env.of.ingest" }}
{{- $ingest := .root.Values.ingest }}
{{- $staging := $ingest.staging }}
{{- include "fileflux.env.classes" . }}
- { name: FILEFLUX_INGEST_HOST, value: 0.0.0.0 }
- { name: FILEFLUX_INGEST_PORT, value: "9000" }
- { name: FILEFLUX_INGEST_INTERNAL_PORT, value: "9300" }
{{- if gt (int $ingest.workers) 1 }}
- { name: FILEFLUX_INGEST_METRICS_PORT, value: "9100" }
{{- end }}
- { name: FILEFLUX_INGEST_DRAIN_S, value: {{ $ingest.drainSeconds | quote }} }
- { name: FILEFLUX_INGEST_STOP_TIMEOUT_S, value: {{ $ingest.stopSeconds | quote }} }
- { name: FILEFLUX_INGEST_WORKERS, value: {{ $ingest.workers | quote }} }
- { name: FILEFLUX_INGEST_DOMAINS, value: {{ join "," $ingest.domains | quote }} }
- { name: FILEFLUX_INGEST_STAGING_BYTES, value: {{ $staging.bytes | int64 | quote }} }
{{- if eq $staging.mode "s3" }}
- { name: FILEFLUX_INGEST_STAGING, value: s3 }
- { name: FILEFLUX_INGEST_STAGING_S3_BUCKET, value: {{ $staging.s3.bucket | quote }} }
- { name: FILEFLUX_INGEST_STAGING_S3_ENDPOINT, value: {{ $staging.s3.endpoint | quote }} }
- { name: FILEFLUX_INGEST_STAGING_S3_REGION, value: {{ $staging.s3.region | quote }} }
{{- else }}
- { name: FILEFLUX_INGEST_STAGING, value: directory }
- { name: FILEFLUX_INGEST_STAGING_DIR, value: /var/lib/fileflux/staging }
- { name: FILEFLUX_INGEST_STAGING_DURABLE, value: {{ eq $staging.mode "volume" | quote }} }
{{- end }}
{{- if eq $staging.mode "volume" }}
{{- include "fileflux.env.field" (list "POD_NAME" "metadata.name") }}
- { name: FILEFLUX_INGEST_ADVERTISED_URL, value: "http://$(POD_NAME).{{ .root.Release.Name }}-ingest-internal.{{ .root.Release.Namespace }}.svc.{{ .root.Values.clusterDomain }}:9300" }
{{- else }}
{{- include "fileflux.env.field" (list "POD_IP" "status.podIP") }}
- { name: FILEFLUX_INGEST_ADVERTISED_URL, value: "http://$(POD_IP):9300" }
{{- end }}
{{- if $ingest.tls.secretName }}
- { name: FILEFLUX_INGEST_TLS_CERT, value: /etc/fileflux/tls/tls.crt }
- { name: FILEFLUX_INGEST_TLS_KEY, value: /etc/fileflux/tls/tls.key }
{{- end }}
{{- end }}

{{/* `zone`: of the StatefulSet, where zones are named. */}}
{{- define "fileflux.env.of.storage-node" }}
{{- $node := .root.Values.storageNode }}
- { name: FILEFLUX_NODE_DATA_DIR, value: /var/lib/fileflux }
- { name: FILEFLUX_NODE_HOST, value: 0.0.0.0 }
- { name: FILEFLUX_NODE_PORT, value: "9200" }
- { name: FILEFLUX_NODE_EXPORTER_HOST, value: 0.0.0.0 }
- { name: FILEFLUX_NODE_EXPORTER_PORT, value: "9134" }
- { name: FILEFLUX_NODE_BACKEND, value: {{ $node.backend }} }
- { name: FILEFLUX_NODE_POOL, value: {{ $node.zfs.pool | quote }} }
{{- if eq $node.backend "zfs" }}
- { name: FILEFLUX_NODE_DATASET, value: {{ $node.zfs.dataset | quote }} }
{{- end }}
{{- include "fileflux.env.field" (list "POD_NAME" "metadata.name") }}
{{- include "fileflux.env.field" (list "NODE_NAME" "spec.nodeName") }}
{{- if .zone }}
- { name: ZONE, value: {{ .zone }} }
{{- else }}
{{- include "fileflux.env.field" (list "ZONE" "metadata.labels['topology.kubernetes.io/zone']") }}
{{- end }}
- { name: FILEFLUX_NODE_DOMAIN, value: "$(ZONE)/$(NODE_NAME)" }
- { name: FILEFLUX_NODE_ADVERTISED_URL, value: "http://$(POD_NAME).{{ .root.Release.Name }}-storage-node.{{ .root.Release.Namespace }}.svc.{{ .root.Values.clusterDomain }}:9200" }
{{- end }}
