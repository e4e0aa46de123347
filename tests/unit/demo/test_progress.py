"""The start as it is shown."""

from __future__ import annotations

from kuma.demo.lines import Look, painted
from kuma.demo.progress import Step, all_shown, shown


def test_steps_show_how_long_they_take_and_what_came_of_them():
    """One that runs turns, one that is over has a mark and its time stands still."""
    first, second = Step("control plane", begun=10), Step("proxies", begun=12, note="web, kv")
    first.done(11.5, "http://127.0.0.1:20001")

    texts = [painted(one, Look()) for one in all_shown([first, second], 13.2, Look())]

    assert texts == [
        "  ✓ control plane         1.5 s   http://127.0.0.1:20001",
        "  ⠹ proxies               1.2 s   web, kv",
    ]


def test_what_was_not_done_is_marked_when_the_start_is_over():
    """A failed start shows which steps it did not finish; those that are done stay done."""
    done, open_ = Step("tokens", begun=0), Step("proxies", begun=0)
    done.done(1)
    for step in (done, open_):
        step.give_up(2)

    texts = [painted(one, Look()).split() for one in all_shown([done, open_], 5, Look())]

    assert texts == [["✓", "tokens", "1.0", "s"], ["✗", "proxies", "2.0", "s"]]


def test_a_note_stays_when_nothing_better_is_known():
    """Done without a word leaves what was said."""
    step = Step("applications", begun=0, note="four of them")
    step.done(1)

    assert painted(shown(step, 9, Look(unicode=False)), Look(unicode=False)).endswith("1.0 s   four of them")
