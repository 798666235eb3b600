{{/* The Deployment of a service without data or ports of its own. */}}
{{- define "fileflux.deployment" -}}
{{- $facts := include "fileflux.facts" . | fromYaml }}
{{- $values := get .root.Values $facts.values }}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "fileflux.name" . }}
  labels: {{- include "fileflux.labels" . | nindent 4 }}
spec:
  {{- if not (dig "autoscaling" "enabled" false $values) }}
  replicas: {{ $values.replicas }}
  {{- end }}
  revisionHistoryLimit: 5
  strategy: # The new one stands by before an old one ends.
    rollingUpdate: { maxSurge: 1, maxUnavailable: 0 }
  selector:
    matchLabels: {{- include "fileflux.selector" . | nindent 6 }}
  template:
    metadata:
      labels: {{- include "fileflux.labels" . | nindent 8 }}
    spec:
      {{- include "fileflux.podSpec" . | nindent 6 }}
      {{- include "fileflux.spread" . | nindent 6 }}
      containers:
        - {{- include "fileflux.container" . | nindent 10 }}
          ports:
            - { name: ops, containerPort: 9100 }
          {{- include "fileflux.probes" . | nindent 10 }}
          securityContext: {{- include "fileflux.containerSecurity" . | nindent 12 }}
          volumeMounts:
            {{- include "fileflux.mounts" . | nindent 12 }}
            {{- with .mounts }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
      volumes:
        {{- include "fileflux.volumes" . | nindent 8 }}
        {{- with .volumes }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
{{- end }}
