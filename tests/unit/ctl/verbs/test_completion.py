"""Shells complete commands, kinds and flags."""

import pytest
from click.testing import CliRunner

from kuma.ctl.cli import root


@pytest.mark.parametrize("shell", ["bash", "fish", "zsh"])
def test_a_script_for_each_shell(bare, shell):
    """Printed without starting that shell."""
    result = bare("completion", shell)
    assert result.exit_code == 0
    assert "_KUMACTL_COMPLETE" in result.stdout
    assert bare("completion", "tcsh").stderr.startswith('Error: unknown command "tcsh" for "kumactl completion"')


@pytest.mark.parametrize(
    "words, found",
    [
        ("kumactl ap", "apply"),
        ("kumactl get meshtimeo", "meshtimeouts"),
        ("kumactl inspect data", "dataplanes"),
        ("kumactl get meshes --api", "--api-timeout"),
        ("kumactl get meshes -o y", "yaml"),
    ],
)
def test_words_are_completed(home, words, found):
    """What the script asks is answered."""
    environment = {
        "_KUMACTL_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    result = CliRunner().invoke(root, env=environment)
    assert f"plain,{found}" in result.stdout.splitlines()
