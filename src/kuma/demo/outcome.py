"""What a finished run was worth: the sentences at the end, and whether a script may be content. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kuma.demo.table import EdgeRow, Picture, ProxyRow


def shortcomings(picture: Picture, ended: Sequence[str]) -> tuple[str, ...]:
    """
    Why the run was not what it should be; nothing when it was.

    ``ended`` tells of programs that ended by themselves.
    """
    return (*ended, *_of_edges(picture.edges), *_of_proxies(picture.proxies))


def _of_edges(edges: Sequence[EdgeRow]) -> Iterator[str]:
    for row in edges:
        name = f"{row.source} → {row.target}"
        if row.figures.total == 0:
            yield f"{name}: no traffic"
        if row.figures.total_errors and row.figures.last_error:
            yield (
                f"{name}: {row.figures.total_errors} of {row.figures.total} calls failed, "
                f"the last one with: {row.figures.last_error.error}"
            )
        if row.inside and not row.encrypted:
            yield f"{name}: no mutual TLS was seen"


def _of_proxies(proxies: Sequence[ProxyRow]) -> Iterator[str]:
    for row in proxies:
        if row.state is None:
            yield f"{row.name}: the control plane does not know the proxy"
        elif row.state.refused:
            yield f"{row.name}: its Envoy refused {row.state.refused} configurations"
