"""What the chart renders is what it promises, by both Helms, for every file of ci/ and more."""

import copy
import itertools
import json
import re
import unittest

import jsonschema
import yaml

import objects
from chart import CHART, EXAMPLES, VERSIONS, configuration, only, pod, render, run, template

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
EVERYTHING = {
    "nameOverride": "gate",
    "commonLabels": {"team": "platform"},
    "imagePullSecrets": [{"name": "pull"}],
    "image": {"digest": "sha256:" + "0" * 64},
    "secretFiles": [{"name": "clients", "existingSecret": "c"}],
    "credentialFiles": {"existingSecret": "auths"},
    "tls": {"existingSecret": "tls", "clientAuth": "required", "clientCa": {"existingSecret": "ca"}},
    "service": {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "annotations": {"a": "b"}},
    "ingress": {"enabled": True, "className": "nginx", "hosts": [{"host": "a.example.com", "path": "/v1"}, {"host": "b.example.com"}]},
    "httpRoute": {"enabled": True, "parentRefs": [{"name": "gw", "namespace": "n", "sectionName": "https", "port": 443}], "hostnames": ["a.example.com"]},
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
    "extraObjects": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-extra"}}],
}


class Matrix(unittest.TestCase):
    """Rendered by both Helms alike, and taken by three Kubernetes versions."""

    def is_taken(self, *values):
        texts = [template(version, *values) for version in VERSIONS]
        for done in texts:
            self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(texts[0].stdout, texts[1].stdout)
        for one in filter(None, yaml.safe_load_all(texts[0].stdout)):
            objects.check(one)

    def test_examples(self):
        self.assertGreaterEqual(len(EXAMPLES), 5)
        for path in EXAMPLES:
            with self.subTest(path.name):
                self.is_taken(path)
                for version in VERSIONS:
                    done = run(version, "lint", str(CHART), "--strict", values=[path])
                    self.assertEqual(done.returncode, 0, done.stdout)

    def test_everything_at_once(self):
        self.is_taken(BASE, EVERYTHING)
        self.is_taken(BASE, EVERYTHING, FLEET)

    def test_combinations(self):
        choices = [
            [{}, {"persistence": {"enabled": False}}],
            [{"replicas": 4}, {"autoscaling": {"hpa": {"enabled": True}}}, {"autoscaling": {"keda": {"enabled": True, "serverAddress": "http://p"}}}],
            [{"networkPolicy": {"enabled": False}, "topologySpread": {"enabled": False}, "podDisruptionBudget": {"enabled": False}}, {"serviceAccount": {"create": False, "name": "mine"}, "shutdown": {"preStopSeconds": 0}}],
        ]
        for chosen in itertools.product(*choices):
            with self.subTest(chosen):
                self.is_taken(BASE, FLEET, *chosen)


class Checks(unittest.TestCase):
    """What the checks themselves would catch."""

    def test_an_unknown_key_of_a_crd_is_found(self):
        made = render(EXAMPLES[0], *[path for path in EXAMPLES if path.name == "ha.yaml"])
        for kind, spoil in [
            ("HTTPRoute", lambda spec: spec["rules"][0].update(timeout="1s")),
            ("ServiceMonitor", lambda spec: spec["endpoints"][0].update(intervals="1s")),
            ("PrometheusRule", lambda spec: spec["groups"][0].update(role=[])),
        ]:
            one = copy.deepcopy(only(made, kind))
            objects.check(one)
            spoil(one["spec"])
            with self.subTest(kind), self.assertRaises(jsonschema.ValidationError):
                objects.check(one)

    def test_an_unknown_key_of_a_built_in_is_found(self):
        one = only(render(BASE), "StatefulSet")
        one["spec"]["template"]["spec"]["automountToken"] = False
        with self.assertRaises(Exception):
            objects.check(one)

    def test_no_value_is_without_its_schema(self):
        """Every mapping of the schema is closed, but for those that are free maps by their nature."""
        schema = json.loads((CHART / "values.schema.json").read_text())
        free = set()

        def walk(node, path):
            if isinstance(node, list):
                for one in node:
                    walk(one, path)
            if not isinstance(node, dict):
                return
            if node.get("type") == "object" and node.get("additionalProperties") is not False:
                free.add(path)
            for key, value in node.items():
                inner = f"{path}.{key}".removeprefix(".") if key not in ("properties", "items", "definitions") else path
                walk(value, inner)

        walk(schema, "")
        self.assertEqual(free, {"config", "configFiles", "global", "kubernetes", "quantities", "strings"})

    def test_every_value_has_a_schema_and_a_default(self):
        schema = json.loads((CHART / "values.schema.json").read_text())
        values = yaml.safe_load((CHART / "values.yaml").read_text())
        self.same_keys(schema, schema, values, "values")

    def same_keys(self, whole, schema, values, at):
        if "$ref" in schema:
            schema = whole["definitions"][schema["$ref"].rsplit("/")[-1]]
        if "properties" not in schema or not isinstance(values, dict):
            return
        known = set(schema["properties"]) - {"global"}
        # What is empty by default holds anything of its kind.
        if at != "values.resources":
            self.assertEqual(known, set(values), at)
        for key in known & set(values):
            self.same_keys(whole, schema["properties"][key], values[key], f"{at}.{key}")


class Promises(unittest.TestCase):
    def test_the_pod_is_confined(self):
        spec = pod(render(BASE))
        self.assertEqual(spec["securityContext"]["runAsNonRoot"], True)
        self.assertEqual(spec["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
        self.assertIs(spec["automountServiceAccountToken"], False)
        self.assertIs(spec["enableServiceLinks"], False)
        (container,) = spec["containers"]
        confined = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
        self.assertEqual(container["securityContext"], confined)

    def test_secrets_and_configuration_are_directories(self):
        made = render(BASE, EVERYTHING, FLEET)
        for mount in pod(made)["containers"][0]["volumeMounts"]:
            self.assertNotIn("subPath", mount)
        for volume in pod(made)["volumes"]:
            if "secret" in volume:
                self.assertEqual(volume["secret"]["defaultMode"], 0o440)

    def test_an_embedded_store_is_one_pod_with_a_volume(self):
        made = render(BASE)
        self.assertEqual(only(made, "StatefulSet")["spec"]["replicas"], 1)
        self.assertNotIn("PodDisruptionBudget", {kind for kind, _ in made})
        forgetful = render(BASE, {"persistence": {"enabled": False}})
        self.assertEqual(only(forgetful, "Deployment")["spec"]["strategy"], {"type": "Recreate"})

    def test_a_fleet_without_volumes_is_never_short_of_a_gateway(self):
        made = render(BASE, FLEET, {"replicas": 3, "persistence": {"enabled": False}})
        rolling = only(made, "Deployment")["spec"]["strategy"]["rollingUpdate"]
        self.assertEqual(rolling, {"maxUnavailable": 0, "maxSurge": 1})
        self.assertEqual(only(made, "PodDisruptionBudget")["spec"]["maxUnavailable"], 1)

    def test_an_autoscaler_is_not_fought_over_replicas(self):
        made = render(BASE, FLEET, {"autoscaling": {"hpa": {"enabled": True}}})
        self.assertNotIn("replicas", only(made, "StatefulSet")["spec"])
        self.assertEqual(only(made, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["kind"], "StatefulSet")

    def test_the_grace_period_is_a_sum(self):
        def grace(*values):
            return pod(render(BASE, *values))["terminationGracePeriodSeconds"]

        self.assertEqual(grace(), 10 + 600 + 15)
        self.assertEqual(grace({"shutdown": {"preStopSeconds": 5, "drainSeconds": 60}}), 80)
        drain = {"config": {"server": {"drain": {"lame_duck": "1500ms", "limit": "20m"}}}}
        self.assertEqual(grace(drain), 10 + 2 + 1200 + 15)

    def test_a_change_of_the_configuration_restarts_only_when_it_must(self):
        def pods(*values):
            return only(render(BASE, *values), "StatefulSet")["spec"]["template"]

        base = pods()
        self.assertEqual(base, pods({"config": {"max_retry_credentials": 5, "server": {"limits": {"max_body": "1MiB"}}}}))
        for restarts in [{"server": {"port": 9090}}, {"server": {"threads": 2}}, {"state": {"path": "/var/lib/turnpike/b.db"}}, {"audit": {"enabled": False}}]:
            with self.subTest(restarts):
                self.assertNotEqual(base["metadata"], pods({"config": restarts})["metadata"])

    def test_ports_follow_the_configuration(self):
        made = render(BASE, {"config": {"server": {"port": 9090}, "admin": {"port": 9091}}})
        ports = {one["name"]: one["containerPort"] for one in pod(made)["containers"][0]["ports"]}
        self.assertEqual(ports, {"http": 9090, "admin": 9091})
        opened = [rule["ports"][0]["port"] for rule in only(made, "NetworkPolicy")["spec"]["ingress"]]
        self.assertEqual(opened, [9090, 9091])

    def test_management_is_not_behind_the_clients_service(self):
        made = render(BASE)
        clients = made["Service", "rel-turnpike"]["spec"]["ports"]
        self.assertEqual([port["targetPort"] for port in clients], ["http"])
        self.assertEqual(made["Service", "rel-turnpike-metrics"]["spec"]["clusterIP"], "None")

    def test_the_configuration_is_passed_on_as_it_was_written(self):
        written = {
            "sso": {"enabled": False},
            "max_retry_interval": 0,
            "limits": [{"scope": "tenant", "measure": "tokens", "window": "month", "limit": 50000000000}],
            "auth": {"session_affinity": {"enabled": False}},
            "logging": {"level": "debug", "format": "text"},
            "remote-management": {"allow-remote": False},
            "sever": {"headers": {"x-team": "a"}},
        }
        made = configuration(render(BASE, {"config": written}))
        for key in ("sso", "max_retry_interval", "limits", "logging", "remote-management", "sever"):
            self.assertEqual(made[key], written[key])
        self.assertIs(type(made["limits"][0]["limit"]), int)
        self.assertEqual(made["auth"]["session_affinity"], {"enabled": False})

    def test_keys_that_nobody_wrote_are_not_there(self):
        self.assertEqual(set(configuration(render(BASE))), {"admin", "api_keys", "auth", "logging", "providers", "server", "state"})

    def test_redis_in_three_modes(self):
        def state(**redis):
            return configuration(render(BASE, FLEET, {"redis": redis}))["state"]

        standalone = state(port=6380, database=3, tls={"enabled": True})
        self.assertEqual(standalone["backend"], "redis")
        self.assertEqual(standalone["redis"]["url"], "rediss://redis:6380/3")
        sentinel = state(mode="sentinel", nodes=["s:26379"], masterName="main", existingSecret="r", username="u")["redis"]
        self.assertEqual((sentinel["nodes"], sentinel["master_name"]), (["s:26379"], "main"))
        self.assertEqual((sentinel["username"], sentinel["password"]), ("u", "file:/etc/turnpike/redis/password"))
        cluster = state(mode="cluster", nodes=["a:7000", "b:7001"], tls={"enabled": True, "existingSecret": "t", "certKey": "c", "keyKey": "k"})["redis"]
        self.assertEqual(cluster["tls"], {"ca_file": "/etc/turnpike/redis-tls/ca.crt", "cert": "/etc/turnpike/redis-tls/c", "key": "/etc/turnpike/redis-tls/k"})
        made = render(BASE, FLEET, {"redis": {"mode": "cluster", "nodes": ["a:7000", "b:7001", "c:7001"]}})
        egress = only(made, "NetworkPolicy")["spec"]["egress"]
        self.assertIn([6379, 7000, 7001], [[port["port"] for port in rule["ports"]] for rule in egress])

    def test_metadata_services_are_out_of_reach(self):
        egress = only(render(BASE), "NetworkPolicy")["spec"]["egress"]
        anywhere = [peer["ipBlock"] for rule in egress for peer in rule.get("to", []) if "ipBlock" in peer]
        self.assertEqual(anywhere[0], {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]})

    def test_alerts_can_be_left_out(self):
        def alerts(*values):
            groups = only(render(BASE, {"prometheusRule": {"enabled": True}}, *values), "PrometheusRule")["spec"]["groups"]
            return [rule["alert"] for group in groups for rule in group["rules"]]

        everything = alerts()
        self.assertIn("TurnpikeConfigurationNotTakenOver", everything)
        left = alerts({"prometheusRule": {"disabled": [everything[0]]}})
        self.assertEqual(left, everything[1:])

    def test_alerts_and_dashboards_arrive_as_they_are(self):
        made = render(BASE, {"prometheusRule": {"enabled": True}, "dashboards": {"enabled": True}})
        file = yaml.safe_load((CHART / "alerts" / "turnpike.yaml").read_text())
        self.assertEqual(only(made, "PrometheusRule")["spec"]["groups"], file["groups"])
        boards = sorted(CHART.glob("dashboards/*.json"))
        self.assertEqual(len(boards), 3)
        for path in boards:
            config_map = made["ConfigMap", f"rel-turnpike-dashboard-{path.stem}"]
            self.assertEqual(json.loads(config_map["data"][path.name]), json.loads(path.read_text()))
            self.assertEqual(config_map["metadata"]["labels"]["grafana_dashboard"], "1")

    def test_notes_say_what_comes_next(self):
        # Helm 3 asks a cluster even so.
        done = run("4", "install", "rel", str(CHART), "--namespace", "llm", "--dry-run=client", values=[BASE, EVERYTHING, FLEET])
        self.assertEqual(done.returncode, 0, done.stderr)
        notes = done.stdout.split("NOTES:")[1]
        for said in ["helm test rel -n llm", "waits for these secrets", "port-forward statefulset/rel-gate"]:
            self.assertIn(said, re.sub(r"\s+", " ", notes))
