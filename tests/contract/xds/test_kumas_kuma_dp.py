"""Kuma's own kuma-dp, a Go program, joins: it asks as Kuma's does, and finds in the answer what it looks for."""

import base64
import json
import ssl

import httpx2
import pytest
import yaml
from google.protobuf.json_format import ParseDict

from kuma.core.xds.names import CLUSTER, LISTENER
from kuma.envoy_api.envoy.config.core.v3.base_pb2 import Node
from tests.contract.xds.stack import Proxy, dataplane, eventually

NEVER = "0001-01-01T00:00:00Z"
"""How Go prints a time that was never set."""


async def request(stack, **changed):
    """The request of kuma-dp 2.14.3 on Universal, with its defaults."""
    resource = {**dataplane("web-1", "web"), "creationTime": NEVER, "modificationTime": NEVER}
    return {
        "mesh": "default",
        "name": "web-1",
        "proxyType": "dataplane",
        "dataplaneToken": await stack.token("web-1"),
        "dataplaneTokenPath": "/tmp/kuma-dp-1/web-1",  # noqa: S108 - a text
        "dataplaneResource": json.dumps(resource),
        "version": {
            "kumaDp": {"version": "2.14.3", "gitTag": "v2.14.3", "gitCommit": "abc", "buildDate": "2026-01-01"},
            "envoy": {"version": "1.38.2", "build": "abc/1.38.2/Clean/RELEASE/BoringSSL", "kumaDpCompatible": True},
        },
        "caCert": stack.tls.ca_pem.decode(),
        "dynamicMetadata": {"version.dependencies.coredns": "1.12.0"},
        "dnsPort": 15054,
        "readinessPort": 9902,
        "operatingSystem": "linux",
        "features": [
            "feature-tcp-accesslog-via-named-pipe",
            "feature-otel-via-kuma-dp",
            "feature-strict-inbound-ports",
            "feature-reuse-port",
        ],
        "resources": {"maxHeapSizeBytes": 0},
        "workdir": "/tmp/kuma-dp-1",  # noqa: S108 - a text
        "metricsResources": {"certPath": "", "keyPath": ""},
        "systemCaPath": "/etc/ssl/certs/ca-certificates.crt",
        "ipv6Enabled": False,
        "spireResources": {"socketPath": ""},
        **changed,
    }


async def post(stack, body):
    """As Go sends it."""
    context = ssl.create_default_context(cadata=stack.tls.ca_pem.decode())
    headers = {"accept": "application/json", "content-type": "application/json", "user-agent": "Go-http-client/2.0"}
    url = f"https://localhost:{stack.port}/bootstrap"
    async with httpx2.AsyncClient(verify=context, trust_env=False, http2=True) as client:
        return await client.post(url, json=body, headers=headers)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"features": None, "dynamicMetadata": None, "otelEnv": None, "dataplaneConfig": None},
        {"a field of a later release": {"x": 1}, "proxyType": ""},
    ],
    ids=["as it is", "Go's null", "a later release"],
)
async def test_the_answer_has_the_shape_that_kumas_kuma_dp_reads(stack, changed):
    """Base64 of the bootstrap, and the sidecar's part with an empty list where Go would trip over null."""
    answer = await post(stack, await request(stack, **changed))

    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    told = answer.json()
    assert told.keys() == {"bootstrap", "kumaSidecarConfiguration"}
    assert told["kumaSidecarConfiguration"] == {
        "networking": {"corefileTemplate": None, "address": "10.0.0.1"},
        "metrics": {"aggregate": []},
    }
    assert yaml.safe_load(base64.b64decode(told["bootstrap"], validate=True))["node"]["id"] == "default.web-1"


async def test_it_joins_with_what_the_bootstrap_says(stack):
    """Its Envoy opens the stream with the node and the credential of the bootstrap, and is configured."""
    told = (await post(stack, await request(stack))).json()
    bootstrap = yaml.safe_load(base64.b64decode(told["bootstrap"]))
    ads = bootstrap["dynamicResources"]["adsConfig"]
    (service,) = ads["grpcServices"]
    (credential,) = service["initialMetadata"]
    assert credential["key"] == "authorization"

    proxy = Proxy(stack, ParseDict(bootstrap["node"], Node()), credential["value"], ads["apiType"] == "DELTA_GRPC")
    async with proxy.connected():
        await eventually(lambda: proxy.names(LISTENER) and proxy.names(CLUSTER))

        async def versions():
            subscriptions = (await stack.insight("web-1")).get("subscriptions")
            return subscriptions and subscriptions[-1]["version"]

        shown = await eventually(versions)
    assert shown["kumaDp"]["version"] == "2.14.3"
    assert shown["envoy"] == {
        "version": "1.38.2",
        "build": "abc/1.38.2/Clean/RELEASE/BoringSSL",
        "kumaDpCompatible": True,
    }
    assert shown["dependencies"] == {"coredns": "1.12.0"}


async def test_it_is_refused_as_kuma_refuses(stack):
    """A status that ends it with the text, or one with which it asks again."""
    unknown = await post(stack, await request(stack, dataplaneResource=""))
    no_token = await post(stack, await request(stack, dataplaneToken="", dataplaneTokenPath=""))

    assert (unknown.status_code, unknown.content) == (404, b"")
    assert no_token.status_code == 422
    assert "Dataplane Token is required" in no_token.text
