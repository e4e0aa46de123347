"""The names in proxies' certificates, and when a certificate is replaced."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuma.core.errors import InvalidResource
from kuma.core.identity.spiffe import identity_digest, renew_at, subject_names


def test_a_proxy_is_named_by_its_services_then_by_all_its_tags():
    """SPIFFE ids of every service first, then every tag, sorted, each once: what policies of a Kuma user match."""
    inbounds = [
        {"kuma.io/service": "web", "version": "1"},
        {"kuma.io/service": "api", "version": "1"},
    ]
    assert subject_names("default", inbounds) == (
        "spiffe://default/api",
        "spiffe://default/web",
        "kuma://kuma.io/service/api",
        "kuma://kuma.io/service/web",
        "kuma://version/1",
    )


def test_a_proxy_without_service_tag_is_named_by_its_workload_label():
    """The workload label takes the place of the service; tags stay as they are."""
    assert subject_names("m", [{"team": "a"}], workload="orders") == ("spiffe://m/orders", "kuma://team/a")


def test_a_proxy_with_neither_gets_no_certificate():
    """The refusal says what to add."""
    with pytest.raises(InvalidResource, match=r'"kuma\.io/service".*"kuma\.io/workload"; add one'):
        subject_names("m", [{"team": "a"}])


def test_a_certificate_is_renewed_at_half_of_its_life():
    """The other half is how long a control plane may be away."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    assert renew_at(start, start + timedelta(hours=24)) == start + timedelta(hours=12)


@given(st.lists(st.text(min_size=1), min_size=1, unique=True), st.randoms())
def test_the_digest_does_not_depend_on_the_order_of_names(names, random):
    """Only what is in a certificate makes a new one necessary."""
    shuffled = list(names)
    random.shuffle(shuffled)
    day = timedelta(days=1)
    assert identity_digest("sha256:aa", names, day) == identity_digest("sha256:aa", shuffled, day)


def test_the_digest_changes_with_each_part():
    """Another root, other names or another lifetime each need a new certificate."""
    day = timedelta(days=1)
    digests = {
        identity_digest("sha256:aa", ["a", "b"], day),
        identity_digest("sha256:bb", ["a", "b"], day),
        identity_digest("sha256:aa", ["a"], day),
        identity_digest("sha256:aa", ["ab"], day),
        identity_digest("sha256:aa", ["a", "b"], 2 * day),
    }
    assert len(digests) == 5
