from structlog.testing import capture_logs

from kuma.cp.server.dp.refusals import Refusals


class _Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def _tell(refusals, **changed):
    refusals.tell(
        "proxy refused", **{"node": "default.web-1", "address": "10.0.0.1:1", "reason": "token is revoked"} | changed
    )


def test_a_refusal_is_told_at_once_and_then_counted():
    """Envoy asks again for ever; the log says it once, and every ten minutes how often."""
    clock = _Clock()
    refusals = Refusals(clock)
    with capture_logs() as lines:
        for _ in range(601):
            _tell(refusals)
            clock.now += 1.0

    assert [line.get("repeated") for line in lines] == [None, 600]
    assert {line["reason"] for line in lines} == {"token is revoked"}


def test_what_is_new_is_told_at_once():
    """Another proxy, another reason, or the same one after it was started anew."""
    refusals = Refusals(_Clock())
    with capture_logs() as lines:
        for _ in range(3):
            _tell(refusals)
            _tell(refusals, node="default.web-2")
            _tell(refusals, reason="token is expired")
            _tell(refusals, address="10.0.0.1:2")

    assert len(lines) == 4


def test_a_flood_of_refusals_is_no_memory_leak():
    """The oldest are forgotten."""
    refusals = Refusals(_Clock())
    with capture_logs() as lines:
        _tell(refusals)
        for number in range(1000):
            _tell(refusals, node=f"default.{number}")
        _tell(refusals)

    assert len(lines) == 1002
