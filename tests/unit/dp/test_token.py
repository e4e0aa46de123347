from __future__ import annotations

from pathlib import Path

import pytest

from kuma.core.errors import ConfigInvalid
from kuma.dp.token import MAX_TOKEN_BYTES, ca_fingerprint, checked, expiry, read_token
from tests.unit.dp.control_plane import fingerprint, token


def test_white_space_around_a_token_is_nothing(tmp_path: Path):
    """Editors and shells end files with a line break."""
    good = token()
    (tmp_path / "token").write_text(f"\n {good}\r\n")

    assert read_token(str(tmp_path / "token")) == good


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "is empty"),
        (" \n", "is empty"),
        ("s3cret", "does not have a token's form"),
        ("s3cret.bm8.x", "claims cannot be read"),
        ("aa.\nbb.cc", "line breaks"),
        ("aa.MQ.cc", "not an object"),
        ("a." * MAX_TOKEN_BYTES, "token's form"),
    ],
)
def test_what_is_no_token_is_refused_without_being_shown(text, words):
    """The reason is told, the text is not: it may be a damaged token."""
    with pytest.raises(ConfigInvalid, match=words) as refused:
        checked(text, "--dataplane-token")

    assert "s3cret" not in str(refused.value)


def test_missing_and_huge_files_are_refused(tmp_path: Path):
    """The path is named."""
    (tmp_path / "huge").write_bytes(b"a" * (MAX_TOKEN_BYTES + 1))

    for name in ("missing", "huge"):
        with pytest.raises(ConfigInvalid, match=name):
            read_token(str(tmp_path / name))


def test_the_token_says_which_control_plane_issued_it():
    """An offline-signed token does not, and that is fine."""
    assert ca_fingerprint(token(CaFingerprint=fingerprint())) == fingerprint()
    assert ca_fingerprint(token()) == ""


@pytest.mark.parametrize(
    "claim, year", [(0, 1970), (1764090000.5, 2025), (10**30, None), ("x", None), (True, None), (None, None)]
)
def test_a_token_may_say_when_it_ends(claim, year):
    """What makes no sense is for the control plane to refuse."""
    end = expiry(token(exp=claim))

    assert (end and end.year) == year


@pytest.mark.parametrize("claim", [7, "sha1:00", "sha256:xyz", ["sha256:" + "0" * 64]])
def test_a_damaged_fingerprint_is_refused(claim):
    """It is never taken for "no fingerprint", which would mean trusting someone else."""
    with pytest.raises(ConfigInvalid, match="CaFingerprint"):
        ca_fingerprint(token(CaFingerprint=claim))
