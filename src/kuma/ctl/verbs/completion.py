"""``kumactl completion``: scripts that let a shell complete commands, flags and kinds."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from kuma.ctl.flags import Command, Group

_ENABLE = {
    "bash": "source <(kumactl completion bash)",
    "zsh": "source <(kumactl completion zsh)",
    "fish": "kumactl completion fish | source",
}


@click.group("completion", cls=Group)
def completion() -> None:
    """Print a shell completion script."""


def _command(shell: str) -> click.Command:
    def show() -> None:
        found = get_completion_class(shell)
        if found is None:
            raise RuntimeError(f"click cannot complete for {shell}")
        script = found(click.Group(), {}, "kumactl", "_KUMACTL_COMPLETE")
        # Not `script.source()`: that would start the shell only to ask for its version.
        click.echo(script.source_template % script.source_vars())

    help_text = f"Print the completion script of {shell}.\n\nTo use it now: {_ENABLE[shell]}"
    return Command(shell, callback=show, help=help_text)


for _shell in _ENABLE:
    completion.add_command(_command(_shell))
