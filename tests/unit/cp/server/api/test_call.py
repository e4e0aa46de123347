import pytest

from kuma.cp.server.api.call import admits, is_json, json_reply


@pytest.mark.parametrize(
    "accept, admitted",
    [
        ("", True),
        ("*/*", True),
        ("application/json", True),
        ("APPLICATION/JSON", True),
        ("application/*", True),
        ("text/html, application/json;q=0.5", True),
        ("text/html", False),
        ("application/xml", False),
        (",;", False),
    ],
)
def test_what_a_caller_takes(accept, admitted):
    """Weights do not matter: there is one form only."""
    assert admits(accept, ("application/json",)) is admitted


@pytest.mark.parametrize(
    "header, json", [("application/json", True), ("Application/JSON; charset=utf-8", True), ("", False)]
)
def test_what_announces_json(header, json):
    """Parameters do not matter."""
    assert is_json(header) is json


def test_json_is_printed_as_go_prints_it():
    """Empty lists and objects closed at once, nothing escaped but what must be."""
    assert json_reply({"a": [], "b": {}, "c": "<&>ä", "d": [1, None]}).body == (
        '{\n "a": [],\n "b": {},\n "c": "<&>ä",\n "d": [\n  1,\n  null\n ]\n}\n'.encode()
    )
