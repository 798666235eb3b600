{{/* User data of a node: joins the cluster. Karpenter adds labels and taints when it has registered. */}}
{{- define "karpenter.userData" -}}
#!/bin/bash
set -euo pipefail
bootstrap=/etc/eks/bootstrap.sh
if [[ ! -x "$bootstrap" ]]; then
  echo "fileflux: $bootstrap is missing: build the image with packer/" >&2
  exit 1
fi
install -d -m 0755 /etc/fileflux
printf 'FILEFLUX_POOL_DISKS=%s\n' '{{ .disks }}' > /etc/fileflux/pool-disks.env
# Before the node joins: a pod that found no pool would fill the root volume. A failure ends this script here.
systemctl restart fileflux-pool-init.service
"$bootstrap" '{{ .cluster.name }}' \
  --apiserver-endpoint '{{ .cluster.endpoint }}' \
  --b64-cluster-ca '{{ .cluster.authority }}' \
  --dns-cluster-ip '{{ .cluster.dnsIp }}' \
  --kubelet-extra-args '--register-with-taints=karpenter.sh/unregistered:NoExecute'
{{- end }}

{{/* What both node classes share. */}}
{{- define "karpenter.nodeClass" -}}
amiFamily: Custom
amiSelectorTerms:
  - id: {{ .Values.image.id }}
instanceProfile: {{ .Values.node.instanceProfile }}
subnetSelectorTerms:
  - tags:
      karpenter.sh/discovery: {{ .Values.cluster.name }}
securityGroupSelectorTerms:
  - id: {{ .Values.cluster.securityGroupId }}
# One hop: a pod's packet dies on the way to the host's credentials.
metadataOptions:
  httpEndpoint: enabled
  httpProtocolIPv6: disabled
  httpPutResponseHopLimit: 1
  httpTokens: required
{{- end }}

{{/* An encrypted disk: dict device, size, keep, key. */}}
{{- define "karpenter.disk" -}}
deviceName: {{ .device }}
ebs:
  volumeType: gp3
  volumeSize: {{ .size }}
  encrypted: true
  kmsKeyID: {{ .key }}
  deleteOnTermination: {{ not .keep }}
{{- end }}
