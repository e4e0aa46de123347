"""The file that remembers control planes keeps what it is given and gives nothing away."""

import os
import stat
from pathlib import Path

import pytest

from kuma.core.errors import ConfigInvalid
from kuma.core.model.text import parse_document
from kuma.ctl import settings
from kuma.ctl.settings import ControlPlane, Settings

FULL = Settings(
    (
        ControlPlane(
            "prod",
            "https://cp:5682",
            ca_cert_file="/ca.pem",
            client_cert_file="/c.pem",
            client_key_file="/c.key",
            headers=(("X-Tenant", "a"),),
            auth_type="tokens",
            auth_conf={"token": "secret-token"},
            skip_verify=True,
        ),
        ControlPlane("local", "http://localhost:5681"),
    ),
    (("prod", "prod"), ("local", "local")),
    "prod",
)
TEXT = """\
contexts:
- controlPlane: prod
  name: prod
- controlPlane: local
  name: local
controlPlanes:
- coordinates:
    apiServer:
      authConf:
        token: secret-token
      authType: tokens
      caCertFile: /ca.pem
      clientCertFile: /c.pem
      clientKeyFile: /c.key
      headers:
      - key: X-Tenant
        value: a
      skipVerify: true
      url: https://cp:5682
  name: prod
- coordinates:
    apiServer:
      url: http://localhost:5681
  name: local
currentContext: prod
"""


def test_the_file_is_written_as_kuma_writes_it(tmp_path):
    """Keys sorted, empty fields left out, for its owner only."""
    file = tmp_path / "new" / "config"
    settings.save(file, FULL)
    assert file.read_text() == TEXT
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["config"]


def test_what_is_written_is_read_back(tmp_path):
    """Nothing is lost between two commands."""
    settings.save(tmp_path / "config", FULL)
    assert settings.load(tmp_path / "config") == FULL
    settings.save(tmp_path / "config", Settings())
    assert settings.load(tmp_path / "config") == Settings()


def test_keys_of_old_versions_are_read():
    """A file from an old kumactl works."""
    old = (
        "control_planes:\n- name: a\n  coordinates:\n    api_server:\n      url: http://a\n      ca_cert_file: /x\n"
        "      auth_type: tokens\n      auth_conf: {token: t}\n      skip_verify: true\n"
        "contexts:\n- name: a\n  control_plane: a\ncurrent_context: a\n"
    )
    read = settings.parse(old)
    assert read.active() == ControlPlane(
        "a", "http://a", ca_cert_file="/x", auth_type="tokens", auth_conf={"token": "t"}, skip_verify=True
    )


def test_a_link_stays_a_link(tmp_path):
    """Who keeps the file elsewhere keeps it there."""
    (tmp_path / "real").write_text("")
    (tmp_path / "config").symlink_to(tmp_path / "real")
    settings.save(tmp_path / "config", FULL)
    assert (tmp_path / "config").is_symlink()
    assert settings.load(tmp_path / "real") == FULL


def test_the_first_use_makes_the_file(tmp_path):
    """A new user talks to the control plane of this machine."""
    file = tmp_path / ".kumactl" / "config"
    assert settings.load(file) == settings.DEFAULT
    assert parse_document(file.read_text())["currentContext"] == "local"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_home_that_cannot_be_written_is_no_obstacle():
    """The built-in configuration serves; only changing it fails, and says where."""
    nowhere = Path("/proc/kumactl/config")
    assert settings.load(nowhere) == settings.DEFAULT
    with pytest.raises(ConfigInvalid, match=r"cannot write the configuration file .*--config-file"):
        settings.save(nowhere, FULL)


@pytest.mark.parametrize(
    "text, problem",
    [
        ("controlPlanes: {token: geheim}", "controlPlanes must be a list"),
        ("controlPlanes: [geheim]", r"controlPlanes\[0\]. must be a mapping"),
        ("controlPlanes: [{coordinates: {apiServer: {url: [geheim]}}}]", "coordinates.apiServer.url must be text"),
        ("controlPlanes: [{coordinates: {apiServer: {authConf: {token: 7}}}}]", "authConf.token must be text"),
        ("controlPlanes: [{coordinates: {apiServer: {skipVerify: geheim}}}]", "skipVerify must be true or false"),
        ("- geheim", "the content must be a mapping"),
        ("a: b: geheim", "line 1, column 5"),
    ],
)
def test_a_broken_file_is_explained_without_its_content(tmp_path, text, problem):
    """The field is named, the value (it may be a token) is not."""
    file = tmp_path / "config"
    file.write_text(text)
    with pytest.raises(ConfigInvalid, match=problem) as refused:
        settings.load(file)
    assert str(file) in str(refused.value)
    assert "geheim" not in str(refused.value)


def test_an_unreadable_file_is_explained(tmp_path):
    """Also what is no file or no text."""
    with pytest.raises(ConfigInvalid, match="cannot read the configuration file"):
        settings.load(tmp_path)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigInvalid, match="not a text file"):
        settings.load(tmp_path / "binary")


def test_the_active_control_plane_follows_the_context():
    """``--context`` names a context or a control plane; without it the current one counts."""
    assert FULL.active().name == "prod"
    assert FULL.active("local").name == "local"
    assert FULL.active("other") is None
    assert Settings(FULL.control_planes, (("c", "local"),), "c").active().name == "local"
    assert Settings(FULL.control_planes).active("local").name == "local"
    assert Settings(FULL.control_planes).active() is None


def test_adding_removing_and_switching():
    """The active one is always one that exists."""
    added = FULL.with_control_plane(ControlPlane("new", "http://n"))
    assert added.active().url == "http://n"
    replaced = added.with_control_plane(ControlPlane("prod", "http://p"))
    assert [cp.name for cp in replaced.control_planes] == ["local", "new", "prod"]
    assert replaced.without_control_plane("prod").active().name == "local"
    assert replaced.without_control_plane("local").active().name == "prod"
    assert Settings().without_control_plane("x") == Settings()
    assert FULL.switched_to("local").active().name == "local"
    assert FULL.switched_to("x") is None
    assert Settings(FULL.control_planes).switched_to("local").active().name == "local"


def test_tokens_stay_out_of_representations():
    """What ends in a log or an error must not carry a token."""
    assert "secret-token" not in repr(FULL)
    assert os.fspath(settings.default_path()).endswith(".kumactl/config")
