import itertools
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from kuma.core.model.resource import Key
from kuma.core.model.spec import Spec
from kuma.core.policies._kit.merge import conf_text, merge, sources
from kuma.core.policies.meshproxypatch.spec import Conf as PatchConf
from kuma.core.policies.meshretry.spec import Conf as Retry
from kuma.core.policies.meshtimeout.spec import Conf, Http

FIELDS = ["connectionTimeout", "idleTimeout"]
SECONDS = st.integers(1, 60).map(lambda seconds: f"{seconds}s")
A, B, C = (Key("MeshTimeout", "default", name) for name in "abc")


def conf(**fields):
    """The conf of a MeshTimeout as a user writes it."""
    return Conf.model_validate(fields)


def test_no_part_is_no_conf():
    """Where no policy speaks there is nothing, not an empty conf."""
    assert merge(Conf, []) is None


def test_a_later_part_overrides_field_by_field():
    """Objects merge deeply, scalars replace; what a later policy leaves open stays."""
    merged = merge(
        Conf,
        [
            (conf(connectionTimeout="1s", http={"requestTimeout": "1s", "streamIdleTimeout": "2s"}), A),
            (conf(idleTimeout="3s", http={"requestTimeout": "0s"}), B),
        ],
    )

    assert merged.conf == Conf(
        connection_timeout=timedelta(seconds=1),
        idle_timeout=timedelta(seconds=3),
        http=Http(request_timeout=timedelta(0), stream_idle_timeout=timedelta(seconds=2)),
    )
    assert merged.origins == (A, B)


def retry(written):
    """The conf of a MeshRetry as a user writes it."""
    return Retry.model_validate(written, strict=False)


def test_lists_replace():
    """The conditions of a retry are those of the highest policy, not of all."""
    parts = [
        (retry({"http": {"retryOn": ["5xx", "Reset"], "numRetries": 1}}), A),
        (retry({"http": {"retryOn": ["GatewayError"]}}), B),
    ]

    merged = merge(Retry, parts).conf

    assert merged.http.retry_on == ("GatewayError",)
    assert merged.http.num_retries == 1


class Patching(Spec):
    """A kind with a list that grows."""

    append_modifications: tuple[str, ...] | None = None
    tags: dict[str, str] | None = None


def test_lists_named_append_grow():
    """In the order of priority; and maps take the keys of all."""
    parts = [(Patching(append_modifications=tuple(text), tags={text: "1", "same": text}), A) for text in ("ab", "c")]

    assert merge(Patching, parts).conf == Patching(
        append_modifications=("a", "b", "c"), tags={"ab": "1", "c": "1", "same": "c"}
    )


def test_a_policy_is_named_once():
    """However many of its entries speak."""
    assert merge(Conf, [(conf(), A), (conf(), B), (conf(), A)]).origins == (A, B)


def test_equal_confs_have_equal_texts():
    """The text stands for the conf in comparisons, whichever way a duration was written."""
    assert conf_text(conf(idleTimeout="60s")) == conf_text(conf(idleTimeout="1m"))
    assert merge(Conf, [(conf(idleTimeout="60s"), A)]) == merge(Conf, [(conf(idleTimeout="1m"), A)])
    assert merge(Conf, [(conf(idleTimeout="60s"), A)]) != merge(Conf, [(conf(idleTimeout="61s"), A)])


SECONDS = st.none() | st.integers(0, 3).map(lambda n: f"{n}s")
CONFS = st.builds(
    lambda connection, idle, http: conf(connectionTimeout=connection, idleTimeout=idle, http=http),
    SECONDS,
    SECONDS,
    st.none() | st.fixed_dictionaries({"requestTimeout": SECONDS, "streamIdleTimeout": SECONDS}),
)


@given(CONFS, CONFS, CONFS)
def test_it_does_not_matter_how_parts_are_grouped(a, b, c):
    """Merging is associative, so a merged conf may be merged on; and idempotent."""
    whole = merge(Conf, [(a, A), (b, B), (c, C)]).conf
    first = merge(Conf, [(a, A), (b, B)]).conf
    rest = merge(Conf, [(b, B), (c, C)]).conf

    assert merge(Conf, [(first, A), (c, C)]).conf == merge(Conf, [(a, A), (rest, B)]).conf == whole
    assert merge(Conf, [(whole, A), (whole, A)]).conf == whole


@given(st.lists(CONFS, min_size=1, max_size=4))
def test_every_field_is_that_of_the_last_part_that_sets_it(confs):
    """Compared with the rule in its plainest form."""
    merged = merge(Conf, zip(confs, itertools.repeat(A))).conf

    def last(read):
        return next((value for one in reversed(confs) if (value := read(one)) is not None), None)

    assert merged.connection_timeout == last(lambda one: one.connection_timeout)
    assert merged.idle_timeout == last(lambda one: one.idle_timeout)
    assert (merged.http and merged.http.request_timeout) == last(lambda one: one.http and one.http.request_timeout)


def test_every_value_has_the_policy_that_set_it_last():
    """So an operator sees which of several policies to change."""
    parts = [
        (conf(connectionTimeout="1s", http={"requestTimeout": "1s", "streamIdleTimeout": "2s"}), A),
        (conf(idleTimeout="3s", http={"requestTimeout": "0s"}), B),
    ]

    assert sources(parts) == {
        "connectionTimeout": (A,),
        "http.requestTimeout": (B,),
        "http.streamIdleTimeout": (A,),
        "idleTimeout": (B,),
    }


def test_a_list_that_is_appended_to_has_all_its_policies():
    """Each of them put something there."""
    step = {"appendModifications": [{"cluster": {"operation": "Remove"}}]}
    made = PatchConf.model_validate(step, strict=False)

    assert sources([(made, A), (made, B)]) == {"appendModifications": (A, B)}


@given(
    st.lists(
        st.tuples(st.sampled_from([A, B, C]), st.dictionaries(st.sampled_from(FIELDS), SECONDS, max_size=4)), min_size=1
    )
)
def test_the_sources_are_exactly_the_values_of_the_merge(parts):
    """No value without a source, no source without a value."""
    made = [(conf(**fields), origin) for origin, fields in parts]
    merged = merge(Conf, made)

    assert set(sources(made)) == set(merged.conf.to_json())
    assert set().union(*sources(made).values(), ()) <= set(merged.origins)
