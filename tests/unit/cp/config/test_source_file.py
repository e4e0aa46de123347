"""The configuration file: what it may look like, and what a person is told when it is wrong."""

import json
import re
from datetime import timedelta
from pathlib import Path

import pytest

from kuma.cp.config import Config, ConfigInvalid, load
from kuma.cp.config.source_file import MAX_FILE_BYTES


@pytest.fixture
def write(tmp_path: Path):
    """Write a configuration file and give its path."""

    def write(text: str) -> Path:
        path = tmp_path / "kuma-cp.yaml"
        path.write_text(text)
        return path

    return write


def refused(path: Path) -> str:
    """The message with which a file is refused."""
    with pytest.raises(ConfigInvalid) as caught:
        load(path, {})
    return str(caught.value)


def test_keys_are_matched_without_regard_to_case(write):
    """`DPSERVER.Port` is `dpServer.port`, as in Kuma."""
    assert load(write("DPSERVER:\n  Port: 7777\n"), {}).config.dp_server.port == 7777


def test_json_is_read_as_well(write):
    """The file may be JSON."""
    document = json.dumps({"apiServer": {"http": {"port": 1234}}, "defaults": {"skipHostnameGenerators": True}})

    config = load(write(document), {}).config

    assert config.api_server.http.port == 1234
    assert config.defaults.skip_hostname_generators


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", timedelta(seconds=90)),
        ("72h0m0s", timedelta(hours=72)),
        ("250ms", timedelta(milliseconds=250)),
        ("1500000000", timedelta(seconds=1.5)),
        ("0", timedelta(0)),
    ],
)
def test_durations_are_gos_or_nanoseconds(write, text: str, expected: timedelta):
    """A duration is Go's text; a bare number counts nanoseconds."""
    config = load(write(f"xdsServer:\n  dataplaneDeregistrationDelay: {text}\n"), {}).config

    assert config.xds_server.dataplane_deregistration_delay == expected


def test_an_unset_key_keeps_its_default(write):
    """A key or section without a value is as if it were absent."""
    config = load(write("general:\n  workDir:\nstore:\ndpServer: {}\n"), {}).config

    assert config == Config()


def test_an_empty_file_changes_nothing(write):
    """A file with comments only is the defaults."""
    assert load(write("# nothing yet\n"), {}).config == Config()


def test_text_settings_take_unquoted_numbers(write):
    """`password: 12345` needs no quotes."""
    assert load(write("store:\n  postgres:\n    password: 12345\n"), {}).config.store.postgres.password == "12345"


def test_a_map_adds_to_the_default_one(write):
    """A label exception keeps the built-in ones, as in Kuma."""
    text = "runtime:\n  kubernetes:\n    injector:\n      exceptions:\n        labels:\n          mine: '*'\n"

    labels = load(write(text), {}).config.runtime.kubernetes.injector.exceptions.labels

    assert labels["mine"] == "*"
    assert "openshift.io/build.name" in labels


def test_public_keys_come_from_the_file(write):
    """Keys for tokens issued elsewhere are read with their mesh."""
    text = """
dpServer:
  authn:
    dpProxy:
      dpToken:
        validator:
          publicKeys:
          - {kid: 1, mesh: default, keyFile: /keys/public.pem}
"""

    (key,) = load(write(text), {}).config.dp_server.authn.dp_proxy.dp_token.validator.public_keys

    assert (key.kid, key.mesh, key.key_file, key.key) == ("1", "default", "/keys/public.pem", "")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("store:\n  postgres:\n    hots: x\n", "store.postgres.hots: unknown key; did you mean store.postgres.host?"),
        ("workDir: /x\n", "workDir: unknown key; did you mean general.workDir?"),
        ("qqqq: 1\n", "qqqq: unknown key"),
        ("dpServer:\n  port: '5678'\n", "dpServer.port: '5678' is not a whole number"),
        ("dpServer:\n  port: true\n", "dpServer.port: true is not a whole number"),
        ("dpServer: 5678\n", "dpServer: expected an object with settings"),
        ("- a\n", "expected an object with settings"),
        ("general:\n  dnsCacheTTL: 10\n  workDir: [a]\n", "general.workDir: a list is not a string"),
        ("general:\n  dnsCacheTTL: 10 seconds\n", "general.dnsCacheTTL: '10 seconds' is not a duration"),
        ("store:\n  cache:\n    enabled: 1\n", "store.cache.enabled: 1 is not true or false"),
        ("apiServer:\n  corsAllowedDomains: a,b\n", "apiServer.corsAllowedDomains: 'a,b' is not a list of strings"),
        ("mode: zone\nMode: zone\n", "Mode: also given as mode"),
        ("mode: zone\nmode: zone\n", 'key "mode" is given twice'),
        ("mode: [\n", "while parsing"),
        ("a: &a [*a]\n", "inside the value it stands for"),
        (
            "apiServer:\n  authn:\n    tokens:\n      validator:\n        publicKeys: [{kidd: 1}]\n",
            "apiServer.authn.tokens.validator.publicKeys[0].kidd: unknown key; known here are kid, key, keyFile",
        ),
    ],
)
def test_a_wrong_file_is_refused_with_the_path_of_the_fault(write, text: str, complaint: str):
    """Nothing in the file is silently ignored, and the message says where to look."""
    path = write(text)

    message = refused(path)

    assert message.startswith(f"parsing configuration from file '{path}' failed: ")
    assert complaint in message
    assert "\n" not in message


def test_all_faults_of_a_file_are_named_at_once(write):
    """Correcting a file takes one try."""
    message = refused(write("modee: zone\ndpServer:\n  port: x\n"))

    assert "did you mean mode?" in message
    assert "dpServer.port: 'x' is not a whole number" in message


def test_a_secret_is_not_repeated_in_the_message(write):
    """A password in the wrong shape stays out of the log."""
    assert "hunter2" not in refused(write("store:\n  postgres:\n    password: [hunter2]\n"))


def test_a_missing_file_is_named(tmp_path: Path):
    """The sentence for a file that is not there is Kuma's."""
    path = tmp_path / "absent.yaml"

    assert refused(path) == (
        f"unable to access configuration file '{path}', please check if the file exists and has the correct permissions"
    )


@pytest.mark.parametrize(
    "text",
    [
        "[" * 1_000_000,
        "a: " + "{b: " * 200_000,
        "".join(f"{' ' * n}- \n" for n in range(1_000)),
        "a0: &a0 [x]\n" + "".join(f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 9)}]\n" for n in range(30)),
        "? [a]\n: b\n",
        "<<: 1\n",
        "mode: zone\n#" + "ä" * MAX_FILE_BYTES,
        "".join(f"key{n}: x\n" for n in range(50_000)),
        "mode: \x00zone\n",
        "mode: !!python/object:os.system x\n",
        f"dpServer:\n  port: {'9' * 5000}\n",
    ],
    ids=[
        "deep list",
        "deep map",
        "deep block",
        "exploding aliases",
        "list as key",
        "bad merge",
        "large",
        "many keys",
        "NUL",
        "foreign tag",
        "huge number",
    ],
)
def test_hostile_files_are_refused_in_one_sentence(write, text: str):
    """Depth, size and foreign tags end in a message, not in a crash."""
    path = write(text)

    assert re.match(re.escape(f"parsing configuration from file '{path}' failed: "), refused(path))
