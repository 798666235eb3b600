{{/* Copies of a topic: three where there are three brokers. */}}
{{- define "kafka.copies" -}}
{{- min 3 (int .Values.brokers.replicas) -}}
{{- end }}

{{/* Copies that must have a record before it is acknowledged: two where there are three. */}}
{{- define "kafka.inSync" -}}
{{- if ge (int .Values.brokers.replicas) 3 }}2{{ else }}1{{ end -}}
{{- end }}

{{/* What `restricted` Pod Security asks of a pod, and of a container. */}}
{{- define "kafka.podSecurity" -}}
runAsNonRoot: true
seccompProfile:
  type: RuntimeDefault
{{- end }}
{{- define "kafka.containerSecurity" -}}
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
runAsNonRoot: true
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/* Metadata of pods: the brokers speak TLS themselves, a proxy between them would only break it. */}}
{{- define "kafka.podMetadata" -}}
labels:
  sidecar.istio.io/inject: "false"
{{- end }}

{{/* Where the pods of a pool may be. Argument: dict "root" $ "pool" name. */}}
{{- define "kafka.placing" -}}
{{- $values := .root.Values -}}
{{- if not $values.mayShareHosts }}
affinity:
  podAntiAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      - topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels:
            strimzi.io/cluster: {{ $values.clusterName }}
            strimzi.io/pool-name: {{ .pool }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: topology.kubernetes.io/zone
    whenUnsatisfiable: DoNotSchedule
    labelSelector:
      matchLabels:
        strimzi.io/cluster: {{ $values.clusterName }}
        strimzi.io/pool-name: {{ .pool }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Rules for topics: every rule allows; what no rule names is refused. */}}
{{- define "kafka.topicRule" -}}
- resource:
    type: topic
    name: {{ .name | quote }}
    patternType: {{ .pattern | default "literal" }}
  operations: {{ toJson .operations }}
{{- end }}
