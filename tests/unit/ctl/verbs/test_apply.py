"""``kumactl apply`` sends what files say, or nothing."""

import pytest

from kuma.core.model.text import parse_documents

MESH = "type: Mesh\nname: demo\n"
SPEC = """spec:
  to:
  - default:
      idleTimeout: 5s
    targetRef:
      kind: Mesh
"""
TIMEOUT = f"type: MeshTimeout\nmesh: demo\nname: t\n{SPEC}"


def test_a_new_and_a_known_resource(kumactl, cp, home):
    """One line for each, created or updated."""
    (home / "r.yaml").write_text(f"{MESH}---\n\n--- # next\n{TIMEOUT}")
    cp.answer("PUT", "/meshes/demo", {}, 201)
    cp.answer("PUT", "/meshes/demo/meshtimeouts/t", {}, 200)
    result = kumactl("apply", "-f", "r.yaml")
    assert result.stdout == (
        'resource type="Mesh" mesh="" name="demo" Created\nresource type="MeshTimeout" mesh="demo" name="t" Updated\n'
    )
    assert (result.exit_code, result.stderr) == (0, "")
    assert cp.asked[2].json == {"type": "MeshTimeout", "mesh": "demo", "name": "t", **parse_documents(SPEC)[0]}
    assert cp.asked[2].headers["content-type"] == "application/json"


def test_a_document_that_breaks_the_rules_of_its_type_stops_all(kumactl, cp):
    """Every broken rule is named, and the good document before it is not sent either."""
    bad = "type: MeshTimeout\nmesh: demo\nname: t\nspec:\n  to:\n  - targetRef: {kind: Nobody}\n    default: {}\n"
    result = kumactl("apply", "-f", "-", given=f"{MESH}---\n{bad}")
    assert result.exit_code == 1
    assert "resource[1]: failed to parse resource: spec.to[0].targetRef.kind" in result.stderr
    assert result.stderr.endswith("Error: failed to validate some resources\n")
    assert cp.requests() == []


def test_standard_input_and_json(kumactl, cp):
    """A dash is stdin; JSON is YAML."""
    cp.answer("PUT", "/meshes/demo", {}, 201)
    assert kumactl("apply", "-f", "-", given='{"type": "Mesh", "name": "demo"}').exit_code == 0
    assert cp.asked[1].json == {"type": "Mesh", "name": "demo"}


def test_a_directory_is_read_in_order_and_not_deeper(kumactl, cp, home):
    """Every YAML and JSON file in it, links included."""
    folder = home / "d"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "x.yaml").write_text("type: Mesh\nname: x")
    (folder / "b.YML").write_text("type: Mesh\nname: b")
    (folder / "a.json").write_text('{"type": "Mesh", "name": "a"}')
    (folder / "notes.txt").write_text("not for us")
    (home / "c").write_text("type: Mesh\nname: c")
    (folder / "c.yaml").symlink_to(home / "c")
    for name in "abc":
        cp.answer("PUT", f"/meshes/{name}", {}, 201)
    assert kumactl("apply", "-f", "d").exit_code == 0
    assert cp.requests() == ["PUT /meshes/a", "PUT /meshes/b", "PUT /meshes/c"]


def test_a_url_is_fetched(kumactl, cp):
    """And what is wrong with it is said."""
    cp.answer("GET", "/files/r.yaml", MESH.encode())
    cp.answer("PUT", "/meshes/demo", {}, 201)
    assert kumactl("apply", "-f", f"{cp.url}/files/r.yaml").exit_code == 0
    result = kumactl("apply", "-f", f"{cp.url}/files/none")
    assert result.stderr == (
        f"Error: error while retrieving URL {cp.url}/files/none: status 404; is the address right?\n"
    )
    assert kumactl("apply", "-f", "http://127.0.0.1:1/x").stderr.startswith(
        "Error: error while retrieving URL http://127.0.0.1:1/x: Connection refused; download it"
    )
    assert kumactl("apply", "-f", "http://[bad/x").stderr.startswith("Error: error while retrieving URL http://[bad/x")


def test_variables_are_filled_in(kumactl, cp):
    """Repeated or comma-separated; dots nest; without any, braces stay."""
    cp.answer("PUT", "/meshes/demo", {}, 201)
    text = 'type: Mesh\nname: {{ mesh.name }}\nx: "{{a}}{{{b}}}{{c}}"\n'
    assert kumactl("apply", "-f", "-", "-v", "mesh.name=demo,a=<", "--var", "b=1,2", given=text).exit_code == 0
    assert cp.asked[1].json == {"type": "Mesh", "name": "demo", "x": "&lt;1,2"}
    assert kumactl("apply", "-f", "-", given='type: Mesh\nname: demo\nx: "{{a}}"\n').exit_code == 0
    assert cp.asked[-1].json["x"] == "{{a}}"
    result = kumactl("apply", "-f", "-", "-v", "a=1", given="type: Mesh\n---\ntype: Mesh\nname: {{#a}}\n")
    assert result.stderr == (
        "Error: failed to fill in the variables in the document that starts at line 3 of standard input: "
        "line 2: section {{#a}} is never closed\n"
    )
    result = kumactl("apply", "-f", "-", "-v", "a", given="")
    assert result.stderr.startswith("Error: --var: must be formatted as key=value: --var key=value")


def test_a_dry_run_prints_and_sends_nothing(kumactl, cp):
    """What is printed can be applied."""
    result = kumactl(
        "apply", "--dry-run", "-f", "-", "-v", "n=demo", given=f"type: Mesh\nname: {{{{n}}}}\n---\n{TIMEOUT}"
    )
    assert result.stdout == f"name: demo\ntype: Mesh\n---\nmesh: demo\nname: t\n{SPEC}type: MeshTimeout\n"
    assert len(parse_documents(result.stdout)) == 2
    assert cp.requests() == []


@pytest.mark.parametrize(
    "text, line",
    [
        ("a: b: c", "resource[0]: failed to parse resource: not valid YAML: line 1, column 5"),
        ("- a", "resource[0]: failed to parse resource: a resource must be a mapping"),
        ("type: Mash\nname: a", 'resource[0]: failed to parse resource: invalid resource type "Mash"'),
        ("name: a", "resource[0]: failed to parse resource: it has no type; types that can be applied: Dataplane,"),
        ("type: MeshInsight\nname: a", 'failed to parse resource: the type "MeshInsight" is read-only'),
        ("apiVersion: v1\nkind: Pod", "this is a Kubernetes manifest"),
        ("type: Mesh", "resource[0]: failed to read meta: name: cannot be empty"),
        ("type: Mesh\nname: 5", 'resource[0]: failed to read meta: name: must be text; write it in quotes: "5"'),
        ("type: Dataplane\nname: a", "resource[0]: failed to read meta: mesh: cannot be empty"),
        ("type: Mesh\nname: a\nname: b", 'line 3, column 1: the key "name" is given twice'),
        ("[" * 10_000, "nested deeper than 100 levels"),
        ('type: Mesh\nname: "\\0"', "NUL character"),
    ],
)
def test_nothing_is_sent_if_anything_is_wrong(kumactl, cp, text, line):
    """Each wrong document is named with its place; the good ones wait."""
    result = kumactl("apply", "-f", "-", given=f"{text}\n---\n{MESH}")
    assert result.exit_code == 1
    assert line in result.stderr
    assert "(in the document that starts at line 1 of standard input)\n" in result.stderr
    assert result.stderr.endswith("Error: failed to validate some resources\n")
    assert cp.asked == []


def test_all_wrong_documents_are_reported(kumactl):
    """Not only the first; lines count through the whole text."""
    result = kumactl("apply", "-f", "-", given=f"---\ntype: X\n---\n{MESH}\n---\ntype: Mesh\n")
    assert [text.split(":")[0] for text in result.stderr.splitlines()] == ["resource[0]", "resource[2]", "Error"]
    assert "starts at line 2 of" in result.stderr
    assert "starts at line 8 of" in result.stderr


def test_the_first_refusal_stops_the_rest(kumactl, cp):
    """With the server's words in Kuma's form, and what was done before it."""
    cp.answer("PUT", "/meshes/a", {}, 201)
    cp.refuse("PUT", "/meshes/b", 400, "Could not process a resource", "Resource is not valid", mtls="is bad", x="y")
    result = kumactl("apply", "-f", "-", given="---\n".join(f"type: Mesh\nname: {n}\n" for n in "abc"))
    assert result.stdout == 'resource type="Mesh" mesh="" name="a" Created\n'
    assert result.stderr == (
        'Error: resource type="Mesh" mesh="" name="b": failed server side: '
        "Could not process a resource (Resource is not valid);mtls=is bad x=y \n"
    )
    assert cp.requests() == ["PUT /meshes/a", "PUT /meshes/b"]
    assert kumactl("apply", "-f", "-", given="type: Mesh\nname: none").stderr == (
        'Error: resource type="Mesh" mesh="" name="none": failed server side: (404): 404: Page Not Found\n'
    )


def test_warnings_of_the_server_are_shown(kumactl, cp):
    """On stderr, harmless for a terminal."""
    cp.answer("PUT", "/meshes/demo", {"warnings": ["traffic will \x1bstop", "x"]}, 200)
    assert kumactl("apply", "-f", "-", given=MESH).stderr == "Warning: traffic will \ufffdstop\nWarning: x\n"
    cp.answer("PUT", "/meshes/demo", b"", 200)
    assert kumactl("apply", "-f", "-", given=MESH).stderr == ""


@pytest.mark.parametrize(
    "args, message",
    [
        (["apply"], 'Error: required flag(s) "file" not set; see "kumactl apply --help"'),
        (
            ["apply", "-f", "none.yaml"],
            "Error: error while reading provided file: none.yaml: No such file or directory",
        ),
        (["apply", "-f", "empty"], "Error: no resource(s) passed to apply: empty holds no YAML or JSON documents"),
        (["apply", "-f", "binary"], "Error: binary is not UTF-8 text: wrong byte at offset 0"),
        (["apply", "-f", "big"], "Error: big is larger than 5242880 bytes; split it"),
        (["apply", "-f", "folder"], "Error: no resource(s) passed to apply: folder holds no YAML or JSON documents"),
        (["apply", "-f", "empty", "extra"], "Error: Got unexpected extra argument (extra)"),
    ],
)
def test_files_that_cannot_be_used(kumactl, home, args, message):
    """The file and the reason are named."""
    (home / "empty").write_text("---\n \n---\n")
    (home / "binary").write_bytes(b"\xff\x00")
    (home / "big").write_bytes(b"#" * (5 * 1024 * 1024 + 1))
    (home / "folder").mkdir()
    result = kumactl(*args)
    assert result.exit_code == 1
    assert result.stderr.startswith(message)


JSON = {"content-type": "application/json"}


def written(revision, *, changed=True):
    """The headers of an answer to a write."""
    return {**JSON, "kuma-revision": str(revision), **({} if changed else {"kuma-changed": "false"})}


def rollout(done, total, **more):
    """How far a change got, with nothing on its way."""
    return {"done": done, "total": total, "settled": True, "pending": [], "refused": [], "earlier": [], **more}


def test_waiting_asks_about_all_that_was_changed(kumactl, cp):
    """From the first change to the last; what was there already is not asked about."""
    for name, headers in (("a", written(3, changed=False)), ("b", written(10)), ("c", written(12))):
        cp.answer("PUT", f"/meshes/{name}", {}, headers=headers)
    cp.answer("GET", "/_rollout/12?wait=5.000s&since=10", rollout(2, 2))

    result = kumactl("apply", "-f", "-", "--wait", given="".join(f"---\ntype: Mesh\nname: {x}\n" for x in "abc"))

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.endswith("2 of 2 proxies have the change\n")


def test_waiting_tells_what_stands_beside(kumactl, cp):
    """Proxies that are away, and earlier changes that are refused, are no failure and no secret."""
    cp.answer("PUT", "/meshes/demo", {}, headers=written(7))
    earlier = [{"mesh": "demo", "name": "web-1", "reason": "Cluster: bad"}]
    cp.answer("GET", "/_rollout/7?wait=5.000s", rollout(2, 2, earlier=earlier, notConnected=3))

    result = kumactl("apply", "-f", "-", "--wait", given=MESH)

    assert result.exit_code == 0
    assert result.stdout.endswith("2 of 2 proxies have the change; 3 are not connected\n")
    assert result.stderr == "Warning: demo/web-1 refuses an earlier change: Cluster: bad\n"


def test_waiting_counts_more_than_it_names(kumactl, cp):
    """The control plane names some of many."""
    cp.answer("PUT", "/meshes/demo", {}, headers=written(7))
    refused = [{"mesh": "demo", "name": f"web-{number}", "reason": "no"} for number in range(30)]
    counts = {"pending": 0, "refused": 500, "earlier": 0}
    cp.answer("GET", "/_rollout/7?wait=5.000s", rollout(500, 1000, refused=refused, counts=counts))

    result = kumactl("apply", "-f", "-", "--wait", given=MESH)

    assert result.exit_code == 1
    assert result.stderr.startswith("demo/web-0: no\n")
    assert result.stderr.count("\n") == 21
    assert "500 of 1000 proxies have the change; it was refused by 500, which keep what they had" in result.stderr


def test_waiting_asks_in_less_time_than_a_call_may_take(kumactl, cp):
    """A short --api-timeout does not end a long wait."""
    cp.answer("PUT", "/meshes/demo", {}, headers=written(7))
    cp.answer("GET", "/_rollout/7?wait=1.000s", rollout(1, 1))

    assert kumactl("--api-timeout", "2s", "apply", "-f", "-", "--wait", given=MESH).exit_code == 0


def test_waiting_outlasts_a_control_plane_that_restarts(kumactl, cp):
    """The change is stored: a connection that breaks is no answer, and the question is asked again."""
    question = ("GET", "/_rollout/7?wait=5.000s")

    class Restarting(dict):
        """Breaks off its first answer to the question."""

        def get(self, key, default=None):
            if key == question and len(cp.asked) <= 3:
                return 200, b"{", {**JSON, "transfer-encoding": "chunked", "connection": "close"}
            return super().get(key, default)

    cp.answers = Restarting(cp.answers)
    cp.answer("PUT", "/meshes/demo", {}, headers=written(7))
    cp.answer(*question, rollout(1, 1))

    result = kumactl("apply", "-f", "-", "--wait", given=MESH)

    assert result.exit_code == 0
    assert "1 of 1 proxies have the change" in result.stdout
    assert result.stderr.count("asking again") == 1
