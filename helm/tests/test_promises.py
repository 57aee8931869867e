"""What the chart renders is what it promises."""

import json
import re
import unittest

import yaml

from chart import CHART, configuration, only, pod, render, run, template
from values import BASE, EVERYTHING, FLEET, FORGETFUL


class Promises(unittest.TestCase):
    def test_the_pod_is_confined(self):
        spec = pod(render(BASE))
        self.assertEqual(spec["securityContext"]["runAsNonRoot"], True)
        self.assertEqual(spec["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
        self.assertIs(spec["automountServiceAccountToken"], False)
        self.assertIs(spec["enableServiceLinks"], False)
        (container,) = spec["containers"]
        confined = {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
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
        forgetful = render(BASE, FORGETFUL)
        self.assertEqual(only(forgetful, "Deployment")["spec"]["strategy"], {"type": "Recreate"})

    def test_a_fleet_without_volumes_is_never_short_of_a_gateway(self):
        made = render(BASE, FLEET, FORGETFUL, {"replicas": 3})
        rolling = only(made, "Deployment")["spec"]["strategy"]["rollingUpdate"]
        self.assertEqual(rolling, {"maxUnavailable": 0, "maxSurge": 1})
        self.assertEqual(only(made, "PodDisruptionBudget")["spec"]["maxUnavailable"], 1)

    def test_without_a_volume_the_record_is_kept_elsewhere_or_none_is(self):
        def is_taken(audit, **values):
            values = {"persistence": {"enabled": False}, "config": {"audit": audit}, **values}
            return template("4", BASE, values).returncode == 0

        file = {"kind": "file", "path": "audit.jsonl"}
        self.assertTrue(is_taken({"enabled": False}))
        self.assertFalse(is_taken({"sinks": [file]}))
        for kind in ["stdout", "syslog", "webhook", "splunk_hec", "otlp"]:
            with self.subTest(kind):
                self.assertTrue(is_taken({"sinks": [file, {"kind": kind}]}))
                self.assertFalse(is_taken({"sinks": [file, {"kind": kind, "stream": "usage"}]}))
        # On a volume of the operator's.
        volume = {
            "extraVolumes": [{"name": "audit", "persistentVolumeClaim": {"claimName": "audit"}}],
            "extraVolumeMounts": [{"name": "audit", "mountPath": "/var/lib/turnpike/audit/"}],
        }
        for path, kept in [("audit/a.jsonl", True), ("audit/../a.jsonl", False), ("/var/lib/turnpike/audit/a", True)]:
            with self.subTest(path):
                sinks = [{"kind": "file", "path": path}]
                self.assertIs(is_taken({"sinks": sinks}, **volume), kept)

    def test_a_store_on_a_volume_of_the_operators_has_the_record_beside_it(self):
        """Where no sinks are written, the gateway writes a file beside its store."""
        schema = json.loads((CHART.parent / "config" / "schema.json").read_text())
        (sink,) = schema["properties"]["audit"]["default"]["sinks"]
        self.assertEqual((sink["kind"], sink["path"]), ("file", "audit.jsonl"), "the chart says so, too")

        def is_taken(store, *mounts):
            values = {
                "persistence": {"enabled": False},
                "config": {"state": {"path": store}},
                "extraVolumes": [
                    {"name": "kept", "persistentVolumeClaim": {"claimName": "kept"}},
                    {"name": "scratch", "emptyDir": {}},
                ],
                "extraVolumeMounts": [{"name": name, "mountPath": path} for name, path in mounts],
            }
            return template("4", BASE, values).returncode == 0

        self.assertTrue(is_taken("/data/turnpike.db", ("kept", "/data")))
        self.assertFalse(is_taken("/data/turnpike.db", ("scratch", "/data")))
        self.assertFalse(is_taken("/database/turnpike.db", ("kept", "/data")))
        # The innermost mount has it, whichever is written first.
        within = [("scratch", "/data"), ("kept", "/data/store")]
        for mounts in (within, within[::-1]):
            self.assertTrue(is_taken("/data/store/turnpike.db", *mounts))
            self.assertFalse(is_taken("/data/turnpike.db", *mounts))
        self.assertFalse(is_taken("/var/lib/turnpike/turnpike.db", ("kept", "/var/lib")))

    def test_an_autoscaler_is_not_fought_over_replicas(self):
        made = render(BASE, FLEET, {"autoscaling": {"hpa": {"enabled": True}}})
        self.assertNotIn("replicas", only(made, "StatefulSet")["spec"])
        self.assertEqual(
            only(made, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["kind"], "StatefulSet"
        )

    def test_the_grace_period_is_a_sum(self):
        def grace(*values):
            return pod(render(BASE, *values))["terminationGracePeriodSeconds"]

        self.assertEqual(grace(), 10 + 600 + 30)
        self.assertEqual(grace({"shutdown": {"lameDuckSeconds": 5, "drainSeconds": 60}}), 95)
        self.assertEqual(grace({"shutdown": {"lameDuckSeconds": 0}}), 600 + 30)
        drain = {"config": {"server": {"drain": {"lame_duck": "1500ms", "limit": "20m"}}}}
        self.assertEqual(grace(drain), 2 + 1200 + 30)
        none = {"config": {"server": {"drain": {"lame_duck": "-1"}}}}
        self.assertEqual(grace(none), 600 + 30)

    def test_a_change_of_the_configuration_restarts_only_when_it_must(self):
        def pods(*values):
            return only(render(BASE, *values), "StatefulSet")["spec"]["template"]

        def webhook(**keys):
            return {"audit": {"sinks": [{"kind": "webhook", "url": "https://a", "secret": "${KEY}", **keys}]}}

        base, hooked = pods(), pods({"config": webhook()})
        for is_taken_over, before in [
            ({"max_retry_credentials": 5, "server": {"limits": {"max_body": "1MiB"}}}, base),
            ({"audit": {"claimed_headers": ["x-user"], "prompts": {"enabled": True}}}, base),
            ({"logging": {"level": "debug"}}, base),
            ({"agent_tokens": {"cache_ttl": "1m"}}, base),
            (webhook(secret="file:/run/other", token="${KEY}"), hooked),
        ]:
            with self.subTest(is_taken_over):
                self.assertEqual(before, pods({"config": is_taken_over}))
        for restarts in [
            {"server": {"port": 9090}},
            {"server": {"threads": 2}},
            {"admin": {"port": 9091}},
            {"state": {"path": "/var/lib/turnpike/b.db"}},
            {"agent_tokens": {"max_concurrent_hashes": 4}},
            {"agent-tokens": {"max-concurrent-hashes": 4}},
            {"audit": {"enabled": False}},
            {"audit": {"spool": {"max": "2GiB"}}},
            webhook(url="https://b"),
            {"logging": {"format": "text"}},
            {"logging": {"file": "/tmp/log"}},
        ]:
            with self.subTest(restarts):
                self.assertNotEqual(hooked["metadata"], pods({"config": restarts})["metadata"])
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
        self.assertEqual(
            set(configuration(render(BASE))),
            {"admin", "api_keys", "auth", "logging", "providers", "server", "state"},
        )

    def test_redis_in_three_modes(self):
        def state(**redis):
            return configuration(render(BASE, FLEET, {"redis": redis}))["state"]

        standalone = state(port=6380, database=3, tls={"enabled": True})
        self.assertEqual(standalone["backend"], "redis")
        self.assertEqual(standalone["redis"]["url"], "rediss://redis:6380/3")
        sentinel = state(
            mode="sentinel", nodes=["s:26379"], masterName="main", existingSecret="r", username="u"
        )["redis"]
        self.assertEqual((sentinel["nodes"], sentinel["master_name"]), (["s:26379"], "main"))
        self.assertEqual(
            (sentinel["username"], sentinel["password"]), ("u", "file:/etc/turnpike/redis/password")
        )
        cluster = state(
            mode="cluster",
            nodes=["a:7000", "b:7001"],
            tls={"enabled": True, "existingSecret": "t", "certKey": "c", "keyKey": "k"},
        )["redis"]
        self.assertEqual(
            cluster["tls"],
            {
                "ca_file": "/etc/turnpike/redis-tls/ca.crt",
                "cert": "/etc/turnpike/redis-tls/c",
                "key": "/etc/turnpike/redis-tls/k",
            },
        )
        made = render(BASE, FLEET, {"redis": {"mode": "cluster", "nodes": ["a:7000", "b:7001", "c:7001"]}})
        egress = only(made, "NetworkPolicy")["spec"]["egress"]
        self.assertIn([6379, 7000, 7001], [[port["port"] for port in rule["ports"]] for rule in egress])

    def test_receivers_of_audit_records_and_traces_are_within_reach(self):
        def ports(config, **egress):
            made = render(BASE, {"config": config, "networkPolicy": {"egress": egress}})
            return [
                port["port"]
                for rule in only(made, "NetworkPolicy")["spec"]["egress"]
                for port in rule["ports"]
                if port["port"] != 53
            ]

        self.assertEqual(ports({}), [443])
        sinks = [
            {"kind": "file", "path": "audit.jsonl"},
            {"kind": "syslog", "address": "tls://siem.example.com:6514"},
            {"kind": "webhook", "url": "https://siem.example.com/llm"},
            {"kind": "splunk_hec", "url": "https://splunk.example.com:8088"},
            {"kind": "otlp", "url": "https://[fd00::1]:4318/otlp"},
            {"kind": "otlp", "url": "${COLLECTOR}"},
        ]
        told = {"audit": {"sinks": sinks}, "telemetry": {"otlp_endpoint": "http://collector:14318"}}
        with_variable = {"env": [*BASE["env"], {"name": "COLLECTOR", "value": "https://c:1"}]}
        made = render(BASE, with_variable, {"config": told})
        (rule,) = [rule for rule in only(made, "NetworkPolicy")["spec"]["egress"] if "to" in rule]
        self.assertEqual([port["port"] for port in rule["ports"]], [443, 6514, 8088, 4318, 14318])
        self.assertEqual(len(rule["to"]), 2, "metadata services excepted")
        self.assertEqual(ports({"telemetry": {"otlp-endpoint": "http://[fd00::1]"}}, ports=[8443]), [8443, 80])

    def test_metadata_services_are_out_of_reach(self):
        egress = only(render(BASE), "NetworkPolicy")["spec"]["egress"]
        anywhere = [peer["ipBlock"] for rule in egress for peer in rule.get("to", []) if "ipBlock" in peer]
        self.assertEqual(anywhere[0], {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]})

    def test_alerts_can_be_left_out(self):
        def alerts(*values):
            groups = only(render(BASE, {"prometheusRule": {"enabled": True}}, *values), "PrometheusRule")[
                "spec"
            ]["groups"]
            return [rule["alert"] for group in groups for rule in group["rules"]]

        everything = alerts()
        self.assertIn("TurnpikeConfigurationNotTakenOver", everything)
        left = alerts({"prometheusRule": {"disabled": [everything[0]]}})
        self.assertEqual(left, everything[1:])

    def test_each_alert_says_where_its_runbook_is_read(self):
        told = {"enabled": True, "runbookBase": "https://git.example.com/turnpike/"}
        groups = only(render(BASE, {"prometheusRule": told}), "PrometheusRule")["spec"]["groups"]
        for rule in [rule for group in groups for rule in group["rules"]]:
            at = f"https://git.example.com/turnpike/docs/operating.md#{rule['alert'].lower()}"
            self.assertEqual(rule["annotations"]["runbook_url"], at)

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
        done = run(
            "4",
            "install",
            "rel",
            str(CHART),
            "--namespace",
            "llm",
            "--dry-run=client",
            values=[BASE, EVERYTHING, FLEET],
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        notes = done.stdout.split("NOTES:")[1]
        for said in ["helm test rel -n llm", "waits for these secrets", "port-forward statefulset/rel-gate"]:
            self.assertIn(said, re.sub(r"\s+", " ", notes))
