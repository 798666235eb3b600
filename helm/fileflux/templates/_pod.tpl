{{/* What every pod has in common. Arguments: root, component; where named: over (a track's image). */}}

{{/* Restricted Pod Security, for the pod ... */}}
{{- define "fileflux.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: { type: RuntimeDefault }
{{- end }}

{{/* ... and for each container. */}}
{{- define "fileflux.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end }}

{{/* Everything of a pod's spec but containers, volumes and what one component alone has. */}}
{{- define "fileflux.podSpec" -}}
{{- $facts := include "fileflux.facts" . | fromYaml }}
{{- $values := get .root.Values $facts.values }}
serviceAccountName: {{ include "fileflux.name" . }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext: {{- include "fileflux.podSecurity" . | nindent 2 }}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- if eq .component "ingest" }}
{{- /* 30 s more to settle what was staged, and some to close. */}}
terminationGracePeriodSeconds: {{ add $values.drainSeconds $values.stopSeconds 45 }}
{{- else if hasKey $values "terminationGracePeriodSeconds" }}
terminationGracePeriodSeconds: {{ $values.terminationGracePeriodSeconds }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Over zones and hosts where that is possible. */}}
{{- define "fileflux.spread" -}}
topologySpreadConstraints:
  {{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ $key }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "fileflux.selector" $ | nindent 8 }}
  {{- end }}
{{- end }}

{{/* Image, command, environment, security and mounts of a service's container. */}}
{{- define "fileflux.container" -}}
{{- $facts := include "fileflux.facts" . | fromYaml }}
{{- $values := get .root.Values $facts.values }}
name: {{ .component }}
image: {{ include "fileflux.image" . }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
command: {{ toJson $facts.command }}
env: {{- include "fileflux.env" . | nindent 2 }}
{{- $resources := deepCopy $values.resources }}
{{- if and (eq .component "storage-node") (eq $values.backend "zfs") (eq $values.zfs.access "devicePlugin") }}
{{- $_ := set $resources.limits $values.zfs.resource "1" }}
{{- end }}
resources: {{- toYaml $resources | nindent 2 }}
{{- end }}

{{/* Started: it answers. Ready: send it work. Live: it makes progress. `startSeconds`: of the start. */}}
{{- define "fileflux.probes" -}}
startupProbe:
  httpGet: { path: /health/live, port: ops }
  periodSeconds: 3
  timeoutSeconds: 5
  failureThreshold: {{ div (.startSeconds | default 240) 3 }}
readinessProbe:
  httpGet: { path: /health/ready, port: ops }
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 2
livenessProbe:
  httpGet: { path: /health/live, port: ops }
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
{{- end }}

{{/* Mounts and volumes that a component's settings and Secrets ask for. */}}
{{- define "fileflux.mounts" -}}
{{- $facts := include "fileflux.facts" . | fromYaml }}
- { name: tmp, mountPath: /tmp }
{{- if and $facts.kafka .root.Values.kafka.ca.secret }}
- { name: kafka-ca, mountPath: /etc/fileflux/kafka-ca, readOnly: true }
{{- end }}
{{- if and (has "database" $facts.secrets) .root.Values.database.ca.secret }}
- { name: database-ca, mountPath: /etc/fileflux/database-ca, readOnly: true }
{{- end }}
{{- if eq .root.Values.secrets.provider "csi" }}
- { name: secrets-store, mountPath: /mnt/secrets-store, readOnly: true }
{{- end }}
{{- end }}

{{- define "fileflux.volumes" -}}
{{- $facts := include "fileflux.facts" . | fromYaml }}
{{- $values := .root.Values }}
- name: tmp
  emptyDir: { sizeLimit: 64Mi }
{{- if and $facts.kafka $values.kafka.ca.secret }}
- name: kafka-ca
  secret: { secretName: {{ $values.kafka.ca.secret }}, items: [{ key: {{ $values.kafka.ca.key }}, path: {{ $values.kafka.ca.key }} }] }
{{- end }}
{{- if and (has "database" $facts.secrets) $values.database.ca.secret }}
- name: database-ca
  secret: { secretName: {{ $values.database.ca.secret }}, items: [{ key: {{ $values.database.ca.key }}, path: {{ $values.database.ca.key }} }] }
{{- end }}
{{- if eq $values.secrets.provider "csi" }}
- name: secrets-store
  csi:
    driver: secrets-store.csi.k8s.io
    readOnly: true
    volumeAttributes: { secretProviderClass: {{ include "fileflux.name" . }} }
{{- end }}
{{- end }}
