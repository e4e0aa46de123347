"""``kumactl inspect <policy> NAME`` shows whom a policy concerns."""

import json

import pytest

from kuma.core.model.kinds import KINDS

REFUSAL = {"type": "Listener", "message": "Didn't find a registered implementation for 'lua'\n"}
OLD = {
    "total": 2,
    "items": [
        {"kind": "SidecarDataplane", "dataplane": {"mesh": "default", "name": "web-1"}, "attachments": []},
        {"kind": "SidecarDataplane", "dataplane": {"mesh": "default", "name": "web-2"}, "refusals": [REFUSAL]},
    ],
}
NEW = {
    "total": 2,
    "items": [
        {"labels": {}, "mesh": "default", "name": "web-1", "type": "Dataplane", "refusals": [{"message": "bad patch"}]},
        {"labels": {}, "mesh": "default", "name": "web-2", "type": "Dataplane"},
    ],
}


def test_the_proxies_of_a_policy(kumactl, cp):
    """By name; a proxy that refuses its configuration says why, which need not be because of this policy."""
    cp.answer("GET", "/meshes/default/meshproxypatches/lua/dataplanes", OLD)

    result = kumactl("inspect", "meshproxypatch", "lua")

    assert result.exit_code == 0
    assert result.stdout == (
        "Affected data plane proxies:\n\n  web-1\n  web-2\n"
        "    keeps its last configuration; refused Listener: Didn't find a registered implementation for 'lua'\n"
        "\nEnvoy does not say which policy it refuses: it may be another one of the same proxy.\n"
    )
    assert json.loads(kumactl("inspect", "meshproxypatch", "lua", "-ojson").stdout) == OLD


def test_the_proxies_of_a_policy_as_a_table(kumactl, cp):
    """In pages; a proxy for which nothing can be computed is named with the reason."""
    cp.answer("GET", "/meshes/m/meshtimeouts/t/_resources/dataplanes?offset=5", NEW)

    result = kumactl("inspect", "meshtimeout", "t", "-m", "m", "--new-api", "--offset", "5")

    assert result.stdout.splitlines() == [
        "TYPE        MESH      NAME",
        "Dataplane   default   web-1",
        "Dataplane   default   web-2",
        "",
        "Total: 2",
        "web-1 keeps its last configuration; no configuration can be made: bad patch",
    ]


def test_a_policy_that_is_not_there(kumactl, cp):
    """Named, with the command that lists what is there."""
    result = kumactl("inspect", "meshretry", "none")

    assert result.exit_code == 1
    assert result.stderr.startswith('Error: there is no MeshRetry "none" in mesh "default"')
    assert 'see "kumactl get meshretries --mesh default"' in result.stderr


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.inspectable], ids=lambda kind: kind.name)
def test_every_policy_has_its_command(kumactl, cp, kind):
    """A kind in the registry is a command."""
    cp.answer("GET", f"/meshes/default/{kind.path}/x/dataplanes", {"total": 0, "items": []})

    assert kumactl("inspect", kind.one, "x").exit_code == 0


def test_a_page_needs_the_table(kumactl, cp):
    """Said, not ignored."""
    result = kumactl("inspect", "meshtimeout", "t", "--offset", "5")

    assert "--offset needs --new-api" in result.stderr
    assert result.exit_code != 0
