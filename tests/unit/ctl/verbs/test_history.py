"""``kumactl history`` shows who changed what, and what it looked like before and after."""

import json

import pytest
import yaml

ENTRIES = [
    {
        "revision": 42,
        "time": "2023-11-14T22:12:20.123456Z",
        "user": "alice",
        "groups": ["ops", "mesh-system:authenticated"],
        "address": "10.0.0.7",
        "action": "update",
        "type": "MeshTimeout",
        "mesh": "demo",
        "name": "slow",
    },
    {
        "revision": 7,
        "time": "2023-11-13T22:13:20Z",
        "user": "mesh-system:admin\x1b[31m",
        "groups": [],
        "address": "",
        "action": "issue",
        "type": "UserToken",
        "name": "bob",
        "token": {"jti": "1-2", "expires": "2024-11-13T22:13:20Z"},
    },
]
BEFORE = {"type": "MeshTimeout", "mesh": "demo", "name": "slow", "spec": {"to": [{"default": {"idleTimeout": "9s"}}]}}
AFTER = {"type": "MeshTimeout", "mesh": "demo", "name": "slow", "spec": {"to": [{"default": {"idleTimeout": "1s"}}]}}
DIFFERENCE = """\
--- MeshTimeout demo/slow {before}
+++ MeshTimeout demo/slow {after}
@@ -4,4 +4,4 @@
 spec:
   to:
   - default:
-      idleTimeout: 9s
+      idleTimeout: 1s
"""


def page(cp, query="size=50&offset=0", items=ENTRIES, following=None):
    """What the control plane answers to a list."""
    cp.answer("GET", f"/_changes?{query}", {"total": len(items), "items": items, "next": following})


def test_entries_are_a_table_that_scripts_can_parse(kumactl, cp):
    """Time and age, who and from where, what and which; what does not apply is a dash."""
    page(cp)

    result = kumactl("history")

    assert (result.exit_code, result.stderr) == (0, "")
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["REVISION", "TIME", "AGE", "USER", "ADDRESS", "ACTION", "KIND", "MESH", "NAME"],
        ["42", "2023-11-14T22:12:20Z", "59s", "alice", "10.0.0.7", "update", "MeshTimeout", "demo", "slow"],
        ["7", "2023-11-13T22:13:20Z", "1d", "mesh-system:admin\ufffd[31m", "-", "issue", "UserToken", "-", "bob"],
    ]


def test_entries_are_data_for_programs(kumactl, cp):
    """As the control plane told them."""
    page(cp)

    assert json.loads(kumactl("history", "-o", "json").stdout)["items"] == ENTRIES
    assert yaml.safe_load(kumactl("history", "-o", "yaml").stdout)["items"][0]["revision"] == 42


def test_filters_go_to_the_control_plane(kumactl, cp):
    """Types are written as in lists or as in documents; times are absolute or a while ago."""
    page(
        cp,
        "mesh=demo&type=MeshTimeout&name=slow&all=true&size=5&offset=10&user=alice&since=2023-11-14T20%3A13%3A20%2B00%3A00",
    )

    result = kumactl(
        *("history", "-m", "demo", "--kind", "meshtimeouts", "--name", "slow", "--all", "--user", "alice"),
        *("--since", "2h", "--limit", "5", "--offset", "10"),
    )

    assert result.exit_code == 0, result.stderr


@pytest.mark.parametrize(
    "written, asked",
    [
        ("Mesh", "Mesh"),
        ("mesh", "Mesh"),
        ("MESHTIMEOUT", "MeshTimeout"),
        ("global-secret", "GlobalSecret"),
        ("dataplane-token", "DataplaneToken"),
        ("UserToken", "UserToken"),
        ("dataplane-insight", "DataplaneInsight"),
    ],
)
def test_a_type_is_understood_however_it_is_written(kumactl, cp, written, asked):
    """As a list shows it, as a document has it, as kumactl get wants it."""
    page(cp, f"type={asked}&size=50&offset=0")

    assert kumactl("history", "--type", written).exit_code == 0


@pytest.mark.parametrize(
    "written, asked",
    [
        ("7d", "2023-11-07T22%3A13%3A20%2B00%3A00"),
        ("1h30m", "2023-11-14T20%3A43%3A20%2B00%3A00"),
        ("2023-11-14", "2023-11-14T00%3A00%3A00%2B00%3A00"),
        ("2023-11-14T12:00:00", "2023-11-14T12%3A00%3A00%2B00%3A00"),
        ("2023-11-14T12:00:00+02:00", "2023-11-14T10%3A00%3A00%2B00%3A00"),
    ],
)
def test_a_time_is_a_while_ago_or_in_utc(kumactl, cp, written, asked):
    """Unless it names a zone."""
    page(cp, f"size=50&offset=0&since={asked}")

    assert kumactl("history", "--since", written).exit_code == 0, cp.requests()


def test_the_end_of_a_page_says_how_to_go_on(kumactl, cp):
    """In the words of the other lists."""
    page(cp, "size=2&offset=4", following="http://elsewhere/_changes?offset=6&size=2&until=42")

    assert kumactl("history", "--limit", "2", "--offset", "4").stdout.endswith(
        "\n\nRerun command with --offset=6 argument to retrieve more entries\n"
    )


def test_an_empty_list_says_what_is_left_out(kumactl, cp):
    """So that nobody thinks the log is broken."""
    page(cp, items=[])
    page(cp, "all=true&size=50&offset=0", items=[])

    assert kumactl("history").stderr == "No entries; with --all also those of the control plane and proxies\n"
    assert kumactl("history", "--all").stderr == ""


def test_one_revision_shows_what_it_changed(kumactl, cp):
    """After a line that says who did it."""
    cp.answer("GET", "/_changes/42", {**ENTRIES[0], "before": BEFORE, "after": AFTER})

    assert kumactl("history", "diff", "42").stdout == (
        "revision 42: update MeshTimeout demo/slow by alice from 10.0.0.7 at 2023-11-14T22:12:20.123456Z\n"
        + DIFFERENCE.format(before="before", after="after")
    )
    assert json.loads(kumactl("history", "-o", "json", "diff", "42").stdout)["before"] == BEFORE


def test_a_token_that_was_issued_shows_what_it_grants(kumactl, cp):
    """There is nothing to compare."""
    cp.answer("GET", "/_changes/7", {**ENTRIES[1], "before": None, "after": None})

    first, *rest = kumactl("history", "diff", "7").stdout.splitlines()

    assert first == "revision 7: issue UserToken bob by mesh-system:admin\ufffd[31m at 2023-11-13T22:13:20Z"
    assert yaml.safe_load("\n".join(rest)) == ENTRIES[1]["token"]


def test_two_revisions_show_what_differs(kumactl, cp):
    """Of all resources or some; up to now, too."""
    change = {"type": "MeshTimeout", "mesh": "demo", "name": "slow", "before": BEFORE, "after": AFTER}
    cp.answer("GET", "/_changes/difference?from=5&to=9", {"changes": [change]})
    cp.answer("GET", "/_changes/difference?mesh=demo&type=Mesh&from=5", {"changes": []})

    assert kumactl("history", "diff", "5", "9").stdout == DIFFERENCE.format(before="revision 5", after="revision 9")
    nothing = kumactl("history", "diff", "5", "now", "-m", "demo", "--kind", "mesh")
    assert (nothing.exit_code, nothing.stdout) == (0, "")
    assert nothing.stderr == "Nothing differs between revision 5 and now\n"


def test_what_came_and_what_went_is_shown_whole(kumactl, cp):
    """With the side on which it is not."""
    changes = [
        {"type": "Mesh", "name": "new", "before": None, "after": {"type": "Mesh", "name": "new"}},
        {"type": "Mesh", "name": "old\x1b", "before": {"type": "Mesh", "name": "old\x1b"}, "after": None},
    ]
    cp.answer("GET", "/_changes/difference?from=5&to=9", {"changes": changes})

    assert kumactl("history", "diff", "5", "9").stdout == (
        "--- Mesh new (absent)\n+++ Mesh new revision 9\n@@ -0,0 +1,2 @@\n+type: Mesh\n+name: new\n"
        "--- Mesh old\ufffd revision 5\n+++ Mesh old\ufffd (absent)\n@@ -1,2 +0,0 @@\n-type: Mesh\n"
        '-name: "old\\e"\n'
    )


@pytest.mark.parametrize(
    "args, message",
    [
        (["--since", "soon"], "Error: --since: write it like 2h, 7d, 2026-01-31 or 2026-01-31T12:00:00Z; see"),
        (["--since=-5m"], "Error: --since: write it like"),
        (["--since", "2999-01-01"], "Error: --since: write it like"),
        (["--since", "999999d"], "Error: --since: write it like"),
        (["--kind", "meshtimeuot"], 'Error: unknown type "meshtimeuot"; use one such as mesh, meshtimeout, secret or'),
        (["--limit", "0"], "Error: --limit: 0 is not in the range"),
        (["--limit", "1001"], "Error: --limit: 1001 is not in the range"),
        (["--offset", "-1"], "Error: --offset: -1 is not in the range"),
        (["diff"], "Error: the argument REVISION is missing; see"),
        (["diff", "last"], 'Error: "last" is not a revision: take a number from "kumactl history"; see'),
        (["diff", "1", "x"], 'Error: "x" is not a revision: take a number from "kumactl history" or now; see'),
        (["diff", "now"], 'Error: "now" is not a revision'),
        (["dif"], 'Error: unknown command "dif" for "kumactl history"; did you mean diff?'),
    ],
)
def test_wrong_input_is_explained(kumactl, cp, args, message):
    """Exit code 1, nothing on stdout, nothing asked."""
    result = kumactl("history", *args)

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(message)
    assert cp.requests() == []


@pytest.mark.parametrize("args", [["history"], ["history", "diff", "5"], ["history", "diff", "5", "9"]])
def test_refusals_and_strangers_are_told(kumactl, cp, args):
    """Without the right to see it, and by a control plane that has none."""
    result = kumactl(*args)
    assert result.exit_code == 1
    assert result.stderr.endswith(": this control plane keeps no history\n")

    for path in ("/_changes?size=50&offset=0", "/_changes/5", "/_changes/difference?from=5&to=9"):
        cp.refuse("GET", path, 403, "Access Denied", 'user "x" cannot access the change history')
    assert kumactl(*args).stderr.splitlines()[0].endswith(': Access Denied (user "x" cannot access the change history)')


def test_a_revision_that_is_not_logged_says_so(kumactl, cp):
    """In the words of the control plane."""
    cp.refuse("GET", "/_changes/5", 404, "Revision 5 is not in the change log: it was trimmed", "Not found")

    assert "Revision 5 is not in the change log: it was trimmed" in kumactl("history", "diff", "5").stderr


def test_nonsense_from_elsewhere_breaks_nothing(kumactl, cp):
    """Fields of the wrong type are shown as absent."""
    page(cp, items=[{"revision": None, "time": 5, "user": ["x"]}, "x"])
    cp.answer("GET", "/_changes/5", {"before": [], "after": "x", "type": 5})
    cp.answer("GET", "/_changes/difference?from=5&to=9", {"changes": {"a": 1}})

    assert kumactl("history").stdout.splitlines()[1].split() == ["None", "-", "never", *["-"] * 6]
    assert kumactl("history", "diff", "5").exit_code == 0
    assert kumactl("history", "diff", "5", "9").exit_code == 0
