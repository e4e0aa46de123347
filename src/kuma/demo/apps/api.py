"""The API: says which instance answers, and who the mesh says is calling.

The caller's identity comes from the certificate that the caller's proxy presented. This instance's proxy has checked
it and tells it in the header ``x-forwarded-client-cert``; without mutual TLS there is none.
"""

from __future__ import annotations

import argparse
import json
from typing import Final

from kuma.demo.apps.serving import Handler, serve

_IDENTITY: Final = "URI=spiffe://"


def caller(client_certificate: str) -> str:
    """The SPIFFE identity in the header, or nothing."""
    parts = client_certificate.rsplit(",", maxsplit=1)[-1].split(";")
    return next((part.removeprefix("URI=") for part in parts if part.startswith(_IDENTITY)), "")


class Api(Handler):
    """``app`` is this instance's name."""

    def do_GET(self) -> None:  # noqa: N802 - the name http.server calls
        identity = caller(self.headers.get("x-forwarded-client-cert", ""))
        self.answer(200, "application/json", json.dumps({"instance": self.app, "caller": identity}))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--port", type=int, required=True)
    arguments.add_argument("--name", required=True)
    given = arguments.parse_args()
    serve(Api, given.name, given.port)


if __name__ == "__main__":
    main()
