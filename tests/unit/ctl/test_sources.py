"""Texts are cut into documents that know where they began."""

import pytest

from kuma.ctl.sources import Document, Text, documents


@pytest.mark.parametrize(
    "content, found",
    [
        ("", []),
        ("\n---\n \n---", []),
        ("a: 1", [(1, "a: 1")]),
        ("---\na: 1\n---\nb: 2\n", [(2, "a: 1\n"), (4, "b: 2\n")]),
        ("a: 1\n--- # words\nb: 2", [(1, "a: 1\n"), (3, "b: 2")]),
        ("a: |\n  ---\n  x\n", [(1, "a: |\n  ---\n  x\n")]),
        ("a: 1\r\n---\r\nb: 2\r\n", [(1, "a: 1\r\n"), (3, "b: 2\r\n")]),
    ],
)
def test_documents_end_at_lines_of_dashes(content, found):
    """Empty ones are left out, indented dashes are text."""
    assert list(documents(Text("f", content))) == [Document("f", line, text) for line, text in found]
