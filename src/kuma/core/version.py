"""What we call ourselves: the product and version that Kuma's tools and users compare, and our own.

``kumactl`` of Kuma warns unless a control plane answers as its own product and version, so these two are a
compatibility constant; they change when the interface we keep is that of another release.
"""

from __future__ import annotations

from typing import Final

from kuma import __version__

PRODUCT: Final = "Kuma"
COMPATIBLE_VERSION: Final = "2.14.3"
NAME: Final = "kuma"
VERSION: Final = __version__
