"""Answers against Kuma's OpenAPI document, where it is at hand."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from tests.contract.api.control_plane import DATAPLANE, TIMEOUT

REFERENCE = Path(__file__).parents[4] / "shared" / "reference" / "openapi.yaml"

pytestmark = pytest.mark.skipif(not REFERENCE.exists(), reason=f"{REFERENCE.name} of Kuma is not at hand")

POLICIES = {
    "meshtimeouts": TIMEOUT,
    "meshretries": {
        "type": "MeshRetry",
        "mesh": "default",
        "name": "again",
        "spec": {"to": [{"targetRef": {"kind": "Mesh"}, "default": {"http": {"numRetries": 3}}}]},
    },
    "meshcircuitbreakers": {
        "type": "MeshCircuitBreaker",
        "mesh": "default",
        "name": "break",
        "spec": {
            "to": [{"targetRef": {"kind": "Mesh"}, "default": {"connectionLimits": {"maxConnections": 2}}}],
        },
    },
    "meshtrafficpermissions": {
        "type": "MeshTrafficPermission",
        "mesh": "default",
        "name": "allow",
        "spec": {"from": [{"targetRef": {"kind": "Mesh"}, "default": {"action": "Allow"}}]},
    },
}
MTLS = {
    "type": "Mesh",
    "name": "secure",
    "mtls": {"enabledBackend": "ca-1", "backends": [{"name": "ca-1", "type": "builtin"}]},
}

READS = [
    ("/", "/"),
    ("/_resources", "/_resources"),
    ("/global-insight", "/global-insight"),
    ("/meshes", "/meshes"),
    ("/meshes/default", "/meshes/{name}"),
    ("/meshes/default/dataplanes", "/meshes/{mesh}/dataplanes"),
    ("/meshes/default/dataplanes/web-1", "/meshes/{mesh}/dataplanes/{name}"),
    ("/meshes/default/dataplanes/_overview", "/meshes/{mesh}/dataplanes/_overview"),
    ("/meshes/default/dataplanes/web-1/_overview", "/meshes/{mesh}/dataplanes/{name}/_overview"),
    ("/meshes/default/dataplanes/web-1/_rules", "/meshes/{mesh}/{resourceType}/{resourceName}/_rules"),
    ("/meshes/default/dataplanes/web-1/_config?shadow=true&include=diff", "/meshes/{mesh}/dataplanes/{name}/_config"),
    ("/meshes/default/secrets", "/meshes/{mesh}/secrets"),
    ("/meshes/default/secrets/s", "/meshes/{mesh}/secrets/{name}"),
    *((f"/meshes/default/{path}", f"/meshes/{{mesh}}/{path}") for path in POLICIES),
    *((f"/meshes/default/{path}/{p['name']}", f"/meshes/{{mesh}}/{path}/{{name}}") for path, p in POLICIES.items()),
    *(
        (
            f"/meshes/default/{path}/{p['name']}/_resources/dataplanes",
            "/meshes/{mesh}/{policyType}/{policyName}/_resources/dataplanes",
        )
        for path, p in POLICIES.items()
    ),
]


@cache
def document() -> Any:
    """Kuma's document."""
    return yaml.load(REFERENCE.read_text(), yaml.CSafeLoader)


def schema(path: str, method: str, status: int) -> Any:
    """The schema of an answer, None where the document says nothing about it."""
    responses = document()["paths"][path][method]["responses"]
    response = responses.get(str(status)) or (responses.get("400") if status >= 400 else None)
    if response is None:
        return None
    if "$ref" in response:
        response = document()["components"]["responses"][response["$ref"].rsplit("/", 1)[1]]
    content = next(iter(response.get("content", {}).values()), None)
    return content and content["schema"]


def faults(body: Any, wanted: Any) -> list[str]:
    """Where a body differs from a schema."""
    validator = jsonschema_rs.Draft202012Validator({**wanted, "components": components()})
    return [f"{list(error.instance_path)}: {error.message}" for error in validator.iter_errors(body)]


@cache
def components() -> Any:
    """What its schemas refer to."""
    return _as_json_schema(document()["components"])


def _as_json_schema(node: Any) -> Any:
    """OpenAPI 3.0 as today's JSON schema; and times as they are printed, not as protobuf keeps them."""
    if isinstance(node, list):
        return [_as_json_schema(item) for item in node]
    if not isinstance(node, dict):
        return node
    if isinstance(node.get("properties"), dict) and set(node["properties"]) == {"nanos", "seconds"}:
        return {"type": "string"}
    made = {key: _as_json_schema(value) for key, value in node.items()}
    return {"anyOf": [made, {"type": "null"}]} if node.get("nullable") is True else made


@pytest.fixture
async def filled(cp, client):
    """One of everything."""
    documents = [("dataplanes", DATAPLANE), *POLICIES.items()]
    documents.append(("secrets", {"type": "Secret", "mesh": "default", "name": "s", "data": "AQI="}))
    for path, resource in documents:
        answer = await client.put(f"/meshes/default/{path}/{resource['name']}", json=resource)
        assert answer.status_code == 201, answer.text
    assert (await client.put("/meshes/secure", json=MTLS)).status_code == 201
    cp.configs.configs = {("web-1", False): {"a": 1}, ("web-1", True): {"a": 2}}
    await cp.connect("web-1")


@pytest.mark.parametrize("url, path", READS)
async def test_an_answer_is_as_documented(client, filled, url, path):
    """Every documented GET of a kind this product has."""
    answer = await client.get(url)

    body = answer.json()
    if body.get("next", "") is None:
        del body["next"]  # the document knows no null; Kuma answers it on the last page all the same
    assert answer.status_code == 200, answer.text
    assert faults(body, schema(path, "get", 200)) == []


@pytest.mark.parametrize("path", ["dataplanes", *POLICIES])
async def test_writing_answers_as_documented(client, filled, path):
    """PUT and DELETE."""
    resource = DATAPLANE if path == "dataplanes" else POLICIES[path]
    url = f"/meshes/default/{path}/{resource['name']}"
    documented = f"/meshes/{{mesh}}/{path}/{{name}}"

    replaced, deleted = await client.put(url, json=resource), await client.delete(url)

    assert (replaced.status_code, deleted.status_code) == (200, 200)
    assert faults(replaced.json(), schema(documented, "put", 200)) == []
    assert faults(deleted.json(), schema(documented, "delete", 200)) == []


@pytest.mark.parametrize("url, status", [("/meshes/none", 404), ("/meshes?size=x", 400), ("/_kri/x", 400)])
async def test_an_error_has_the_documented_fields(client, url, status):
    """All but instance, which Kuma too leaves out unless it traces, and source, which it never had."""
    answer = await client.get(url)

    wanted = document()["components"]["schemas"]["Error"]
    assert answer.status_code == status
    assert set(wanted["required"]) - set(answer.json()) == {"instance"}


CASES = sorted((Path(__file__).parents[2] / "policies").glob("*/cases"))


@pytest.mark.parametrize("folder", CASES, ids=lambda folder: folder.parent.name)
async def test_every_policy_of_the_golden_cases_is_answered_as_documented(client, folder):
    """Kuma's kumactl checks what it reads against this document, and refuses what does not fit."""
    kinds = {kind["name"]: kind for kind in (await client.get("/_resources")).json()["resources"]}
    for case in sorted(folder.glob("*.yaml")):
        _, *resources = yaml.load_all(case.read_text(), yaml.CSafeLoader)
        for resource in resources:
            kind = kinds[resource["type"]]
            if "policy" not in kind:
                continue
            url = f"/meshes/default/{kind['path']}/{resource['name']}"
            answer = await client.put(url, json=resource)
            assert answer.status_code in {200, 201}, f"{case}: {url}: {answer.text}"

            shown = (await client.get(url)).json()

            assert faults(shown, schema(f"/meshes/{{mesh}}/{kind['path']}/{{name}}", "get", 200)) == [], case


async def test_every_documented_path_of_our_kinds_exists(client, filled):
    """A path that the document has and this product not is one of a kind that is not built, or is named here."""
    known = {kind["path"] for kind in (await client.get("/_resources")).json()["resources"]}
    later = re.compile(r"_layout|_policies|_routes|_hostnames|_dataplanes|_inbounds|_outbounds")
    missing = []
    for path in document()["paths"]:
        words = [word for word in path.split("/") if word and not word.startswith("{")]
        ours = not words or words[0].startswith("_") or words[-1] in known or (len(words) > 1 and words[1] in known)
        if not ours or later.search(path):
            continue
        url = re.sub(
            r"\{[^}]*\}", "x", path.replace("{resourceType}", "dataplanes").replace("{policyType}", "meshtimeouts")
        )
        if (await client.get(url)).text == "404: Page Not Found":
            missing.append(path)
    assert missing == []
