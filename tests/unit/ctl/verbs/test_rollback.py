"""``kumactl rollback`` shows what will change, asks, and does exactly that."""

import pytest

BEFORE = {"type": "MeshTimeout", "mesh": "default", "name": "slow", "spec": {"to": "now"}}
AFTER = {"type": "MeshTimeout", "mesh": "default", "name": "slow", "spec": {"to": "then"}}
CHANGE = {"type": "MeshTimeout", "mesh": "default", "name": "slow", "before": BEFORE, "after": AFTER}
PLAN = {"revision": 41, "plan": "abc", "written": 0, "warnings": [], "leftAlone": [], "changes": [CHANGE]}
DIFFERENCE = """\
--- MeshTimeout default/slow now
+++ MeshTimeout default/slow revision 41
@@ -2,4 +2,4 @@
 mesh: default
 name: slow
 spec:
-  to: now
+  to: then
"""


@pytest.fixture
def planned(cp):
    """A control plane that would change one timeout."""

    def make(status=200, **fields):
        cp.answer("POST", "/_rollback/41", {**PLAN, "written": 57, **fields}, status)

    make()
    return make


def sent(cp):
    """The bodies of what was asked."""
    return [asked.json for asked in cp.asked if asked.method == "POST"]


def test_with_yes_it_is_shown_and_done(kumactl, cp, planned):
    """The second request asks for the very plan that was shown."""
    result = kumactl("rollback", "41", "--yes")

    assert (result.exit_code, result.stdout) == (0, f"{DIFFERENCE}rolled back to revision 41 as revision 57\n")
    assert result.stderr == "Rolling back to revision 41 changes 1 resource\n"
    assert sent(cp) == [{"mesh": "", "dryRun": True}, {"mesh": "", "plan": "abc"}]


def test_a_dry_run_only_shows(kumactl, cp, planned):
    """Also with --yes."""
    result = kumactl("rollback", "41", "--dry-run", "--yes")

    assert (result.exit_code, result.stdout) == (0, DIFFERENCE)
    assert [body.get("dryRun") for body in sent(cp)] == [True]


def test_without_a_terminal_it_needs_yes(kumactl, cp, planned):
    """A script does not answer questions; even if something is on its standard input."""
    result = kumactl("rollback", "41", given="y\n")

    assert (result.exit_code, result.stdout) == (1, DIFFERENCE)
    assert result.stderr.endswith(
        "Error: nothing was changed: there is no terminal to ask on; with --yes it is done without asking\n"
    )
    assert len(sent(cp)) == 1


@pytest.mark.parametrize(
    "args, about",
    [
        ([], {"mesh": ""}),
        (["-m", "demo"], {"mesh": "demo"}),
        (["MeshTimeout", "slow"], {"type": "MeshTimeout", "name": "slow", "mesh": "default"}),
        (["meshtimeout", "slow", "-m", "demo"], {"type": "MeshTimeout", "name": "slow", "mesh": "demo"}),
        (["mesh", "demo"], {"type": "Mesh", "name": "demo", "mesh": ""}),
        (["global-secret", "s"], {"type": "GlobalSecret", "name": "s", "mesh": ""}),
    ],
)
def test_everything_a_mesh_or_one_resource(kumactl, cp, planned, args, about):
    """The default mesh is meant only where a resource needs one."""
    assert kumactl("rollback", "41", *args, "--dry-run").exit_code == 0
    assert sent(cp) == [{**about, "dryRun": True}]


def test_what_is_left_alone_is_said_in_few_words(kumactl, cp, planned):
    """Many of one reason are one line."""
    many = [{"type": "Dataplane", "mesh": "m", "name": f"d-{n}", "reason": "its proxy writes it"} for n in range(12)]
    secret = {"type": "GlobalSecret", "name": "s", "reason": "a secret\x1b"}
    planned(leftAlone=[*many, secret], warnings=["mTLS is on"])

    lines = kumactl("rollback", "41", "--dry-run").stderr.splitlines()

    first = ", ".join(f"Dataplane m/d-{n}" for n in range(10))
    assert lines == [
        f"Left alone: {first} and 2 more (its proxy writes it)",
        "Left alone: GlobalSecret s (a secret\ufffd)",
        "Warning: mTLS is on",
        "Rolling back to revision 41 changes 1 resource",
    ]


def test_nothing_to_do_says_what_may_have_been_meant(kumactl, cp, planned):
    """The state of a revision contains it."""
    planned(changes=[])

    result = kumactl("rollback", "41")

    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == (
        "Nothing to change: all is as it was right after revision 41; "
        "to undo revision 41 itself, roll back to revision 40\n"
    )
    assert len(sent(cp)) == 1


def test_before_the_first_revision_there_is_none_to_go_back_to(kumactl, cp):
    """So none is named."""
    cp.answer("POST", "/_rollback/0", {**PLAN, "changes": []})

    assert kumactl("rollback", "0").stderr == "Nothing to change: all is as it was right after revision 0\n"


def test_what_comes_back_as_of_another_revision_says_which(kumactl, cp, planned):
    """A secret of a mesh that was deleted is not what it was right after the revision that was asked for."""
    planned(changes=[{**CHANGE, "asOf": 50}], warnings=['secrets of Mesh "m" come back as they were'])

    result = kumactl("rollback", "41", "--dry-run")

    assert result.stdout == DIFFERENCE.replace("slow revision 41", "slow revision 50")
    assert result.stderr.startswith('Warning: secrets of Mesh "m" come back as they were\n')


def test_one_resource_that_stays_is_an_error(kumactl, cp, planned):
    """It was asked for, and it did not happen."""
    planned(
        changes=[], leftAlone=[{"type": "Dataplane", "mesh": "default", "name": "d", "reason": "its proxy writes it"}]
    )

    result = kumactl("rollback", "41", "dataplane", "d", "--yes")

    assert result.exit_code == 1
    assert result.stderr == "Error: Dataplane default/d is not rolled back: its proxy writes it\n"


def test_what_will_happen_is_counted(kumactl, cp, planned):
    """Before anybody agrees to it."""
    made, gone = {**CHANGE, "before": None}, {**CHANGE, "after": None}
    planned(changes=[made, CHANGE, gone, gone])

    assert kumactl("rollback", "41", "--dry-run").stderr == (
        "Rolling back to revision 41 creates 1 and changes 1 and deletes 2 resources\n"
    )


def test_it_waits_for_the_proxies_if_asked_to(kumactl, cp, planned):
    """For the revision that it wrote."""
    cp.answer("GET", "/_rollout/57?wait=5.000s", {"total": 3, "done": 3, "settled": True, "pending": [], "refused": []})

    result = kumactl("rollback", "41", "--yes", "--wait")

    assert result.exit_code == 0, result.stderr
    assert result.stdout.endswith("rolled back to revision 41 as revision 57\n3 of 3 proxies have the change\n")


@pytest.mark.parametrize(
    "status, title, detail, message",
    [
        (403, "Access Denied", "no", "Access Denied (no)\n"),
        (400, "Bad Request", "the oldest is 5", "Bad Request (the oldest is 5)\n"),
        (404, "There is no MeshTimeout", "Not found", "There is no MeshTimeout (Not found)\n"),
        (409, "Conflict", "someone", "Conflict (someone)\n"),
    ],
)
def test_a_refusal_is_told_with_what_to_do(kumactl, cp, status, title, detail, message):
    """Exit code 1 and nothing on stdout."""
    cp.refuse("POST", "/_rollback/41", status, title, detail)

    result = kumactl("rollback", "41", "--yes")

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"Error: failed to roll back to revision 41: {message}")


def test_each_fault_is_told(kumactl, cp):
    """With the resource that has it."""
    cp.refuse(
        "POST", "/_rollback/41", 400, "Could not roll back", "Nothing was changed", **{'Mesh "m": mesh': "proxies"}
    )

    assert kumactl("rollback", "41", "--yes").stderr == (
        "Error: failed to roll back to revision 41: Could not roll back (Nothing was changed)\n"
        '* Mesh "m": mesh: proxies\n'
    )


@pytest.mark.parametrize(
    "args, message",
    [
        ([], "Error: the argument REVISION is missing; see"),
        (
            ["now"],
            'Error: "now" is not a revision: take a number from "kumactl history"; see "kumactl rollback --help"',
        ),
        (["-1"], "Error: unknown flag: -1"),
        (["41", "meshtimeout"], 'Error: the NAME of the MeshTimeout is missing; see "kumactl rollback --help"'),
        (["41", "timeout", "x"], 'Error: unknown TYPE "timeout"; use one such as mesh, meshtimeout or dataplane'),
        (["41", "usertoken", "x"], 'Error: unknown TYPE "usertoken"'),
        (["41", "mesh-insight", "x"], "Error: MeshInsight is written by the control plane itself and cannot be rolled"),
        (["41", "mesh", "x", "y"], "Error: Got unexpected extra argument"),
        (["41", "--yes", "--wait=soon"], "Error: --wait: "),
    ],
)
def test_wrong_input_is_explained(kumactl, cp, planned, args, message):
    """Nothing is asked, nothing is done."""
    result = kumactl("rollback", *args)

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(message)
    assert sent(cp) == []


def test_a_control_plane_without_history_is_named_so(kumactl, cp):
    """Kuma's own has none."""
    assert kumactl("rollback", "41").stderr == (
        "Error: failed to roll back to revision 41: this control plane keeps no history\n"
    )
