from __future__ import annotations

import json
from pathlib import Path

import pytest

from kuma.dp.errors import ControlPlaneUnverified, JoinRefused, JoinTimedOut
from kuma.dp.join import join
from kuma.dp.settings import resolve
from tests.unit.dp.control_plane import AUTHORITY, OTHER_AUTHORITY, ControlPlane, accepted, fingerprint, pem, token

BODY = {"mesh": "default", "name": "web-1", "workdir": "/run/x"}


def _settings(control_plane, environment=None, **flags):
    return resolve(
        {"name": "web-1", "mesh": "default", "cp_address": control_plane.url} | flags,
        {"KUMA_CONTROL_PLANE_RETRY_BACKOFF": "1ms", "KUMA_CONTROL_PLANE_RETRY_MAX_DURATION": "10s"}
        | (environment or {}),
    )


def _in_turn(*answers):
    queue = list(answers)
    return lambda _: queue.pop(0)


async def test_a_token_with_a_fingerprint_is_all_that_is_needed():
    """No CA file: the token says whom to trust, and that CA is passed on for Envoy."""
    with ControlPlane() as control_plane:
        joined = await join(_settings(control_plane, token=token(CaFingerprint=fingerprint())), BODY)

    (request,) = control_plane.requests
    assert joined.address == "127.0.0.1"
    assert b"kuma-envoy-admin.sock" in joined.bootstrap
    assert request["caCert"].strip() == pem().strip()
    assert request["dataplaneToken"] == token(CaFingerprint=fingerprint())
    assert request["name"] == "web-1"


async def test_a_ca_file_verifies(tmp_path: Path):
    """The way of a Kuma user."""
    AUTHORITY.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with ControlPlane() as control_plane:
        await join(_settings(control_plane, token=token(), ca_cert_file=str(tmp_path / "ca.pem")), BODY)

    assert control_plane.requests[0]["caCert"] == pem()


async def test_the_token_never_reaches_someone_with_another_ca():
    """Whoever is in between gets no byte of the request, with fingerprint, CA file or neither."""
    with ControlPlane(authority=OTHER_AUTHORITY) as attacker:
        for settings in (
            _settings(attacker, token=token(CaFingerprint=fingerprint())),
            _settings(attacker, {"KUMA_CONTROL_PLANE_CA_CERT": pem()}, token=token()),
            _settings(attacker, token=token()),
        ):
            with pytest.raises(ControlPlaneUnverified, match="Nothing was sent"):
                await join(settings, BODY)

    assert attacker.bytes_received == 0


async def test_showing_the_true_ca_is_not_enough():
    """The CA's certificate is public: an attacker can show it, but has no certificate signed by it."""
    with (
        ControlPlane(authority=OTHER_AUTHORITY, shown=AUTHORITY) as attacker,
        pytest.raises(ControlPlaneUnverified, match="fingerprint in the token"),
    ):
        await join(_settings(attacker, token=token(CaFingerprint=fingerprint())), BODY)

    assert attacker.bytes_received == 0


async def test_a_certificate_for_another_host_is_refused():
    """The right CA, but not the host this proxy was told to join."""
    with (
        ControlPlane(host="other.example") as control_plane,
        pytest.raises(ControlPlaneUnverified, match="--cp-address whose host"),
    ):
        await join(_settings(control_plane, token=token(CaFingerprint=fingerprint())), BODY)

    assert control_plane.bytes_received == 0


async def test_where_nothing_can_be_verified_the_three_ways_out_are_named():
    """A user without CA and fingerprint learns what to do."""
    with ControlPlane() as control_plane, pytest.raises(ControlPlaneUnverified) as refused:
        await join(_settings(control_plane, token=token()), BODY)

    ways = str(refused.value).splitlines()[1:]
    assert len(ways) == 3
    for way, words in zip(ways, ("kumactl generate dataplane-token", "--ca-cert-file", "--skip-verify"), strict=True):
        assert words in way


async def test_verification_can_be_switched_off():
    """On the user's own responsibility."""
    with ControlPlane(authority=OTHER_AUTHORITY) as control_plane:
        await join(_settings(control_plane, token=token(CaFingerprint=fingerprint()), skip_verify="true"), BODY)

    assert control_plane.requests[0]["caCert"] == ""


@pytest.mark.parametrize(
    "status, text", [(422, b"Dataplane Token is required"), (400, b"not a CA"), (404, b"something else")]
)
async def test_a_refusal_is_final_and_in_the_control_planes_words(status, text):
    """Asking again would get the same answer."""
    with ControlPlane(lambda _: (status, text)) as control_plane, pytest.raises(JoinRefused, match=text.decode()):
        await join(_settings(control_plane, {"KUMA_CONTROL_PLANE_CA_CERT": pem()}), BODY)

    assert len(control_plane.requests) == 1


async def test_a_refusal_cannot_write_on_the_terminal():
    """What a server says is shown as text only."""
    with (
        ControlPlane(lambda _: (422, b"a\x1b[2Jb" + b"c" * 100000)) as control_plane,
        pytest.raises(JoinRefused) as refused,
    ):
        await join(_settings(control_plane, {"KUMA_CONTROL_PLANE_CA_CERT": pem()}), BODY)

    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 3000


async def test_what_may_pass_is_tried_again():
    """Errors of the control plane, a Dataplane that is not there yet, answers that are none."""
    answers = _in_turn(
        (500, b""),
        (408, b""),
        (429, b"busy"),
        (404, b""),
        (404, b"404: Page Not Found"),
        (200, b"{}"),
        (200, b"["),
        accepted(b"x"),
    )
    with ControlPlane(answers) as control_plane:
        joined = await join(_settings(control_plane, {"KUMA_CONTROL_PLANE_CA_CERT": pem()}), BODY)

    assert joined.bootstrap == b"x"
    assert len(control_plane.requests) == 8


async def test_the_token_file_is_read_for_every_attempt(tmp_path: Path):
    """A token that is replaced while the control plane is away is the one that counts."""
    file = tmp_path / "token"
    file.write_text(token(Name="first"))

    def respond(_):
        if not file.read_text().endswith("\n"):
            file.write_text(token(Name="second") + "\n")
            return 503, b""
        return accepted(b"x")

    with ControlPlane(respond) as control_plane:
        settings = _settings(control_plane, {"KUMA_CONTROL_PLANE_CA_CERT": pem()}, token_path=str(file))
        await join(settings, BODY)

    assert [request["dataplaneToken"] for request in control_plane.requests] == [
        token(Name="first"),
        token(Name="second"),
    ]


async def test_giving_up_says_what_was_wrong():
    """After the time given, with the last reason and the setting that gave the time."""
    with ControlPlane() as control_plane:
        gone = _settings(control_plane, {"KUMA_CONTROL_PLANE_RETRY_MAX_DURATION": "20ms"}, token=token())
    with pytest.raises(
        JoinTimedOut, match=r"20ms \(KUMA_CONTROL_PLANE_RETRY_MAX_DURATION\): localhost:[0-9]+: connection refused"
    ):
        await join(gone, BODY)


async def test_the_pause_between_attempts_is_the_configured_one():
    """Three seconds unless configured otherwise."""
    pauses = []

    async def pause(seconds):
        pauses.append(seconds)

    with ControlPlane(_in_turn((500, b""), (500, b""), accepted(b"x"))) as control_plane:
        settings = _settings(
            control_plane,
            {"KUMA_CONTROL_PLANE_CA_CERT": pem(), "KUMA_CONTROL_PLANE_RETRY_BACKOFF": "3s"},
        )
        await join(settings, BODY, pause)

    assert pauses == [3, 3]


async def test_requests_are_json_in_utf8():
    """Also for names beyond ASCII."""
    with ControlPlane() as control_plane:
        await join(_settings(control_plane, {"KUMA_CONTROL_PLANE_CA_CERT": pem()}), BODY | {"workdir": "/run/é"})

    assert json.loads(json.dumps(control_plane.requests[0]))["workdir"] == "/run/é"
