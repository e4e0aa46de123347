"""Variables in users' files are filled in as Kuma's tools do it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuma.core.errors import BadRequest, MeshError, TooLarge
from kuma.core.model.template import render


@pytest.mark.parametrize(
    "template, variables, result",
    [
        ("name: {{ name }}", {"name": "web"}, "name: web"),
        ("{{name}}{{{name}}}{{&name}}{{& name }}", {"name": "<\"'&>"}, "&lt;&#34;&#39;&amp;&gt;" + "<\"'&>" * 3),
        ("[{{missing}}{{{missing}}}{{a.missing}}{{a}}]", {"a.b": "1"}, "[]"),
        ("{{ a.b }}-{{a.c.d}}", {"a.b": "1", "a.c.d": "2"}, "1-2"),
        ("{{#a}}{{b}}{{x}}{{/a}}", {"a.b": "1", "x": "2"}, "12"),
        ("{{#a}}[{{.}}]{{/a}}", {"a": "v"}, "[v]"),
        ("{{#a}}x{{/a}}{{^a}}y{{/a}}", {"a": "1"}, "x"),
        ("{{#a}}x{{/a}}{{^a}}y{{/a}}", {"a": ""}, "y"),
        ("{{#a}}x{{#b}}z{{/b}}{{/a}}{{^a}}y{{/a}}", {"b": "1"}, "y"),
        ("a{{! words }}b{{!\nlines\n}}c", {}, "abc"),
        ("{{ a }}", {"a": "{{b}}", "b": "no"}, "{{b}}"),
        ("no tags } } {", {"a": "1"}, "no tags } } {"),
    ],
)
def test_tags_are_replaced(template, variables, result):
    """Escaped, raw, dotted, missing, conditional and commented tags; values are never templates themselves."""
    assert render(template, variables) == result


def test_a_section_alone_on_a_line_leaves_no_line():
    """Conditional parts of a YAML file keep its indentation right."""
    template = "a: 1\n{{#gw}}\ngateway:\n  {{! why }}\n  type: {{type}}\n{{/gw}}\nb: 2\n"
    assert render(template, {"gw.type": "BUILTIN"}) == "a: 1\ngateway:\n  type: BUILTIN\nb: 2\n"
    assert render(template, {}) == "a: 1\nb: 2\n"


@pytest.mark.parametrize(
    "template, problem",
    [
        ("a\n{{ name", "line 2: {{ is never closed by }}"),
        ("{{{name}}", "line 1: {{{ is never closed by }}}"),
        ("\n{{#a}}", "line 2: section {{#a}} is never closed"),
        ("{{/a}}", "line 1: {{/a}} closes a section that is not open here"),
        ("{{#a}}{{^b}}{{/a}}{{/b}}", "line 1: {{/a}} closes a section that is not open here"),
        ("{{}}", "empty tag"),
        ("{{#}}", "empty tag"),
        ("{{> file}}", "partials"),
        ("{{=<% %>=}}", "other delimiters"),
        ("{{#a}}" * 10_000, "nested deeper than 100 levels"),
    ],
)
def test_a_template_that_never_ends_is_refused(template, problem):
    """The line and the tag are named."""
    with pytest.raises(BadRequest) as refused:
        render(template, {})
    assert problem in str(refused.value)


@pytest.mark.parametrize("names", [("a", "a.b"), ("a.b", "a"), ("a.b.c", "a.b")])
def test_a_variable_cannot_be_value_and_parent(names):
    """The clash is named instead of one of the two getting lost."""
    with pytest.raises(BadRequest, match="cannot be both a value and the parent"):
        render("{{a}}", dict.fromkeys(names, "1"))


def test_output_is_limited():
    """A small template with a large value cannot fill the memory."""
    with pytest.raises(TooLarge, match="renders to more than 1000 characters"):
        render("{{a}}" * 100, {"a": "x" * 100}, max_output=1000)
    with pytest.raises(TooLarge, match="the template has 11 characters"):
        render("x" * 11, {}, max_output=10)


@given(st.lists(st.sampled_from(["{{", "}}", "{", "}", "#", "^", "/", "!", "&", "a", ".", " ", "\n"])).map("".join))
def test_no_template_breaks_the_renderer(template):
    """Whatever is written, the answer is text or a clear refusal."""
    try:
        assert isinstance(render(template, {"a": "1"}), str)
    except MeshError as error:
        assert str(error).startswith("line ")  # noqa: PT017 - both outcomes are fine
