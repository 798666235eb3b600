{{- define "logging.image" -}}
{{- .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag }}{{ end }}
{{- end }}

{{- define "logging.labels" -}}
app.kubernetes.io/name: logging
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Where lines go, as Fluent Bit's configuration has it. Nothing is given up while the disk has room. */}}
{{- define "logging.outputs" -}}
outputs:
  {{- if .Values.cloudwatch.enabled }}
  {{- range $match, $group := dict "kube.*" "application" "host.*" "host" }}
  - name: cloudwatch_logs
    match: {{ $match | quote }}
    region: {{ $.Values.cloudwatch.region }}
    log_group_name: /fileflux/{{ $.Values.environment }}/{{ $group }}
    log_stream_prefix: ${NODE_NAME}-
    auto_create_group: off
    retry_limit: no_limits
    storage.total_limit_size: {{ $.Values.fluentBit.bufferSize }}
  {{- end }}
  {{- end }}
  {{- if .Values.logstash.enabled }}
  - name: http
    match: "*"
    host: {{ .Release.Name }}-logstash.{{ .Release.Namespace }}.svc
    port: 8080
    format: json
    json_date_key: "@timestamp"
    json_date_format: iso8601
    compress: gzip
    tls: on
    tls.verify: on
    tls.verify_hostname: on
    tls.vhost: {{ .Release.Name }}-logstash
    tls.ca_file: /etc/logstash-ca/ca.crt
    http_user: ${LOGSTASH_USER}
    http_passwd: ${LOGSTASH_PASSWORD}
    # Logstash says 429 while its queue is full.
    retry_limit: no_limits
    storage.total_limit_size: {{ .Values.fluentBit.bufferSize }}
  {{- end }}
{{- end }}
