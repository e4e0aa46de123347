"""kuma-cp's settings: what they are called, how they are loaded, checked, completed and shown.

``load`` reads defaults, file and environment into a frozen ``Config``; ``autoconfigure`` and ``with_tls`` fill what
follows from the machine; ``effective`` is what ``GET /config`` answers. Names, defaults and messages are Kuma's.
"""

from kuma.core.errors import ConfigInvalid
from kuma.cp.config.autoconfigure import autoconfigure, with_tls
from kuma.cp.config.effective import effective
from kuma.cp.config.load import Loaded, given, load
from kuma.cp.config.tls import TlsRules, tls_rules
from kuma.cp.config.tree import Config

__all__ = [
    "Config",
    "ConfigInvalid",
    "Loaded",
    "TlsRules",
    "autoconfigure",
    "effective",
    "given",
    "load",
    "tls_rules",
    "with_tls",
]
