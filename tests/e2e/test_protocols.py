"""HTTP/1.1, HTTP/2, gRPC and raw TCP travel through real Envoys, with and without mutual TLS."""

from __future__ import annotations

import http.client
import json

import pytest

from tests.e2e.harness import clients, documents
from tests.e2e.harness.documents import Inbound, builtin, permission
from tests.e2e.harness.lab import Lab
from tests.e2e.harness.ports import free_port
from tests.e2e.harness.proxy import Proxy
from tests.e2e.harness.waiting import wait_until

SERVICES = ("web", "web2", "rpc", "raw")


def everything(lab: Lab, mesh: str) -> Proxy:
    """One proxy that offers a service of each protocol, and a second one that calls them all; the second."""
    web, web2, rpc, raw = lab.http("web-1"), lab.http("web2-1"), lab.grpc("rpc-1"), lab.tcp("raw-1")
    inbounds = [
        Inbound("web", "http", free_port(), web.port),
        Inbound("web2", "http2", free_port(), web2.port),
        Inbound("rpc", "grpc", free_port(), rpc.port),
        Inbound("raw", "tcp", free_port(), raw.port),
    ]
    lab.proxy("servers", mesh=mesh, inbounds=inbounds).start()
    return lab.proxy("caller", mesh=mesh, calls=SERVICES).start()


def assert_all_answer(caller: Proxy) -> None:
    """Every protocol reaches the instance behind the other proxy."""
    wait_until(lambda: clients.http1(caller.outbound("web")) == "web-1", "HTTP/1.1 is answered")
    wait_until(lambda: clients.http2(caller.outbound("web2")) == "web2-1", "HTTP/2 is answered")
    wait_until(lambda: clients.grpc_unary(caller.outbound("rpc")) == "rpc-1", "a unary gRPC call is answered")
    assert clients.grpc_stream(caller.outbound("rpc")) == "rpc-1"
    wait_until(lambda: clients.tcp(caller.outbound("raw")) == "raw-1", "raw bytes are answered")


@pytest.mark.parametrize("variant", ["DELTA_GRPC", "GRPC"])
def test_each_protocol_without_mutual_tls(lab, variant):
    """Without mutual TLS every protocol works, whichever way configuration travels: delta or state of the world."""
    mesh = f"plain-{variant[:5].lower().strip('_')}"
    lab.mesh(documents.mesh(mesh))
    lab.proxy_env["KUMA_DATAPLANE_RUNTIME_ENVOY_XDS_TRANSPORT_PROTOCOL_VARIANT"] = variant

    caller = everything(lab, mesh)

    assert_all_answer(caller)
    web = clients.http1_answer(caller.outbound("web"))
    assert web.headers["x-protocol"] == "HTTP/1.1", "the application is spoken to in the protocol of its inbound"
    web2 = clients.http2_answer(caller.outbound("web2"))
    assert web2.headers["x-protocol"] == "HTTP/2"


@pytest.mark.parametrize("variant", ["DELTA_GRPC", "GRPC"])
def test_each_protocol_with_mutual_tls(lab, variant):
    """With strict mutual TLS and a permission every protocol works, and the service learns who called."""
    mesh = f"secure-{variant[:5].lower().strip('_')}"
    lab.mesh(documents.mesh(mesh, builtin("ca-1")))
    lab.mesh(permission(mesh, "everyone"))
    lab.proxy_env["KUMA_DATAPLANE_RUNTIME_ENVOY_XDS_TRANSPORT_PROTOCOL_VARIANT"] = variant

    caller = everything(lab, mesh)

    assert_all_answer(caller)
    answer = clients.http1_answer(caller.outbound("web"))
    assert f"URI=spiffe://{mesh}/caller" in answer.headers["x-seen-identity"]


def test_without_a_permission_mutual_tls_denies_every_protocol(lab):
    """Mutual TLS with nothing permitted lets nothing through, and the answer to switching it on says so."""
    result = lab.control_plane.kumactl.run("apply", "-f", "-", stdin=documents.mesh("closed", builtin("ca-1")))
    assert result.code == 0, result.err
    assert "Warning:" in result.err
    assert "MeshTrafficPermission" in result.err

    caller = everything(lab, "closed")

    wait_until(lambda: clients.http1_answer(caller.outbound("web")).status == 403, "HTTP is denied")
    assert clients.http2_answer(caller.outbound("web2")).status == 403
    with pytest.raises(clients.CallFailed, match="PERMISSION_DENIED"):
        clients.grpc_unary(caller.outbound("rpc"))
    with pytest.raises(clients.CallFailed):
        clients.tcp(caller.outbound("raw"))


def test_permission_for_one_caller_opens_one_service_for_it(lab):
    """A permission for one caller to one service opens exactly that, and taking it away closes it again."""
    lab.mesh(documents.mesh("partial", builtin("ca-1")))
    lab.mesh(permission("partial", "caller-to-web", to="web", source="caller"))
    caller = everything(lab, "partial")
    other = lab.proxy("other", mesh="partial", calls=("web",)).start()

    wait_until(lambda: clients.http1(caller.outbound("web")) == "web-1", "the permitted call is answered")
    wait_until(lambda: clients.http1_answer(other.outbound("web")).status == 403, "another caller is denied")
    wait_until(lambda: clients.http2_answer(caller.outbound("web2")).status == 403, "another service is closed")

    lab.control_plane.kumactl("delete", "meshtrafficpermission", "caller-to-web", "--mesh", "partial")

    wait_until(lambda: clients.http1_answer(caller.outbound("web")).status == 403, "the permission is gone")


def test_inspect_shows_what_a_proxy_runs(lab):
    """``kumactl inspect dataplane`` shows the policies, the dump, the statistics and the clusters of a live proxy."""
    lab.mesh(documents.mesh("shown"))
    caller = everything(lab, "shown")
    wait_until(lambda: clients.http1(caller.outbound("web")) == "web-1", "HTTP/1.1 is answered")
    kumactl = lab.control_plane.kumactl

    dump = json.loads(kumactl("inspect", "dataplane", "caller", "--mesh", "shown", "--type", "config-dump"))
    assert {section["@type"].rpartition(".")[2] for section in dump["configs"]} >= {"ListenersConfigDump"}
    assert "cluster.web.upstream_rq" in kumactl("inspect", "dataplane", "caller", "-m", "shown", "--type", "stats")
    assert "web::" in kumactl("inspect", "dataplane", "caller", "-m", "shown", "--type", "clusters")
    assert "mesh-timeout-all-shown" in kumactl("inspect", "dataplane", "caller", "-m", "shown")
    config = json.loads(kumactl("inspect", "dataplane", "caller", "-m", "shown", "--type", "config"))
    assert f"outbound:127.0.0.1:{caller.outbound('web')}" in json.dumps(config)
    table = kumactl("inspect", "dataplanes", "-m", "shown")
    assert [line.split()[:2] for line in table.splitlines()] == [
        ["MESH", "NAME"],
        ["shown", "caller"],
        ["shown", "servers"],
    ]
    assert "Online" in table
    services = kumactl("inspect", "services", "-m", "shown")
    wait_until(lambda: "web" in services, "the service is listed")


def test_inspect_reaches_a_proxy_at_an_address_of_its_own(lab):
    """A proxy at another address than its admin interface is reached over mutual TLS, and by the control plane only."""
    proxy = lab.proxy("elsewhere", address="127.0.0.2").start()

    stats = lab.control_plane.kumactl("inspect", "dataplane", "elsewhere", "--type", "stats")

    assert "listener_manager.total_listeners_active" in stats
    ready = http.client.HTTPConnection("127.0.0.2", proxy.admin_port, timeout=5)
    try:
        ready.request("GET", "/ready")
        assert ready.getresponse().status == 200, "readiness may be asked by anyone"
    finally:
        ready.close()
    stranger = http.client.HTTPConnection("127.0.0.2", proxy.admin_port, timeout=5)
    try:
        stranger.request("GET", "/config_dump")
        assert stranger.getresponse().status == 404, "nothing else is there without a certificate"
    finally:
        stranger.close()
