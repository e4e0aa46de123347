"""What a client's certificate means to a running Envoy: the certificates of a mesh carry several URIs."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager
from threading import Event, Thread

import pytest

from kuma.core.model.resource import Key
from kuma.core.policies._kit.rules import InboundRule, InboundRules, Merged, SubsetRule, TagMatch
from kuma.core.policies._kit.spec import Match
from kuma.core.policies.meshtimeout.apply import inbound as time_out
from kuma.core.policies.meshtimeout.spec import Conf as Timeouts
from kuma.core.policies.meshtrafficpermission.apply import inbound as permit
from kuma.core.policies.meshtrafficpermission.spec import Conf, Permissions
from kuma.core.xds.view import TlsMode

WEB = ("spiffe://default/web", "kuma://kuma.io/service/web", "kuma://version/v1")
API = ("spiffe://default/api", "kuma://kuma.io/service/api")
MANY = ("spiffe://default/other", "spiffe://default/web", "kuma://version/v2")
SLY = ("spiffe://default/sly", "kuma://spiffe://default/web/x")
KEY = Key("Any", "default", "mine")


@contextmanager
def silent_application() -> Iterator[int]:
    """An application that takes requests and never answers."""
    done = Event()
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        server.settimeout(0.1)
        kept: list[socket.socket] = []

        def accept() -> None:
            while not done.is_set():
                try:
                    kept.append(server.accept()[0])
                except TimeoutError:
                    continue

        thread = Thread(target=accept)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            done.set()
            thread.join()
            for connection in kept:
                connection.close()


def call(authority, port, uris, server_name="backend.mesh", patience=20.0):
    """The status of a request made with a certificate; "silence" when no answer comes in time."""
    context = ssl.create_default_context(cafile=str(authority.root))
    context.check_hostname = False
    context.load_cert_chain(*authority.certificate(*uris))
    with (
        socket.create_connection(("127.0.0.1", port), timeout=patience) as plain,
        context.wrap_socket(plain, server_hostname=server_name) as secured,
    ):
        secured.sendall(b"GET / HTTP/1.1\r\nhost: backend\r\nconnection: close\r\n\r\n")
        try:
            return secured.recv(4096).split()[1].decode()
        except TimeoutError:
            return "silence"


def answering(drafts):
    """An inbound whose route answers by itself, so that only the permission decides."""
    draft = drafts.inbound("http", TlsMode.STRICT)
    [route] = draft.chains[0].routes()
    route.direct_response.status = 200
    return draft


def _spiffe(value, kind="Exact"):
    return {"spiffeID": {"type": kind, "value": value}}


def _by_identity(**lists):
    conf = Permissions(**{name: tuple(map(Match.model_validate, matches)) for name, matches in lists.items()})
    return InboundRules((InboundRule(None, conf, KEY, "kri_mtp_default___mine_"),))


def _allowed(authority, envoy, draft, clients, **options):
    with envoy.running(draft):
        answers = [call(authority, draft.view.port, uris, **options) for uris in clients]
    assert set(answers) <= {"200", "403"}
    return [answer == "200" for answer in answers]


def test_an_exact_identity_is_allowed_whatever_else_the_certificate_says(drafts, envoy, authority):
    """Any of a client's URIs may be the one allowed; a tag that looks like an identity is none."""
    draft = answering(drafts)
    permit(draft, _by_identity(allow=[_spiffe("spiffe://default/web")]))

    assert _allowed(authority, envoy, draft, [WEB, MANY, API, SLY]) == [True, True, False, False]


def test_a_denied_identity_stays_denied_inside_an_allowed_trust_domain(drafts, envoy, authority):
    """A denial wins over the allowance of a whole prefix, also for a service that is not the first URI."""
    draft = answering(drafts)
    permit(
        draft,
        _by_identity(
            deny=[_spiffe("spiffe://default/web")], allow_with_shadow_deny=[_spiffe("spiffe://default", "Prefix")]
        ),
    )

    assert _allowed(authority, envoy, draft, [WEB, MANY, API]) == [False, False, True]


@pytest.mark.parametrize(("asked", "expected"), [("backend.mesh", True), ("other.mesh", False)])
def test_a_server_name_can_be_demanded(drafts, envoy, authority, asked, expected):
    """A match on the server name holds for the name the client asked for."""
    draft = answering(drafts)
    permit(draft, _by_identity(allow=[{"sni": {"type": "Exact", "value": "backend.mesh"}}]))

    assert _allowed(authority, envoy, draft, [API], server_name=asked) == [expected]


def test_tags_tell_clients_apart(drafts, envoy, authority):
    """Permissions by tags: one version of a service, but not another; nobody else."""
    web, v2 = TagMatch("kuma.io/service", "web"), TagMatch("version", "v2", negated=True)
    draft = answering(drafts)
    permit(draft, InboundRules(subsets=(SubsetRule((web, v2), Merged(Conf(action="Allow"), (KEY,))),)))

    assert _allowed(authority, envoy, draft, [WEB, MANY, API]) == [True, False, False]


def test_without_permission_every_client_is_refused(drafts, envoy, authority):
    """Mutual TLS without any permission: deny all."""
    draft = answering(drafts)
    permit(draft, InboundRules())

    assert _allowed(authority, envoy, draft, [WEB, API]) == [False, False]


def test_a_timeout_for_one_client_spares_the_others(drafts, envoy, authority):
    """The client named is answered 504 after its own timeout; another one still waits."""
    short = Timeouts.model_validate({"http": {"requestTimeout": "100ms"}})
    rule = InboundRule(Match.model_validate(_spiffe("spiffe://default/web")), short, KEY, "kri_mt_default___mine_")
    with silent_application() as port:
        draft = drafts.inbound("http", TlsMode.STRICT, workload_port=port)
        time_out(draft, InboundRules((rule,)))
        with envoy.running(draft):
            answers = [
                call(authority, draft.view.port, uris, patience=patience)
                for uris, patience in ((WEB, 20), (MANY, 20), (API, 0.5), (SLY, 0.5))
            ]

    assert answers == ["504", "504", "silence", "silence"]
