"""``GET /_rollout/{revision}`` and the headers that lead there."""

import pytest

from tests.contract.api.control_plane import TIMEOUT


async def test_a_write_tells_its_revision_and_whether_anything_changed(client):
    """What was stored already is no change; its revision contains it all the same."""
    path = f"/meshes/default/meshtimeouts/{TIMEOUT['name']}"
    first, again = await client.put(path, json=TIMEOUT), await client.put(path, json=TIMEOUT)

    assert "kuma-changed" not in first.headers
    assert again.headers["kuma-changed"] == "false"
    assert again.headers["kuma-revision"] == first.headers["kuma-revision"]

    answer = (await client.get(f"/_rollout/{first.headers['kuma-revision']}")).json()
    assert answer["settled"]
    assert answer["counts"] == {"pending": 0, "refused": 0, "earlier": 0}


@pytest.mark.parametrize("query", ["wait=soon", "since=x", "since=-1", "since=1000000"])
async def test_a_question_that_makes_no_sense_is_refused(client, query):
    """With the parameter that is wrong."""
    answer = await client.get(f"/_rollout/1?{query}")

    assert answer.status_code == 400
    assert query.partition("=")[0] in answer.json()["detail"]
