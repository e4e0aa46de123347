"""What ends the demo before its time. All belong to the tree of ``kuma.core.errors``.

MeshError
├─ ConfigInvalid      a flag is wrong, or the temporary directory cannot be made (from the core)
├─ NoPorts            no free ports were found
├─ ProgramFailed      a program could not be started or ended by itself; carries the end of its log
└─ NotInTime          something that should have happened by now has not
"""

from __future__ import annotations

from kuma.core.errors import MeshError


class NoPorts(MeshError):
    """No free ports were found on the loopback address."""


class ProgramFailed(MeshError):
    """A program could not be started or ended by itself; the text ends with the last lines of its log."""


class NotInTime(MeshError):
    """Something that should have happened by now has not; the text ends with the last lines of a log."""
