{{- define "db.name" -}}cockroachdb{{- end }}

{{- define "db.labels" -}}
app.kubernetes.io/name: cockroachdb
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "db.image" -}}
{{- with .Values.image }}
{{- .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag }}{{ end }}
{{- end }}
{{- end }}

{{/* Names under which clients and other nodes reach a node: they are in its certificate. */}}
{{- define "db.dnsNames" -}}
{{- $names := list "localhost" }}
{{- range $service := list "cockroachdb-public" "*.cockroachdb" }}
{{- range $suffix := list "" ".%s" ".%s.svc" ".%s.svc.cluster.local" }}
{{- $names = append $names (print $service ($suffix | replace "%s" $.Release.Namespace)) }}
{{- end }}
{{- end }}
{{- join "," $names }}
{{- end }}

{{- define "db.podSecurity" -}}
runAsNonRoot: true
runAsUser: 1000
runAsGroup: 1000
fsGroup: 1000
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}
{{- define "db.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* Certificates with the names and modes that the database wants. Argument: dict "root" $ "with" (list of Secrets) */}}
{{- define "db.copyCertificates" -}}
- name: copy-certificates
  image: {{ include "db.image" .root }}
  imagePullPolicy: {{ .root.Values.image.pullPolicy }}
  # A key that others may read is refused, and a mounted Secret's always can be.
  command: [/bin/bash, -ec]
  args:
    - |
      for user in node client.root; do
        [ -d "/secrets/$user" ] || continue
        cp -L "/secrets/$user/tls.crt" "/cockroach/certs/$user.crt"
        cp -L "/secrets/$user/tls.key" "/cockroach/certs/$user.key"
        cp -L "/secrets/$user/ca.crt" /cockroach/certs/ca.crt
      done
      chmod 0400 /cockroach/certs/*.key
  resources:
    requests: { cpu: 10m, memory: 32Mi }
    limits: { memory: 64Mi }
  securityContext:
    {{- include "db.containerSecurity" .root | nindent 4 }}
  volumeMounts:
    - { name: certs, mountPath: /cockroach/certs }
    {{- range .with }}
    - { name: {{ . | replace "." "-" }}, mountPath: /secrets/{{ . }}, readOnly: true }
    {{- end }}
{{- end }}

{{/* What makes certificates: a pod with FileFlux's Python. */}}
{{- define "db.certificateJob" -}}
backoffLimit: 10
activeDeadlineSeconds: 600
template:
  metadata:
    labels:
      {{- include "db.labels" . | nindent 6 }}
      app.kubernetes.io/component: certificates
      sidecar.istio.io/inject: "false"
  spec:
    restartPolicy: OnFailure
    serviceAccountName: cockroachdb-certificates
    automountServiceAccountToken: true
    securityContext:
      runAsNonRoot: true
      runAsUser: 10001
      seccompProfile: { type: RuntimeDefault }
    {{- with .Values.imagePullSecrets }}
    imagePullSecrets:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    containers:
      - name: certificates
        image: {{ .Values.tls.job.repository }}{{ with .Values.tls.job.digest }}@{{ . }}{{ else }}:{{ .Values.tls.job.tag }}{{ end }}
        imagePullPolicy: {{ .Values.image.pullPolicy }}
        command: [python, /scripts/make_certificates.py]
        env:
          - name: NAMESPACE
            valueFrom: { fieldRef: { fieldPath: metadata.namespace } }
          - { name: SECRETS, value: cockroachdb }
          - { name: DNS_NAMES, value: {{ include "db.dnsNames" . | quote }} }
          - { name: VALID_HOURS, value: {{ trimSuffix "h" .Values.tls.duration | quote }} }
        resources:
          requests: { cpu: 20m, memory: 64Mi }
          limits: { memory: 128Mi }
        securityContext:
          {{- include "db.containerSecurity" . | nindent 10 }}
        volumeMounts:
          - { name: scripts, mountPath: /scripts, readOnly: true }
    volumes:
      - name: scripts
        configMap: { name: cockroachdb-certificates }
{{- end }}
