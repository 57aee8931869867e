"""Whether an object is one that Kubernetes, or the one who defined its kind, would take."""

import json
import warnings
from functools import cache

import jsonschema
import kubernetes_validate
import yaml

from chart import HERE

KUBERNETES = ["1.30", "1.34", "1.37"]


def strict(schema):
    """Where properties are named, no others may be there."""
    if isinstance(schema, list):
        return [strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: strict(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict):
        closed["properties"] = {key: strict(value) for key, value in schema["properties"].items()}
        closed.setdefault("additionalProperties", False)
        closed.setdefault("type", "object")
    return closed


def load():
    crds = yaml.safe_load((HERE / "crds.yaml").read_text())
    return {name: strict(schema) for name, schema in crds.items()}


CRDS = load()


def check(one):
    """Raises where it would not."""
    check_text(json.dumps(one))


@cache
def check_text(text):
    """Most objects are the same whatever the values are: each is looked at once."""
    one = json.loads(text)
    name = f"{one['apiVersion']} {one['kind']}"
    if name not in CRDS:
        for version in KUBERNETES:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                kubernetes_validate.validate(one, version, strict=True)
        return
    unknown = set(one) - {"apiVersion", "kind", "metadata", "spec"}
    assert not unknown, f"{name}: {unknown}"
    jsonschema.validate(one["spec"], CRDS[name])
    # Metadata is as that of any other object.
    kubernetes_validate.validate(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": one["metadata"]}, KUBERNETES[-1], strict=True
    )
