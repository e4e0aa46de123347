from kuma.core.xds.log_facts import UNKNOWN_PROXY, LogFacts


def test_the_stream_of_a_proxy_is_named_after_it():
    """kuma-dp makes the FIFO under the same name, the path cut at 98 characters."""
    assert LogFacts("web", "default", workdir="/run").stream_path == "/run/kuma-al-web-default.sock"
    assert LogFacts("w" * 120, "default", workdir="/run").stream_path == f"/run/kuma-al-{'w' * 85}.sock"


def test_nothing_is_claimed_of_a_proxy_nothing_is_known_of():
    """As Kuma does for sources it cannot know."""
    assert (UNKNOWN_PROXY.name, UNKNOWN_PROXY.service, UNKNOWN_PROXY.zone) == ("unknown", "unknown", "")
