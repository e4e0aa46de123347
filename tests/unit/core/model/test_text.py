"""What users write is read safely, and refused with a place and a reason."""

import json
import time

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kuma.core.errors import BadRequest, MeshError, TooLarge
from kuma.core.model.text import Limits, dump_yaml, parse_document, parse_documents, parse_json

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8), inner, max_size=4
        )
    ),
    max_leaves=20,
)
YAML_PIECES = st.sampled_from(
    [*"abc:-?[]{},&*!|>'\"%@`#<=~.\\ \n\t019_+eExo", "<<: ", "&a ", "*a", "\n- ", "\n  ", "---\n", "...", "!!int "]
)


@pytest.mark.parametrize(
    "text, value",
    [
        ("1e3", 1000.0), ("1.5", 1.5), (".5", 0.5), ("1.", 1.0), ("7", 7), ("+3", 3), ("0x1F", 31), ("0777", 511),
        ("0b11", 3), ("1_000", 1000), ("1:30", "1:30"), ("2024-01-01", "2024-01-01"), ("1.2.3", "1.2.3"),
        ("on", True), ("yes", True), ("Y", True), ("off", False), ("No", False), ("oN", "oN"), ("true", True),
        ("~", None), ("", None), ("null", None), ('"1"', "1"), ("'on'", "on"), ("!!str 1", "1"), ("! on", "on"),
        ("10.0.0.1", "10.0.0.1"), ("5s", "5s"), ("-", [None]), ("=", "="),
    ],
)  # fmt: skip
def test_unquoted_scalars_mean_what_they_mean_to_kuma(text, value):
    """The dialect is that of sigs.k8s.io/yaml, also where YAML 1.1 and 1.2 differ."""
    read = parse_document(f"{text}")
    assert read == value
    assert type(read) is type(value)


def test_several_documents_are_read_and_empty_ones_skipped():
    """A file may hold many resources, with stray separators."""
    assert parse_documents("---\n---\na: 1\n---\n# nothing\n---\nb: 2\n...\n") == [{"a": 1}, {"b": 2}]
    assert parse_documents("") == []


def test_one_document_is_meant_where_one_is_asked_for():
    """A second document is refused instead of silently dropped."""
    assert parse_document(" ") is None
    with pytest.raises(BadRequest, match="expected one document, found 2"):
        parse_document("a: 1\n---\nb: 2")


def test_json_is_read_where_yaml_is():
    """A JSON file needs no flag, also with characters that YAML escapes differently."""
    assert parse_document('{"a": "\\ud83d\\ude00", "b": [1, 2.0, null]}') == {"a": "😀", "b": [1, 2.0, None]}
    assert parse_document("{a: b}") == {"a": "b"}
    assert parse_document("{a: '" + "[" * 200 + "'}") == {"a": "[" * 200}


def test_anchors_and_merge_keys_work():
    """Ordinary use of aliases is not a crime; written keys win over merged ones."""
    text = "base: &b {x: 1, z: 2}\nother: &o {z: 3}\nuse:\n  <<: [*b, *o]\n  x: 9\nlist: [*b]"
    assert parse_document(text)["use"] == {"x": 9, "z": 2}
    assert parse_document(text)["list"] == [{"x": 1, "z": 2}]


@pytest.mark.parametrize(
    "text, problem",
    [
        ("a: 1\na: 2", 'line 2, column 1: the key "a" is given twice'),
        ('{"a": 1, "a": 2}', 'the key "a" is given twice'),
        ("{a: {b: 1, b: 2}}", 'line 1, column 12: the key "b" is given twice'),
        ("80: x", 'line 1, column 1: a key must be text, this one is read as a number; write it in quotes: "80"'),
        ("on: x", 'this one is read as a boolean; write it in quotes: "on"'),
        ("? [a]\n: b", "a key must be text, not a list or mapping"),
        ("a: &x {}\n*x : 1", "a key must be text"),
        ("~: 1", "read as null"),
        ("a: .nan", "line 1, column 4: .nan is not a finite number"),
        ("a: -.Inf", "not a finite number"),
        ("a: 1e999", "too large"),
        ('{"a": 1e999}', "too large"),
        ('{"a": NaN}', "NaN is not a JSON number"),
        ("a: 18446744073709551616", "does not fit in 64 bits"),
        ("a: &a [*a]", "inside the value it stands for"),
        ("a: *b", r"the alias \*b has no anchor"),
        ("a: !go x", 'the tag "!go" is not supported'),
        ("a: !go {}", 'the tag "!go" is not supported'),
        ("a: !!int x", '"x" is not of type int'),
        ("a: !!float .inf", "not a finite number"),
        ("a: {<<: 3}", 'the value of "<<" must be'),
        ("<<: {}\n<<: {}", 'the key "<<" is given twice'),
        ("a: b: c", "not valid YAML: line 1, column 5"),
        ("a: \x07", "not valid YAML: character 4"),
        ("a: 'x", "line 1"),
        ("a\0b", "line 1, column 2: NUL character"),
        ('a: "x\\0"', "line 1, column 4: NUL character"),
        ("a: b\nc: \ud800", "line 2, column 4: half of a surrogate pair"),
        ('{"a": "\\ud800"}', "half of a surrogate pair"),
        ('{"\\u0000": 1}', "NUL character"),
    ],
)
def test_what_peers_would_disagree_about_is_refused(text, problem):
    """The reason and the place are in the sentence."""
    with pytest.raises(BadRequest, match=problem):
        parse_document(text)


@pytest.mark.parametrize(
    "data, problem",
    [
        (b"", "not valid JSON: line 1, column 1: expecting value"),
        (b"{'a': 1}", "line 1, column 2"),
        (b'{"a": 1} x', "line 1, column 10: extra data"),
        (b"\xff\xfe", "not UTF-8 text: wrong byte at offset 0"),
        (b"[" + b"9" * 5000 + b"]", "does not fit in 64 bits"),
        (b"[Infinity]", "Infinity is not a JSON number"),
    ],
)
def test_a_body_that_is_not_json_is_refused_with_its_place(data, problem):
    """The API's callers see where their JSON breaks."""
    with pytest.raises(BadRequest, match=problem):
        parse_json(data)


def test_a_byte_order_mark_is_no_obstacle():
    """Some editors put one at the start of every file."""
    assert parse_json(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}
    assert parse_document("\ufeffa: 1") == {"a": 1}


@pytest.mark.parametrize("piece", ["[", '{"a":', "- ", "{a: ", "? ", "&a [", "[{"])
@pytest.mark.parametrize("depth", [101, 10_000, 300_000])
def test_depth_is_answered_at_once(piece, depth):
    """Input of any depth costs no more than reading its start."""
    text = piece * depth
    start = time.perf_counter()
    with pytest.raises(BadRequest, match=r"nested deeper than 100 levels|key must be text"):
        parse_document(text)
    if piece != "? ":
        with pytest.raises(BadRequest):
            parse_json(text.encode())
    assert time.perf_counter() - start < 2


def test_depth_one_hundred_is_allowed():
    """The limit is a limit, not a trap for what is just below; brackets inside text do not count."""
    assert parse_json(b"[" * 100 + b"]" * 100) == parse_document("[" * 100 + "]" * 100)
    assert parse_json(json.dumps(["[[{" * 100, '\\"[' * 100]).encode())


def test_aliases_cannot_build_depth_either():
    """Nesting that only exists after expansion counts as well."""
    lines = ["a0: &a0 [x]", *(f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 200))]
    with pytest.raises(BadRequest, match="nested deeper than 100 levels"):
        parse_document("\n".join(lines))


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(["a0: &a0 [x]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12))]),
        f"- &a {'x' * 100_000}\n{'- *a' + chr(10)}" + "- *a\n" * 10_000,
        f"- &a {{k: {'x' * 100_000}}}\n" + "- {<<: *a, o: 1}\n" * 10_000,
    ],
)
def test_aliases_that_explode_are_refused(text):
    """What aliases repeat is counted by its expanded size, values and text."""
    with pytest.raises(BadRequest, match="expands to more than 1000000 values"):
        parse_document(text)


def test_a_limit_on_size_is_named():
    """Who sends too much learns how much is allowed."""
    for parse, big in ((parse_document, "x" * 20), (parse_document, "ä" * 10), (parse_json, b" " * 20)):
        with pytest.raises(TooLarge, match="has 20 bytes, the limit is 16 bytes"):
            parse(big, Limits(size=16))


@given(st.text() | st.lists(YAML_PIECES, max_size=40).map("".join))
def test_no_text_breaks_the_yaml_reader(text):
    """Whatever is written, the answer is a value or a clear refusal."""
    try:
        documents = parse_documents(text)
    except MeshError as error:
        assert str(error)  # noqa: PT017 - both outcomes are fine
    else:
        json.dumps(documents, allow_nan=False).encode()


@given(st.binary() | st.text().map(lambda t: t.encode("utf-8", "surrogatepass")))
def test_no_bytes_break_the_json_reader(data):
    """Whatever is sent, the answer is a value or a clear refusal."""
    try:
        value = parse_json(data)
    except MeshError as error:
        assert str(error)  # noqa: PT017 - both outcomes are fine
    else:
        json.dumps(value, allow_nan=False).encode()


@given(JSON_VALUES)
def test_json_is_read_as_the_standard_library_reads_it(value):
    """Safety changes what is refused, never what is read."""
    assert parse_json(json.dumps(value).encode()) == value
    assert parse_document(json.dumps(value)) == value


@given(JSON_VALUES)
def test_written_yaml_is_read_back_equal(value):
    """Also texts that look like numbers, booleans or times stay texts, for us and for other readers."""
    text = dump_yaml(value)
    assert parse_document(text) == value
    assert yaml.load(text, yaml.CSafeLoader) == value


def test_yaml_is_written_as_kumas_tools_write_it():
    """Block style, sorted keys, lists not indented, long lines kept, no aliases."""
    shared = {"k": [{"b": 1, "a": "true"}]}
    value = {"z": shared, "y1": shared, "e": {}, "l": [], "t": "2024-01-01T00:00:00Z", "m": "a\nb\n", "f": 2.0}
    assert dump_yaml(value) == (
        "e: {}\nf: 2\nl: []\nm: |\n  a\n  b\n"
        't: "2024-01-01T00:00:00Z"\n'
        'y1:\n  k:\n  - a: "true"\n    b: 1\n'
        'z:\n  k:\n  - a: "true"\n    b: 1\n'
    )
    assert dump_yaml({"b": "x " * 200 + "x", "a": 1}, sort_keys=False) == f"b: {'x ' * 200}x\na: 1\n"
