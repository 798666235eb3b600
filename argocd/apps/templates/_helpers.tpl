{{/* What all applications share: retries, and syncing by itself. Argument: dict "root" $ "prune" bool */}}
{{- define "apps.sync" -}}
syncPolicy:
  {{- if .root.Values.automatic }}
  automated: { prune: {{ .prune }}, selfHeal: true }
  {{- end }}
  retry:
    limit: 10
    backoff: { duration: 15s, factor: 2, maxDuration: 5m }
{{- end }}

{{/* Names of applications carry the environment: one Argo CD may have several. */}}
{{- define "apps.metadata" -}}
name: {{ .name }}-{{ .root.Values.environment }}
namespace: argocd
labels:
  app.kubernetes.io/part-of: fileflux
  fileflux.io/environment: {{ .root.Values.environment }}
annotations:
  argocd.argoproj.io/sync-wave: {{ .wave | quote }}
{{- end }}
