"""What lies in a Secret or GlobalSecret: JSON ``{"data": "<base64>"}``.

``decode`` reads everything Kuma's own tools write (line breaks inside the base64 are allowed, as in Go), and answers
anything else with ``ValueError`` that does not repeat the content.
"""

from __future__ import annotations

import base64
import binascii
import json


def encode(value: bytes) -> bytes:
    """The spec of a secret with this value."""
    return json.dumps({"data": base64.b64encode(value).decode("ascii")}).encode()


def decode(spec: bytes) -> bytes:
    """
    The value inside a secret's spec.

    Raises:
        ValueError: the spec is not JSON of that form, or the data is not base64.
    """
    try:
        parsed = json.loads(spec)
    except (ValueError, RecursionError) as error:
        raise ValueError("the secret is not a JSON object") from error
    data = parsed.get("data", "") if isinstance(parsed, dict) else None
    if not isinstance(data, str):
        raise ValueError('the secret has no text field "data"')  # noqa: TRY004 - a content error like the others
    try:
        return base64.b64decode(data.replace("\r", "").replace("\n", ""), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError('field "data" of the secret is not base64') from error
