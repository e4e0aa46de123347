"""The picture of the running demo: as a table on a terminal, as one line for a script. Pure: the time is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from kuma.demo.lines import Line, Span, Tone, columns, line
from kuma.demo.observe import ProxyState
from kuma.demo.statistics import Figures

_ERROR_STAYS_SECONDS: Final = 20.0
_RUNS_OUT: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class EdgeRow:
    """Calls of one service to another; ``encrypted`` is None where nobody can know or the mesh does not reach."""

    source: str
    target: str
    figures: Figures
    encrypted: bool | None = None
    inside: bool = True


@dataclass(frozen=True, slots=True)
class ProxyRow:
    """
    One proxy; ``state`` is None while nothing is known, ``ended`` says how its kuma-dp ended.

    ``stale`` is set while the control plane cannot be asked: then ``state`` is how it was.
    """

    name: str
    pid: int
    state: ProxyState | None
    ended: str = ""
    stale: bool = False


@dataclass(frozen=True, slots=True)
class Picture:
    """All that is shown at a moment. ``now`` belongs to the samples in ``edges``, ``clock`` to certificates."""

    now: float
    clock: datetime
    running: timedelta
    left: timedelta | None
    edges: Sequence[EdgeRow]
    proxies: Sequence[ProxyRow]
    control_plane: str = ""
    """What is wrong with the control plane, if anything."""
    over: bool = False
    """It is the last one: nothing is left to wait for or to end."""


def table(picture: Picture) -> list[Line]:
    """For a terminal."""
    head: list[Line] = [line(), line(Span(f"  {_how_long(picture)}", Tone.FAINT)), line()]
    edges: list[Sequence[Line]] = [_heads("  CALLS", "REQ/S", "P50", "P99", "ERR/S", "ERRORS", "mTLS", "ANSWERED BY")]
    edges += [_edge(row) for row in picture.edges]
    proxies: list[Sequence[Line]] = [_heads("  PROXY", "PID", "STATE", "CERTIFICATE ENDS", "ISSUED BY", "REFUSED")]
    proxies += [_proxy(row, picture.clock) for row in picture.proxies]
    return [
        *head,
        *columns(edges, right=(1, 2, 3, 4, 5)),
        line(),
        *columns(proxies, right=(1,)),
        line(),
        *_news(picture),
    ]


def one_line(picture: Picture) -> Line:
    """For a script."""
    parts = [f"{picture.running.total_seconds():6.1f} s"]
    for row in picture.edges:
        figures = row.figures
        parts.append(
            f"{row.source}->{row.target} {figures.per_second:.1f}/s p50 {_milliseconds(figures.p50)}"
            f" p99 {_milliseconds(figures.p99)} errors {figures.total_errors}{_plain_mutual_tls(row)}"
        )
    online = sum(1 for row in picture.proxies if not row.ended and row.state and row.state.online)
    parts.append(f"proxies online {online}/{len(picture.proxies)}")
    if picture.control_plane:
        parts.append(f"control plane {picture.control_plane}")
    return line("  |  ".join(parts))


def _how_long(picture: Picture) -> str:
    if picture.over:
        return f"ran for {_span(picture.running)}"
    until = f", {_span(picture.left)} left" if picture.left is not None else ""
    return f"running for {_span(picture.running)}{until}"


def _heads(*names: str) -> tuple[Line, ...]:
    return tuple(line(Span(name, Tone.HEAD)) for name in names)


def _edge(row: EdgeRow) -> tuple[Line, ...]:
    figures = row.figures
    failing = Tone.BAD if figures.errors_per_second else Tone.PLAIN
    return (
        line("  ", Span(f"{row.source} → {row.target}", Tone.NAME)),
        line(Span(f"{figures.per_second:.1f}", Tone.PLAIN if figures.per_second else Tone.BAD)),
        line(_milliseconds(figures.p50)),
        line(_milliseconds(figures.p99)),
        line(Span(f"{figures.errors_per_second:.1f}", failing)),
        line(Span(str(figures.total_errors), Tone.ODD if figures.total_errors else Tone.PLAIN)),
        line(_mutual_tls(row)),
        line(_shares(figures.shares)),
    )


def _proxy(row: ProxyRow, clock: datetime) -> tuple[Line, ...]:
    state = row.state
    ends, backend, refused = Span("–", Tone.FAINT), "–", 0
    if state:
        backend, refused = state.backend or "–", state.refused
        if state.certificate_ends:
            left = state.certificate_ends - clock
            tone = Tone.ODD if left < _RUNS_OUT else Tone.PLAIN
            ends = Span(f"in {_span(left)}" if left > timedelta(0) else "has ended", tone)
    return (
        line("  ", Span(row.name, Tone.NAME)),
        line(Span(str(row.pid), Tone.FAINT)),
        line(_condition(row)),
        line(ends),
        line(backend),
        line(Span(str(refused), Tone.BAD if refused else Tone.PLAIN)),
    )


def _condition(row: ProxyRow) -> Span:
    if row.ended:
        return Span(row.ended, Tone.BAD)
    if row.state is None:
        return Span("unknown", Tone.ODD)
    if row.stale:
        return Span("was Online" if row.state.online else "was Offline", Tone.ODD)
    return Span("Online", Tone.GOOD) if row.state.online else Span("Offline", Tone.BAD)


def _news(picture: Picture) -> list[Line]:
    """Errors of the last moments, and a control plane that is away."""
    news: list[Line] = []
    if picture.control_plane:
        news.append(line("  ", Span(f"control plane {picture.control_plane}; ", Tone.BAD), "proxies go on without it"))
    for row in picture.edges:
        error = row.figures.last_error
        if row.inside and error and picture.now - error.at < _ERROR_STAYS_SECONDS:
            ago = _span(timedelta(seconds=picture.now - error.at))
            name = Span(f"{row.source} → {row.target}: ", Tone.NAME)
            news.append(line("  ", name, Span(error.error, Tone.BAD), Span(f" ({ago} ago)", Tone.FAINT)))
    return news if picture.over else [*news, line("  Ctrl-C ends everything.")]


def _mutual_tls(row: EdgeRow) -> Span:
    if row.encrypted is None:
        return Span("–" if not row.inside else "?", Tone.FAINT)
    return Span("yes", Tone.GOOD) if row.encrypted else Span("NO", Tone.BAD)


def _plain_mutual_tls(row: EdgeRow) -> str:
    if not row.inside:
        return ""
    return " mTLS ?" if row.encrypted is None else " mTLS yes" if row.encrypted else " mTLS NO"


def _shares(shares: Mapping[str, float]) -> str:
    if len(shares) <= 1:
        return "".join(shares)
    return ", ".join(f"{name} {share:.0%}" for name, share in shares.items())


def _milliseconds(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    return f"{seconds * 1000:.1f} ms" if seconds < 0.1 else f"{seconds * 1000:.0f} ms"


def _span(value: timedelta) -> str:
    seconds = max(0, round(value.total_seconds()))
    if seconds < 60:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} min {seconds} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} days"
