"""Resources as users read and write them: the rules between the REST API and the store.

``service`` holds ``Resources``, the one way in; ``labels`` computes labels;
``contract`` says what a kind may add of its own, and ``table`` which module does (``mesh``, ``dataplane``,
``secret``); ``defaults`` makes what every control plane has. Facts: spec/api-server.md §4 and §8.
"""

from kuma.cp.resources.service import Resources, Written

__all__ = ["Resources", "Written"]
