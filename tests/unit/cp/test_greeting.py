"""What the start says to whoever reads the log."""

from typing import Any

import pytest
from structlog.testing import capture_logs

from kuma.cp.access.control import ADMINS, Allowed, StaticAccess
from kuma.cp.config import Config
from kuma.cp.greeting import greet

CLOSED = StaticAccess(write_resources=ADMINS)
STRANGERS = Allowed(groups=("mesh-system:unauthenticated",))
ANONYMOUS = Allowed(users=("mesh-system:anonymous",))
OFF = {"enabled": False}


def said(access: StaticAccess = CLOSED, *, with_admin_token: bool = True, **api_server: Any) -> list[Any]:
    """The lines of a start with these settings."""
    with capture_logs() as lines:
        greet(Config(apiServer=api_server), access, None, with_admin_token=with_admin_token)
    return lines


def warnings(access: StaticAccess, **api_server: Any) -> list[str]:
    """What the start warns of."""
    return [line["event"] for line in said(access, **api_server) if line["log_level"] == "warning"]


@pytest.mark.parametrize(
    "servers, api",
    [
        ({}, "http://localhost:5681"),
        ({"http": {"interface": "127.0.0.1"}}, "http://localhost:5681"),
        ({"http": {"interface": "::1"}}, "http://[::1]:5681"),
        ({"http": {"interface": "::"}}, "http://localhost:5681"),
        ({"http": {"interface": "192.0.2.2"}}, "http://192.0.2.2:5681"),
        ({"http": OFF}, "https://localhost:5682"),
        ({"http": OFF, "https": {"interface": "2001:db8::2"}}, "https://[2001:db8::2]:5682"),
        ({"http": OFF, "https": OFF}, "off"),
    ],
)
def test_the_address_of_the_api_is_one_that_answers(servers, api):
    """Or there is none."""
    assert said(**servers)[0]["api"] == api


HTTP = "curl -s http://localhost:5681/global-secrets/admin-user-token"
HTTPS = "curl -sk https://localhost:5682/global-secrets/admin-user-token"
ELSEWHERE = {"interface": "192.0.2.2"}


@pytest.mark.parametrize(
    "settings, command",
    [
        ({}, HTTP),
        ({"http": OFF}, HTTPS),
        ({"http": ELSEWHERE}, HTTPS),
        ({"http": ELSEWHERE, "https": ELSEWHERE}, ""),
        ({"http": OFF, "https": OFF}, ""),
        ({"http": OFF, "https": {"requireClientCert": True}}, ""),
        ({"authn": {"localhostIsAdmin": False}}, ""),
        ({"authn": {"type": "adminClientCerts"}}, ""),
        ({"basePath": "/mesh"}, HTTP.replace("5681", "5681/mesh")),
    ],
)
def test_the_command_that_reads_the_admin_token_is_told_where_it_works(settings, command):
    """A caller of another address than loopback is not local."""
    told = [line["command"] for line in said(**settings) if "command" in line]

    assert told == ([f"{command} | jq -r .data | base64 -d"] if command else [])


def test_there_is_no_such_command_without_a_token():
    """It was deleted, or is made elsewhere."""
    assert not [line for line in said(with_admin_token=False) if "command" in line]


SET = "KUMA_ACCESS_STATIC_{}_GROUPS=mesh-system:admin"


@pytest.mark.parametrize(
    "access, deed, way",
    [
        (StaticAccess(), "change resources", f"set {SET.format('WRITE_RESOURCES')}"),
        (
            StaticAccess(write_resources=ANONYMOUS),
            "change resources",
            "take mesh-system:anonymous out of KUMA_ACCESS_STATIC_WRITE_RESOURCES_USERS",
        ),
        (
            StaticAccess(write_resources=ADMINS, admin_resources=STRANGERS),
            "read and change every secret, the keys of tokens and of authorities among them",
            f"set {SET.format('ADMIN_RESOURCES')}",
        ),
        (
            StaticAccess(write_resources=ADMINS, generate_user_token=STRANGERS),
            "make a token for any user, an administrator among them",
            f"set {SET.format('GENERATE_USER_TOKEN')}",
        ),
    ],
)
def test_what_is_open_to_strangers_is_warned_of_with_the_way_to_close_it(access, deed, way):
    """Whichever list lets them in, and by whichever name."""
    assert warnings(access) == [f"anyone who reaches the API may {deed}; to close it {way}"]


def test_nothing_is_warned_of_where_no_stranger_gets_in():
    """Everything is closed, or only callers on this host reach the API; what is switched off does not count."""
    here = {"interface": "127.0.0.1"}

    assert warnings(CLOSED) == []
    assert warnings(StaticAccess(), http=here, https={"interface": "localhost"}) == []
    assert warnings(StaticAccess(), http=here, https=OFF) == []
    assert len(warnings(StaticAccess(), http=here)) == 1
