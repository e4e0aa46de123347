"""The control plane's REST API as kumactl sees it: one kept-open connection, JSON in and out, clear failures.

Built on http.client alone, because every kumactl command pays for its imports. Promises: a call ends within the time
limit; an answer has a largest size; credentials are sent, and never shown.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NoReturn
from urllib.parse import quote, urlencode, urlsplit

from kuma.core.errors import ConfigInvalid, NotFound
from kuma.core.version import COMPATIBLE_VERSION, NAME, VERSION
from kuma.ctl.errors import ApiError, Unreachable
from kuma.ctl.settings import TOKENS, ControlPlane

if TYPE_CHECKING:
    import ssl

MAX_ANSWER: Final = 256 * 1024 * 1024
_CHUNK: Final = 256 * 1024
_LONGEST_SHOWN_BODY: Final = 2000
_REVISION_HEADER: Final = "kuma-revision"
_CHANGED_HEADER: Final = "kuma-changed"
_LONGEST_REVISION: Final = 20
_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
_CHECK_ADDRESS: Final = 'check the address with "kumactl config control-planes list"'

Query = Sequence[tuple[str, str]]
Trace = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Answer:
    """
    A successful answer.

    ``revision`` is the store revision that contains a write, 0 where none is told; ``changed`` is False where all
    was stored already.
    """

    status: int
    body: bytes
    revision: int = 0
    changed: bool = True

    def json(self) -> Any:
        """
        The body as data.

        Raises:
            Unreachable: it is not JSON, so this is not the API of a control plane.
        """
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            raise Unreachable(f"the answer is not JSON; is this the API of a control plane? {_CHECK_ADDRESS}") from None

    def object(self) -> dict[str, Any]:
        """The body as one JSON object, under the same promise as ``json``."""
        data = self.json()
        if not isinstance(data, dict):
            raise Unreachable(f"the answer is not a JSON object; is this the API of a control plane? {_CHECK_ADDRESS}")
        return data

    @property
    def text(self) -> str:
        return self.body.decode(errors="replace")


def _no_trace(_: str) -> None:
    pass


def api_path(*segments: str) -> str:
    """``/meshes/default/dataplanes`` from its parts, whatever characters they hold."""
    return "".join(f"/{quote(segment, safe='')}" for segment in segments)


@dataclass(slots=True)
class Client:
    """
    Calls to one control plane.

    ``timeout`` is in seconds for a whole call, 0 for none; ``max_answer`` is in bytes.
    """

    control_plane: ControlPlane
    timeout: float = 60.0
    trace: Trace = _no_trace
    authenticated: bool = True
    max_answer: int = MAX_ANSWER
    _connection: http.client.HTTPConnection | None = field(default=None, init=False)
    _base_path: str = field(default="", init=False)

    def get(self, path: str, query: Query = ()) -> Answer:
        return self.call("GET", path, query)

    def put(self, path: str, body: Mapping[str, Any]) -> Answer:
        return self.call("PUT", path, body=body)

    def post(self, path: str, body: Mapping[str, Any]) -> Answer:
        return self.call("POST", path, body=body)

    def delete(self, path: str) -> Answer:
        return self.call("DELETE", path)

    def call(self, method: str, path: str, query: Query = (), body: Mapping[str, Any] | None = None) -> Answer:
        """
        One request and its answer.

        Raises:
            NotFound: status 404, whatever the body.
            ApiError: any other status from 400 on.
            Unreachable: no usable answer.
            ConfigInvalid: the control plane's entry in the configuration cannot be used.
        """
        headers = self._headers()
        data = None
        if body is not None:
            data = json.dumps(body, ensure_ascii=False).encode()
            headers["content-type"] = "application/json"
        connection = self._connect()
        target = f"{self._base_path}{path}" or "/"
        if query:
            target += f"?{urlencode(query)}"
        deadline = time.monotonic() + self.timeout if self.timeout else None
        try:
            _limit_time(connection, deadline, self.timeout)
            connection.request(method, target, body=data, headers=headers)
            _limit_time(connection, deadline, self.timeout)
            response = connection.getresponse()
            content = self._read(connection, response, deadline)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            self._explain(error)
        self.trace(f"{method} {self.control_plane.url.rstrip('/')}{path} {response.status} {len(content)} bytes")
        return _checked(response, content)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _read(
        self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse, deadline: float | None
    ) -> bytes:
        chunks: list[bytes] = []
        size = 0
        while chunk := response.read1(_CHUNK):
            chunks.append(chunk)
            size += len(chunk)
            if size > self.max_answer:
                self.close()
                raise Unreachable(f"the answer is larger than {self.max_answer} bytes; ask for less, e.g. with --size")
            _limit_time(connection, deadline, self.timeout)
        if response.length:  # read1 does not tell the end of the answer from the end of the connection
            raise http.client.IncompleteRead(chunks[-1] if chunks else b"", response.length)
        response.close()  # the connection stays open for the next request
        return b"".join(chunks)

    def _headers(self) -> dict[str, str]:
        system = os.uname()
        machine = _ARCHITECTURES.get(system.machine, system.machine)
        headers = {
            "accept": "application/json",
            "user-agent": f"kumactl/{COMPATIBLE_VERSION} ({system.sysname.lower()}; {machine}; {NAME}/{VERSION})",
        }
        cp = self.control_plane
        headers.update(cp.headers)
        if self.authenticated and cp.auth_type == TOKENS:
            headers["authorization"] = f"Bearer {cp.auth_conf.get('token', '')}"
        elif self.authenticated and cp.auth_type:
            raise ConfigInvalid(f'control plane "{cp.name}": authType "{cp.auth_type}" is unknown; known is: {TOKENS}')
        for key, value in headers.items():
            # http.client would quote the value in its own error, and the value may be a token.
            if not (value.isascii() and value.isprintable() and key.isascii() and key.isprintable() and key):
                what = "the token in authConf" if key == "authorization" else "a header"
                raise ConfigInvalid(
                    f'control plane "{cp.name}": {what} holds characters that cannot be sent (a line break?); '
                    f'add it again with "kumactl config control-planes add --overwrite"'
                )
        return headers

    def _connect(self) -> http.client.HTTPConnection:
        if self._connection is None:
            scheme, host, port, self._base_path = split_address(self.control_plane.url)
            timeout = self.timeout or None
            if scheme == "https":
                tls = _tls(self.control_plane)
                self._connection = http.client.HTTPSConnection(host, port, timeout=timeout, context=tls)
            else:
                self._connection = http.client.HTTPConnection(host, port, timeout=timeout)
        return self._connection

    def _explain(self, error: Exception) -> NoReturn:
        where = f"could not connect to the control plane at {self.control_plane.url}"
        raise Unreachable(f"{where}: {_reason(error, self.timeout)}") from None


def split_address(url: str) -> tuple[str, str, int, str]:
    """
    Scheme, host, port and base path of a control plane's address.

    Raises:
        ConfigInvalid: it is not an http or https address.
    """
    example = "use one like http://localhost:5681 or https://localhost:5682"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigInvalid(f"the address of the control plane is not a URL; {example}") from None
    if parts.username is not None or parts.password is not None:
        raise ConfigInvalid(f"the address of the control plane must not hold a user or password; {example}")
    plain = url.isascii() and url.isprintable() and " " not in url
    if parts.scheme not in ("http", "https") or not parts.hostname or not plain:
        raise ConfigInvalid(f'the address of the control plane "{url}" is not an http or https URL; {example}')
    return parts.scheme, parts.hostname, port or (443 if parts.scheme == "https" else 80), parts.path.rstrip("/")


def _limit_time(connection: http.client.HTTPConnection, deadline: float | None, timeout: float) -> None:
    if deadline is None:
        return
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError(f"no complete answer within {timeout:g}s")
    connection.timeout = left
    if connection.sock is not None:
        connection.sock.settimeout(left)


def _tls(cp: ControlPlane) -> ssl.SSLContext:
    import ssl

    if bool(cp.client_cert_file) != bool(cp.client_key_file):
        raise ConfigInvalid(f'control plane "{cp.name}": clientCertFile and clientKeyFile must be given together')
    context = ssl.create_default_context()
    if cp.skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif cp.ca_cert_file:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # the given authority instead of the system's
        _load(cp, "caCertFile", cp.ca_cert_file, lambda: context.load_verify_locations(cp.ca_cert_file))
    if cp.client_cert_file:
        files = f"{cp.client_cert_file}, {cp.client_key_file}"
        _load(cp, "client certificate", files, lambda: context.load_cert_chain(cp.client_cert_file, cp.client_key_file))
    return context


def _load(cp: ControlPlane, what: str, file: str, load: Callable[[], None]) -> None:
    try:
        load()
    except FileNotFoundError:
        reason = "no such file"
    except PermissionError:
        reason = "not readable for you"
    except (OSError, ValueError):  # ssl.SSLError is an OSError
        reason = "not usable PEM, or key and certificate do not belong together"
    else:
        return
    raise ConfigInvalid(
        f'control plane "{cp.name}": {what} {file}: {reason}; '
        f'correct it with "kumactl config control-planes add --overwrite"'
    )


def _reason(error: Exception, timeout: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no complete answer within {timeout:g}s; {_CHECK_ADDRESS}, or allow more time with --api-timeout"
    if isinstance(error, ConnectionRefusedError):
        return f'connection refused; is it running ("kuma-cp run")? {_CHECK_ADDRESS}'
    if isinstance(error, socket.gaierror):
        return f"the host name cannot be resolved; {_CHECK_ADDRESS}"
    if isinstance(error, http.client.RemoteDisconnected | ConnectionResetError | BrokenPipeError):
        return f"it closed the connection without an answer; is this an https address? {_CHECK_ADDRESS}"
    if isinstance(error, http.client.IncompleteRead):
        return "the connection ended in the middle of the answer; try again"
    if isinstance(error, http.client.HTTPException):
        return f"what answers there does not speak HTTP; is this an https address? {_CHECK_ADDRESS}"
    verify_message = getattr(error, "verify_message", "")
    if verify_message:
        return (
            f"its certificate is not trusted ({verify_message}); add the control plane again with --overwrite and "
            "--ca-cert-file (its CA) or, for a test, --skip-verify"
        )
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or type(error).__name__
    if type(error).__module__ == "ssl":
        return f"the TLS handshake failed ({reason}); is this an http address? {_CHECK_ADDRESS}"
    return f"{reason}; {_CHECK_ADDRESS}"


def _checked(response: http.client.HTTPResponse, content: bytes) -> Answer:
    status = response.status
    if status == 404:
        missing = _error(status, content)
        raise NotFound("; ".join(filter(None, (missing.summary, missing.next_step))))
    if status >= 400:
        raise _error(status, content)
    if status >= 300:
        target = printable(response.getheader("location") or "somewhere else")
        raise Unreachable(
            f"the control plane's address redirects to {target}; use that address "
            '("kumactl config control-planes add --overwrite")'
        )
    text = response.getheader(_REVISION_HEADER) or ""
    revision = int(text) if text.isdecimal() and len(text) < _LONGEST_REVISION else 0
    return Answer(status, content, revision, response.getheader(_CHANGED_HEADER) != "false")


def _error(status: int, content: bytes) -> ApiError:
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict) or not isinstance(body.get("title"), str) or not body["title"]:
        text = printable(content[:_LONGEST_SHOWN_BODY].decode(errors="replace").strip())
        return ApiError(status, "", text or "empty answer")
    found = body.get("invalid_parameters")
    fields = [
        (printable(str(item.get("field", ""))), printable(str(item.get("reason", ""))))
        for item in (found if isinstance(found, list) else [])
        if isinstance(item, dict)
    ]
    return ApiError(status, printable(body["title"]), printable(str(body.get("detail", ""))), fields)


def printable(text: str) -> str:
    """Text from elsewhere without what a terminal would act on; line breaks and tabs stay."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)
