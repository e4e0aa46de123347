"""Texts are cut into documents that know where they began."""

import socket
import threading

import pytest

from kuma.ctl.errors import CommandFailed
from kuma.ctl.sources import Document, Text, documents, read


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


def test_a_download_that_never_ends_is_given_up():
    """Also when something arrives all the time."""
    ended = threading.Event()

    def drip(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            try:
                while not ended.wait(0.02):
                    connection.sendall(b"#")
            except OSError:
                pass

    with socket.create_server(("127.0.0.1", 0)) as listening:
        dripping = threading.Thread(target=drip, args=(listening,))
        dripping.start()
        try:
            with pytest.raises(CommandFailed, match=r"retrieving URL .*: not complete within 0.3s; download"):
                read(f"http://127.0.0.1:{listening.getsockname()[1]}/r.yaml", download_within=0.3)
        finally:
            ended.set()
            dripping.join()
