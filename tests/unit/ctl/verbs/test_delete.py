"""``kumactl delete`` removes one resource and says what it did."""

import pytest


def test_a_deleted_resource_is_named(kumactl, cp):
    """In the mesh that was asked for; flags may stand anywhere."""
    cp.answer("DELETE", "/meshes/demo/dataplanes/web-1", {})
    cp.answer("DELETE", "/globalsecrets/s", {})
    result = kumactl("delete", "dataplane", "web-1", "-m", "demo")
    assert (result.exit_code, result.stdout, result.stderr) == (0, 'deleted Dataplane "web-1"\n', "")
    assert kumactl("delete", "-m", "demo", "dataplane", "web-1").exit_code == 0
    assert kumactl("delete", "global-secret", "s").stdout == 'deleted GlobalSecret "s"\n'


@pytest.mark.parametrize(
    "args, message",
    [
        (["mesh", "x"], 'Error: there is no Mesh with name "x"\n'),
        (["insight", "x"], "Error: unknown TYPE: insight. Allowed values: dataplane, globalsecret, mesh, "),
        (["meshes", "x"], "Error: unknown TYPE: meshes. Allowed values: "),
        (["mesh-insight", "x"], "Error: TYPE: mesh-insight is readOnly, can't use it for write action\n"),
        (["mesh"], 'Error: the argument NAME is missing; see "kumactl delete --help"\n'),
        ([], "Error: the argument TYPE is missing"),
    ],
)
def test_what_cannot_be_deleted_is_said(kumactl, cp, args, message):
    """Exit code 1, nothing on stdout."""
    result = kumactl("delete", *args)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(message)


def test_a_refusal_names_the_resource(kumactl, cp):
    """With the server's reason and fields."""
    cp.refuse(
        "DELETE", "/meshes/demo", 400, "Could not delete a resource", "Resource is not valid", mesh="has dataplanes"
    )
    assert kumactl("delete", "mesh", "demo").stderr == (
        'Error: failed to delete Mesh with the name "demo": Could not delete a resource (Resource is not valid)\n'
        "* mesh: has dataplanes\n"
    )
