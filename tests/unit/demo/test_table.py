"""The picture of the running demo, as a person sees it and as a script reads it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from kuma.demo.lines import Look, painted
from kuma.demo.observe import ProxyState
from kuma.demo.statistics import Figures, Sample
from kuma.demo.table import EdgeRow, Picture, ProxyRow, one_line, table

CLOCK = datetime(2026, 3, 1, 12, tzinfo=UTC)
CALM = Figures(20.0, 0.0, 0.0021, 0.0098, 240, 0, {"api-1": 0.5, "api-2": 0.5})
ONLINE = ProxyState(online=True, certificate_ends=CLOCK + timedelta(hours=23, minutes=59), backend="ca-1")
PICTURE = Picture(
    now=100,
    clock=CLOCK,
    running=timedelta(seconds=12),
    left=None,
    edges=(
        EdgeRow("you", "web", replace(CALM, shares={"web": 1.0}), inside=False),
        EdgeRow("web", "api", CALM, encrypted=True),
        EdgeRow("web", "kv", replace(CALM, p50=None, p99=0.25, shares={})),
    ),
    proxies=(ProxyRow("web", 4711, ONLINE), ProxyRow("api-1", 12, None)),
)


def _lines_of(picture: Picture) -> list[str]:
    return [painted(one, Look(colour=False)).rstrip() for one in table(picture)]


def test_calm_mesh():
    """Every edge with its rate, latency, errors and encryption; every proxy with its state and certificate."""
    assert _lines_of(PICTURE) == [
        "",
        "  running for 12 s",
        "",
        "  CALLS       REQ/S      P50      P99   ERR/S   ERRORS   mTLS   ANSWERED BY",
        "  you → web    20.0   2.1 ms   9.8 ms     0.0        0   –      web",
        "  web → api    20.0   2.1 ms   9.8 ms     0.0        0   yes    api-1 50%, api-2 50%",
        "  web → kv     20.0        –   250 ms     0.0        0   ?",
        "",
        "  PROXY    PID   STATE     CERTIFICATE ENDS   ISSUED BY   REFUSED",
        "  web     4711   Online    in 23 h 59 min     ca-1        0",
        "  api-1     12   unknown   –                  –           0",
        "",
        "  Ctrl-C ends everything.",
    ]


def test_errors_are_told_with_their_text_for_a_while():
    """Who denied traffic sees why calls fail; an old error is no longer news."""
    denied = replace(CALM, errors_per_second=14.0, total_errors=140, last_error=Sample(97, 0.1, error="403 RBAC"))
    edges = (PICTURE.edges[0], replace(PICTURE.edges[1], figures=denied, encrypted=False))

    shown = _lines_of(replace(PICTURE, edges=edges))

    assert "  web → api    20.0   2.1 ms   9.8 ms    14.0      140   NO     api-1 50%, api-2 50%" in shown
    assert "  web → api: 403 RBAC (3 s ago)" in shown
    assert not any("403 RBAC" in text for text in _lines_of(replace(PICTURE, edges=edges, now=200)))


def test_a_control_plane_that_is_away():
    """What is shown of proxies is then how they were, and the table says so."""
    proxies = (ProxyRow("web", 4711, ONLINE, stale=True), ProxyRow("kv", 9, ONLINE, "was ended by SIGKILL", stale=True))

    shown = _lines_of(replace(PICTURE, proxies=proxies, control_plane="does not answer"))

    assert "  control plane does not answer; proxies go on without it" in shown
    assert "  web     4711   was Online             in 23 h 59 min     ca-1        0" in shown
    assert "  kv         9   was ended by SIGKILL   in 23 h 59 min     ca-1        0" in shown


def test_offline_and_refused():
    """A proxy that is away, has an ended certificate and refused configurations shows all three."""
    state = ProxyState(online=False, certificate_ends=CLOCK - timedelta(minutes=1), backend="ca-1", refused=2)

    shown = _lines_of(replace(PICTURE, proxies=(ProxyRow("web", 4711, state),)))

    assert "  web     4711   Offline   has ended          ca-1        2" in shown


def test_time_left_is_shown_when_there_is_an_end():
    """With --duration one sees how long it still takes."""
    assert "  running for 12 s, 1 min 48 s left" in _lines_of(replace(PICTURE, left=timedelta(seconds=108)))


def test_the_last_table_offers_nothing_that_is_over():
    """Neither time that is left nor a key that ends what has ended."""
    shown = _lines_of(replace(PICTURE, left=timedelta(seconds=108), over=True))

    assert shown[1] == "  ran for 12 s"
    assert not any("left" in text or "Ctrl-C" in text for text in shown)


def test_one_line_for_a_script():
    """All that counts, on one line."""
    shown = painted(one_line(PICTURE), Look(colour=False))

    assert shown == (
        "  12.0 s  |  you->web 20.0/s p50 2.1 ms p99 9.8 ms errors 0"
        "  |  web->api 20.0/s p50 2.1 ms p99 9.8 ms errors 0 mTLS yes"
        "  |  web->kv 20.0/s p50 – p99 250 ms errors 0 mTLS ?"
        "  |  proxies online 1/2"
    )
