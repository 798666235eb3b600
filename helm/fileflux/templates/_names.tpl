{{/* Names, labels and images. A component's name is the Prometheus job, the label and the container. */}}

{{- define "fileflux.components" -}}
{{ .Files.Get "files/components.yaml" }}
{{- end }}

{{/* (dict "root" $ "component" "storage-node") → what files/components.yaml says of it */}}
{{- define "fileflux.facts" -}}
{{ get (include "fileflux.components" .root | fromYaml) .component | toYaml }}
{{- end }}

{{- define "fileflux.name" -}}
{{ .root.Release.Name }}-{{ .component }}
{{- end }}

{{- define "fileflux.selector" -}}
app.kubernetes.io/name: fileflux
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "fileflux.labels" -}}
{{ include "fileflux.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: fileflux
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end }}

{{/* REGISTRY/PREFIX/TARGET@DIGEST, or :TAG. `own`: the component's image values, `over`: a track's. */}}
{{- define "fileflux.image" -}}
{{- $facts := include "fileflux.facts" . | fromYaml }}
{{- $all := .root.Values.image }}
{{- $own := (get .root.Values $facts.values).image }}
{{- $over := .over | default (dict "tag" "" "digest" "") }}
{{- $base := printf "%s%s/%s" (ternary "" (printf "%s/" $all.registry) (empty $all.registry)) $all.prefix $facts.image }}
{{- $digest := $over.digest }}
{{- if and (not $digest) (not $over.tag) }}{{ $digest = $own.digest }}{{ end }}
{{- if $digest -}}
{{ $base }}@{{ $digest }}
{{- else -}}
{{ $base }}:{{ coalesce $over.tag $own.tag $all.tag .root.Chart.AppVersion }}
{{- end }}
{{- end }}
