"""kuma-dp's own requests to its control plane: verified first, then asked.

The token and the CA are read anew for every request, so files that were replaced meanwhile count.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from kuma.dp.http import Answer, HttpError, Peer, request
from kuma.dp.settings import ControlPlaneAddress, Settings
from kuma.dp.token import ca_fingerprint, checked, read_token
from kuma.dp.trust import Trust, establish, given_ca, refusal

_ANSWER_SECONDS: Final = 10
TRANSIENT: Final = (408, 429)
"""A server that is too busy refuses the moment, not the proxy."""


def current_token(settings: Settings) -> str:
    """The token as it is now; empty when none was given."""
    if settings.token:
        return checked(settings.token, "--dataplane-token")
    return read_token(settings.token_path) if settings.token_path else ""


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """A control plane that can be proved to be ours, and the token for it."""

    address: ControlPlaneAddress
    trust: Trust
    token: str

    @classmethod
    async def reach(cls, settings: Settings) -> ControlPlane:
        """
        Decide whom to trust, by what is given now.

        Raises:
            ConfigInvalid, ControlPlaneUnverified: trying again would not help.
            HttpError: it cannot be reached.
        """
        token = current_token(settings)
        address = settings.control_plane
        ca = given_ca(settings.ca_cert, settings.ca_cert_file)
        fingerprint = ca_fingerprint(token) if token else ""
        return cls(address, await establish(address, ca, fingerprint, skip_verify=settings.skip_verify), token)

    async def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """
        Send one request.

        Raises:
            ControlPlaneUnverified: whoever answered is not the control plane; nothing was sent.
            HttpError: it does not answer.
        """
        peer = Peer(self.address.host, self.address.port, self.trust.tls)
        try:
            return await request(peer, "POST", self.address.path + path, body, headers, _ANSWER_SECONDS)
        except ssl.SSLCertVerificationError as error:
            raise refusal(self.address, self.trust, error) from error
        except HttpError as error:
            if self.trust.tls is None:
                raise HttpError(f"{error}; is it https:// that the control plane speaks there?") from error
            raise


def shown(answer: Answer, limit: int = 2000) -> str:
    """What a server says, as text that cannot write on a terminal."""
    return "".join(c if c.isprintable() else " " for c in answer.body.decode(errors="replace")).strip()[:limit]
