{{/* Labels of what belongs to the mesh. */}}
{{- define "mesh.labels" -}}
app.kubernetes.io/part-of: fileflux
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Who a pod of ours is, in its certificate. Argument: dict "root" $ "component" name. */}}
{{- define "mesh.principal" -}}
{{ .root.Values.mesh.trustDomain }}/ns/{{ .root.Release.Namespace }}/sa/{{ .root.Release.Name }}-{{ .component }}
{{- end }}

{{/* Ports of a component that Prometheus reads and that need no certificate for it, comma separated. */}}
{{- define "mesh.metricsPorts" -}}
{{- $ports := list 9100 }}
{{- if eq .component "storage-node" }}{{ $ports = append $ports 9134 }}{{ end }}
{{- if eq .component "ingest" }}
{{- range untilStep 1 (int .root.Values.ingest.workers) 1 }}{{ $ports = append $ports (add 9100 .) }}{{ end }}
{{- end }}
{{- join "," $ports }}
{{- end }}

{{/* The two tracks of ingest and how much each gets, the same in every route. */}}
{{- define "mesh.tracks" -}}
{{- range $track := list "stable" "candidate" }}
- destination:
    host: {{ $.Release.Name }}-ingest
    subset: {{ $track }}
    port: { number: {{ $.Values.ingest.service.port }} }
  weight: {{ index $.Values.mesh.weights $track }}
{{- end }}
{{- end }}

{{/* Browsers come back by HTTPS only. */}}
{{- define "mesh.hsts" -}}
{{- with int .Values.mesh.gateway.hstsSeconds -}}
headers:
  response:
    set:
      strict-transport-security: max-age={{ . }}
{{- end }}
{{- end }}
