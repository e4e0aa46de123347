"""``kumactl config`` keeps track of control planes."""

import stat

import pytest

ADD = ("config", "control-planes", "add")
SEE = 'see "kumactl config control-planes list"'


def test_a_new_user_has_the_control_plane_of_this_machine(bare, home):
    """The first command writes the file."""
    assert bare("config", "control-planes", "list").stdout == (
        "ACTIVE   NAME    ADDRESS\n*        local   http://localhost:5681\n"
    )
    assert bare("config", "view").stdout == (
        "contexts:\n- controlPlane: local\n  name: local\ncontrolPlanes:\n- coordinates:\n    apiServer:\n"
        "      url: http://localhost:5681\n  name: local\ncurrentContext: local\n\n"
    )
    assert stat.S_IMODE((home / ".kumactl" / "config").stat().st_mode) == 0o600


def test_no_config_writes_nothing(bare, home):
    """The built-in configuration is used; changing it is refused."""
    assert "local" in bare("--no-config", "config", "view").stdout
    assert list(home.iterdir()) == []
    result = bare("config", "control-planes", "remove", "--name", "local", "--no-config")
    assert result.stderr == "Error: --no-config writes nothing; leave it out to change the configuration\n"


def test_add_checks_stores_and_switches(bare, cp, home):
    """The check is made without the token; every field is stored."""
    result = bare(
        *ADD, "--name", "prod", "--address", cp.url, "--headers", "a=b,c=d", "--auth-type", "tokens",
        "--auth-conf", "token=geheim", "--ca-cert-file", "/ca", "--client-cert-file", "/c", "--client-key-file", "/k",
        "--skip-verify", "--config-file", "mine",
    )  # fmt: skip
    assert result.stdout == 'added Control Plane "prod"\nswitched active Control Plane to "prod"\n'
    assert (result.exit_code, result.stderr) == (0, "")
    assert "authorization" not in cp.asked[0].headers
    assert cp.asked[0].headers["c"] == "d"
    stored = (home / "mine").read_text()
    for line in ("token: geheim", "authType: tokens", "caCertFile: /ca", "clientKeyFile: /k", "skipVerify: true"):
        assert line in stored
    cp.answer("GET", "/meshes", {"items": []})
    assert bare("get", "meshes", "--config-file", "mine").exit_code == 0
    assert cp.asked[-1].headers["authorization"] == "Bearer geheim"


def test_add_replaces_only_when_told(bare, cp):
    """A name is not lost by accident."""
    assert bare(*ADD, "--name", "a", "--address", cp.url).exit_code == 0
    result = bare(*ADD, "--name", "a", "--address", f"{cp.url}/x", "--skip-check")
    assert result.stderr == (
        'Error: Control Plane with name "a" already exists. Use --overwrite to replace an existing one.\n'
    )
    assert bare(*ADD, "--name", "a", "--address", f"{cp.url}/x", "--skip-check", "--overwrite").exit_code == 0
    assert bare("config", "control-planes", "list").stdout.splitlines()[1:] == [
        "         local   http://localhost:5681",
        f"*        a       {cp.url}/x",
    ]


@pytest.mark.parametrize(
    "args, message",
    [
        ((), 'required flag(s) "name" not set'),
        (("--name", "a"), 'required flag(s) "address" not set'),
        (("--name", "", "--address", "http://a"), "--name must not be empty"),
        (("--name", "a", "--address", "localhost"), 'the address of the control plane "localhost" is not an http'),
        (("--name", "a", "--address", "http://127.0.0.1:1"), "could not connect to the Control Plane API Server: "),
        (("--name", "a", "--address", "http://a", "--auth-type", "tokens"),
         "--auth-conf is not valid: provide token=YOUR_TOKEN"),
        (("--name", "a", "--address", "http://a", "--auth-type", "basic"), '--auth-type "basic" is unknown'),
        (("--name", "a", "--address", "http://a", "--auth-conf", "token=geheim"), "--auth-conf has no effect without"),
        (("--name", "a", "--address", "http://a", "--client-cert-file", "c"), "must be given together"),
    ],
)  # fmt: skip
def test_add_refuses_what_cannot_work(bare, args, message):
    """Before anything is stored; tokens are not repeated."""
    result = bare(*ADD, *args)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: ")
    assert message in result.stderr
    assert "geheim" not in result.stderr
    assert "a  " not in bare("config", "control-planes", "list").stdout


def test_add_wants_a_control_plane_of_this_product(bare, cp):
    """Something else at the address is named; --skip-check goes past it."""
    cp.answer("GET", "/", {"product": "Other", "version": "1"})
    result = bare(*ADD, "--name", "a", "--address", cp.url)
    assert result.stderr == (
        f'Error: {cp.url} is not a Kuma control plane, it says it is "Other"; '
        "check --address, or use --skip-check to add it all the same\n"
    )
    cp.answer("GET", "/", {"product": "Other", "version": "1-preview.2"})
    assert bare(*ADD, "--name", "a", "--address", cp.url).exit_code == 0
    cp.answer("GET", "/", b"gone", 502)
    answered = bare(*ADD, "--name", "b", "--address", cp.url).stderr
    assert "answered: (502): gone; the API's ports are 5681" in answered
    assert answered.endswith("use --skip-check to add it all the same\n")
    assert bare(*ADD, "--name", "b", "--address", cp.url, "--skip-check").exit_code == 0


def test_remove_leaves_an_active_one_or_says_so(bare):
    """After the last there is advice."""
    assert bare(*ADD, "--name", "a", "--address", "http://a", "--skip-check").exit_code == 0
    remove = ("config", "control-planes", "remove", "--name")
    assert bare(*remove, "a").stdout == 'removed Control Plane "a"\nswitched active Control Plane to "local"\n'
    assert (
        bare(*remove, "a").stderr
        == 'Error: there is no Control Plane with name "a"; see "kumactl config control-planes list"\n'
    )
    assert bare(*remove, "local").stdout == (
        'removed Control Plane "local"\nthere is no active Control Plane left. '
        "Use `kumactl config control-planes add` to add a Control Plane and make it active\n"
    )
    assert bare("config", "control-planes", "list").stdout == "ACTIVE   NAME   ADDRESS\n"
    assert bare("get", "meshes").stderr.startswith("Error: failed to list Mesh: no Control Plane is configured; add")


def test_switch_changes_the_active_one(bare):
    """Later commands use it; an unknown name changes nothing."""
    assert bare(*ADD, "--name", "a", "--address", "http://127.0.0.1:1", "--skip-check").exit_code == 0
    switch = ("config", "control-planes", "switch", "--name")
    assert bare(*switch, "local").stdout == 'switched active Control Plane to "local"\n'
    assert (
        bare(*switch, "x").stderr
        == 'Error: there is no Control Plane with name "x"; see "kumactl config control-planes list"\n'
    )
    assert "*        local" in bare("config", "control-planes", "list").stdout


def test_a_context_is_chosen_for_one_command(bare, cp):
    """Without switching; an unknown one is refused."""
    assert bare(*ADD, "--name", "a", "--address", cp.url).exit_code == 0
    assert bare("config", "control-planes", "switch", "--name", "local").exit_code == 0
    cp.answer("GET", "/meshes", {"items": []})
    assert bare("get", "meshes", "--context", "a").exit_code == 0
    assert 'there is no Control Plane with name "x"; see "kumactl config' in bare("--context=x", "get", "meshes").stderr
