"""The commands to try next, ready to be copied into a second terminal. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from kuma.demo.lines import Line, Span, Tone, line


def advice(kumactl: Sequence[str], config: Path, directory: Path, web_url: str, proxy_pid: int) -> list[Line]:
    """What a newcomer may do with the running mesh; ``kumactl`` is how the program is called here."""
    tool = shlex.join([*kumactl, "--config-file", str(config)])
    here = shlex.quote(str(directory))
    tries = (
        ("who is in the mesh, with which certificate", f"{tool} inspect dataplanes"),
        ("forbid web to call api, and watch the errors come", f"{tool} apply -f {here}/deny.yaml"),
        ("and allow it again", f"{tool} delete meshtrafficpermission deny-web-to-api"),
        ("give api half a second to answer", f"{tool} apply -f {here}/timeout.yaml"),
        ("what the Envoy of web is told to do", f"{tool} inspect dataplane web --type=config"),
        ("end the proxy of api-2: api-1 takes over", f"kill {proxy_pid}"),
    )
    lines = [
        line(
            Span("Open ", Tone.HEAD),
            Span(web_url, Tone.NAME),
            Span(" in a browser, or try in a second terminal:", Tone.HEAD),
        )
    ]
    for why, what in tries:
        lines += [line(Span(f"  # {why}", Tone.FAINT)), line(f"  {what}")]
    return lines
