"""
Whether a document is one: schemas of the API, and of the few custom resources that are used.

Those of the API come with the package kubernetes-validate, strict: an unknown field is a mistake.
KServe's, KEDA's and the Prometheus operator's are in custom_resources.yaml, which states what it
covers.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any, Final

import jsonschema
import referencing
import yaml
from kubernetes_validate import utils as kubernetes_validate

from tests.kubernetes.rendered import PLACES, Document, parsed

VERSIONS: Final = tuple(dict.fromkeys(kubernetes_validate.all_versions()))[-3:]
"""The three newest that the package knows."""
NEWEST: Final = VERSIONS[-1]
CUSTOM: Final = Path(__file__).with_name("custom_resources.yaml")


def problems(doc: Document, version: str = NEWEST) -> list[str]:
    """Return what is wrong with one document, by its schema."""
    kind, api = doc.get("kind", ""), doc.get("apiVersion", "")
    custom = _custom().get((api, kind))
    if custom is not None:
        validator = jsonschema.Draft202012Validator(custom, registry=_definitions(version))
    else:
        found = _of_the_api(kind, api, version)
        if found is None:
            return [f"{api} {kind}: no such kind"]
        validator = found
    return [
        f"{kind}: {'.'.join(map(str, error.absolute_path))}: {error.message[:200]}"
        for error in validator.iter_errors(doc)
    ]


def is_custom(doc: Document) -> bool:
    """Tell whether a document is of an operator's kind, and not of the API's own."""
    return (doc.get("apiVersion"), doc.get("kind")) in _custom()


@functools.cache
def _folder(version: str) -> Any:
    package = resources.files("kubernetes_validate") / "kubernetes-json-schema"
    return package / f"v{version}-local-strict"


@functools.cache
def _definitions(version: str) -> referencing.Registry[Any]:
    document = json.loads((_folder(version) / "_definitions.json").read_text())
    return referencing.Resource.from_contents(document) @ referencing.Registry()


@functools.cache
def _of_the_api(kind: str, api: str, version: str) -> jsonschema.Draft202012Validator | None:
    group, _, number = api.rpartition("/")
    name = f"{kind.lower()}-{group.split('.')[0] + '-' if group else ''}{number}.json"
    file = _folder(version) / name
    if not file.is_file():
        return None
    return jsonschema.Draft202012Validator(
        json.loads(file.read_text()), registry=_definitions(version)
    )


@functools.cache
def _custom() -> dict[tuple[str, str], Document]:
    definitions = json.loads((_folder(NEWEST) / "_definitions.json").read_text())
    text = CUSTOM.read_text().replace("urn:kubernetes", definitions["$id"])
    schemas = yaml.safe_load(text)["resources"]
    return {(one["apiVersion"], one["kind"]): one["schema"] for one in schemas}


def of_crds(folder: Path) -> Iterator[tuple[str, str, Document]]:
    """Yield (apiVersion, kind, schema), strict, of the CustomResourceDefinitions in a folder."""
    for path in sorted(folder.glob("*.yaml")):
        for crd in yaml.load_all(path.read_text(), yaml.CSafeLoader):
            if not crd or crd.get("kind") != "CustomResourceDefinition":
                continue
            for version in crd["spec"]["versions"]:
                schema = version["schema"]["openAPIV3Schema"]
                _forbid_unknown(schema)
                schema["properties"]["metadata"] = {"type": "object"}
                group, kind = crd["spec"]["group"], crd["spec"]["names"]["kind"]
                yield f"{group}/{version['name']}", kind, schema


def _forbid_unknown(schema: Any) -> None:
    if isinstance(schema, dict):
        if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
            schema.setdefault("additionalProperties", False)
        for value in schema.values():
            _forbid_unknown(value)
    elif isinstance(schema, list):
        for value in schema:
            _forbid_unknown(value)


def main(folder: Path) -> int:
    """Check the manifests against the operators' own definitions; 1 if something is wrong."""
    known = {(api, kind): schema for api, kind, schema in of_crds(folder)}
    wrong, checked = 0, set()
    for name in PLACES:
        for doc in parsed(name):
            if (doc["apiVersion"], doc["kind"]) not in _custom():
                continue
            schema = known.get((doc["apiVersion"], doc["kind"]))
            if schema is None:
                print(f"{name}: no definition of {doc['apiVersion']} {doc['kind']} in {folder}")
                wrong += 1
                continue
            checked.add(doc["kind"])
            for error in jsonschema.Draft202012Validator(schema).iter_errors(doc):
                place = ".".join(map(str, error.absolute_path))
                print(f"{name}: {doc['kind']}: {place}: {error.message[:200]}")
                wrong += 1
    print(f"checked: {', '.join(sorted(checked))}; {wrong} wrong")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
