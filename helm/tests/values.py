"""Values that the tests begin with: the least there can be, several gateways, none with a volume, and everything at once."""

BASE = {
    "image": {"repository": "registry.example.com/turnpike"},
    "config": {"api_keys": [{"key": "${KEY}"}], "providers": {"openai": {}}},
    "env": [{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "k", "key": "key"}}}],
}
FLEET = {
    "config": {"server": {"public_url": "https://llm.example.com"}},
    "secretKey": {"existingSecret": "key"},
    "redis": {"enabled": True, "host": "redis"},
}
FORGETFUL = {"persistence": {"enabled": False}, "config": {"audit": {"sinks": [{"kind": "stdout"}]}}}
EVERYTHING = {
    "nameOverride": "gate",
    "commonLabels": {"team": "platform"},
    "imagePullSecrets": [{"name": "pull"}],
    "image": {"digest": "sha256:" + "0" * 64},
    "secretFiles": [{"name": "clients", "existingSecret": "c"}],
    "credentialFiles": {"existingSecret": "auths"},
    "tls": {"existingSecret": "tls", "clientAuth": "required", "clientCa": {"existingSecret": "ca"}},
    "service": {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "annotations": {"a": "b"}},
    "ingress": {
        "enabled": True,
        "className": "nginx",
        "hosts": [{"host": "a.example.com", "path": "/v1"}, {"host": "b.example.com"}],
    },
    "httpRoute": {
        "enabled": True,
        "parentRefs": [{"name": "gw", "namespace": "n", "sectionName": "https", "port": 443}],
        "hostnames": ["a.example.com"],
    },
    "podAnnotations": {"a": "1"},
    "podLabels": {"b": "2"},
    "nodeSelector": {"disk": "fast"},
    "tolerations": [{"key": "k", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
    "priorityClassName": "high",
    "extraVolumes": [{"name": "ca", "configMap": {"name": "ca"}}],
    "extraVolumeMounts": [{"name": "ca", "mountPath": "/ca"}],
    "serviceAccount": {"annotations": {"a": "b"}},
    "networkPolicy": {"egress": {"extra": [{"ports": [{"port": 8443}]}], "dns": [{"namespaceSelector": {}}]}},
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
    "dashboards": {"enabled": True},
    "configFiles": {"prices.yaml": "version: 1\nprices: []\n"},
    "persistence": {"storageClass": "fast", "annotations": {"a": "b"}},
    "extraObjects": [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-extra"}}
    ],
}
