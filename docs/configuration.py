"""Writes the reference part of docs/configuration.md from config/schema.json.

`python3 docs/configuration.py` renews the page; with --check it only says whether it is stale.
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "configuration.md"
BEGIN = "<!-- generated from config/schema.json: make reference -->"
END = "<!-- end of the generated part -->"

SCHEMA = json.loads((ROOT / "config" / "schema.json").read_text())

# How the forms of a text are called.
FORMS = {
    "secret": "secret",
    "secret-or-empty": "secret, or empty",
    "text-or-reference": "text or reference",
    "human-duration": "duration",
    "human-duration-or-off": "duration or -1",
    "byte-size": "size",
    "proxy-url": "proxy URL",
    "decimal": "number",
}


def resolve(node):
    """The schema behind a reference or an optional one; its own words win."""
    for way in ("anyOf", "oneOf"):
        if way in node:
            kinds = [kind for kind in node[way] if kind.get("type") != "null"]
            maps = [kind for kind in kinds if "$ref" in kind]
            rest = {key: value for key, value in node.items() if key != way}
            chosen = resolve((maps or kinds)[0])
            return {**chosen, **rest, "short": len(kinds) > 1}
    if "$ref" in node:
        target = SCHEMA
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        return {**resolve(target), **{key: value for key, value in node.items() if key != "$ref"}}
    return node


def properties(node):
    """A mapping's keys, without their spellings with dashes."""
    return {key: value for key, value in node.get("properties", {}).items() if "-" not in key}


def is_told(inner):
    """Whether keys say more than that they are there: those made of words are told where they are named."""
    return any("description" in value for value in inner.values()) or len(inner) < 12


def type_words(node):
    kinds = node.get("type")
    kind = next((k for k in kinds if k != "null"), "") if isinstance(kinds, list) else kinds
    if "enum" in node:
        return " or ".join(f"`{word}`" for word in node["enum"] if word is not None)
    if node.get("format") in FORMS:
        return FORMS[node["format"]]
    if kind == "array":
        items = resolve(node["items"])
        return f"list of {'entries' if properties(items) else type_words(items) + 's'}"
    if kind == "object":
        return "mapping"
    return {"boolean": "true or false", "integer": "number", "string": "text"}.get(kind, kind or "")


def default_words(node, required):
    if required:
        return "required"
    default = node.get("default")
    if default is None or properties(node):
        return ""
    return f"`{json.dumps(default)}`" if not isinstance(default, str) else f"`{default}`"


def rows(path, node, required=False):
    """A row for this key, then those of the keys in it."""
    node = resolve(node)
    about = " ".join(node.get("description", "").split())
    inner = properties(node)
    if not inner or about:
        yield f"| `{path}` | {type_words(node)} | {default_words(node, required)} | {about} |"
    below = node
    if "items" in node:
        below, path = resolve(node["items"]), f"{path}[]"
    elif isinstance(node.get("additionalProperties"), dict):
        below, path = resolve(node["additionalProperties"]), f"{path}.NAME"
    inner = properties(below)
    for key, value in inner.items() if is_told(inner) else ():
        yield from rows(f"{path}.{key}", value, key in below.get("required", []))


def table(lines):
    return "\n".join(["| key | value | default | what it does |", "|---|---|---|---|", *lines])


def reference():
    """A section a top-level key; keys with entries of one kind share theirs."""
    sections = {}
    for key, node in properties(SCHEMA).items():
        shape = resolve(node)
        same = json.dumps(shape.get("items")) if "items" in shape else key
        sections.setdefault(same, []).append(key)
    for keys in sections.values():
        title = ", ".join(f"`{key}`" for key in keys)
        lines = []
        for key in keys[:-1]:
            lines += list(rows(key, SCHEMA["properties"][key]))[:1]
        last = list(rows(keys[-1], SCHEMA["properties"][keys[-1]]))
        if len(keys) > 1:
            last = [last[0], *(line.replace(f"`{keys[-1]}[]", "`…[]", 1) for line in last[1:])]
        yield f"### {title}\n\n{table(lines + last)}\n"


def main():
    page = PAGE.read_text()
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    renewed = f"{before}{BEGIN}\n\n" + "\n".join(reference()) + f"\n{END}{after}"
    if "--check" in sys.argv[1:]:
        if renewed != page:
            print("docs/configuration.md is stale; renew it: make reference")
            return 1
        print("docs/configuration.md has every key of config/schema.json")
        return 0
    PAGE.write_text(renewed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
