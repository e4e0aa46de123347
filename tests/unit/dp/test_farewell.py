from __future__ import annotations

import pytest

from kuma.dp.farewell import say_farewell
from kuma.dp.proxy import Proxy
from kuma.dp.settings import resolve
from tests.unit.dp.control_plane import OTHER_AUTHORITY, ControlPlane, fingerprint, token

WEB = Proxy("default", "web-1", "dataplane")
TOKEN = token(CaFingerprint=fingerprint())


def _settings(control_plane, **flags):
    return resolve({"name": "web-1", "mesh": "default", "cp_address": control_plane.url, "token": TOKEN} | flags, {})


async def test_it_asks_until_all_know():
    """As who it is, with its token; an error of the moment is asked again."""
    asked, answers = [], [(202, b""), (500, b""), (429, b""), (204, b"")]

    def farewell(node, credential):
        asked.append((node, credential))
        return answers.pop(0)

    pauses = []

    async def pause(seconds):
        pauses.append(seconds)

    with ControlPlane() as control_plane:
        control_plane.farewell = farewell
        assert await say_farewell(_settings(control_plane), WEB, pause)

    assert asked == [(f"default.web-1\n{WEB.run}", TOKEN)] * 4
    assert len(pauses) == 3


@pytest.mark.parametrize(
    "status, text", [(404, b"404: Page Not Found"), (401, b"token is revoked"), (409, b"another"), (400, b"")]
)
async def test_a_refusal_is_told_once(status, text, caplog):
    """Kuma's own control plane does not know the request; others may refuse the token."""
    caplog.set_level("INFO")
    with ControlPlane() as control_plane:
        control_plane.farewell = lambda *_: (status, text)
        assert not await say_farewell(_settings(control_plane), WEB)

    (record,) = caplog.records
    assert (text.decode() or str(status)) in record.getMessage()


async def test_a_control_plane_that_is_away_is_asked_again(caplog):
    """It may come back while this proxy drains; the log says so once."""
    caplog.set_level("INFO")
    with ControlPlane() as control_plane:
        settings = _settings(control_plane)
    tries = []

    class _Enough(Exception):
        pass

    async def pause(_):
        tries.append(1)
        if len(tries) == 3:
            raise _Enough

    with pytest.raises(_Enough):
        await say_farewell(settings, WEB, pause)

    assert [record.getMessage().count("connection refused") for record in caplog.records] == [1]


async def test_the_token_goes_to_the_control_plane_only(caplog):
    """Whoever else answers gets nothing."""
    with ControlPlane(authority=OTHER_AUTHORITY) as attacker:
        assert not await say_farewell(_settings(attacker), WEB)

    assert attacker.bytes_received == 0
