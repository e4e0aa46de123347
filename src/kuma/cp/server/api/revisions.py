"""Store revisions as callers write them."""

from __future__ import annotations

from typing import Final

from kuma.core.errors import BadRequest

_LARGEST: Final = 2**63 - 1


def revision_of(text: str, where: str = "a revision") -> int:
    """
    The revision that a text says.

    Raises:
        BadRequest: it is not the number of one; ``where`` says what is wrong.
    """
    if not text.isdecimal() or not text.isascii() or len(text) > len(str(_LARGEST)) or int(text) > _LARGEST:
        raise BadRequest(f"bad request: {where} is a number, as in the kuma-revision header of a PUT")
    return int(text)
