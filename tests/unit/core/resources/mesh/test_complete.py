from kuma.core.resources.mesh.complete import complete
from kuma.core.resources.mesh.spec import Mesh


def test_a_mesh_without_metrics_is_stored_as_written():
    """Nothing is added where nothing was asked for."""
    mesh = Mesh.model_validate({"routing": {"zoneEgress": False}})
    assert complete(mesh) is mesh
    assert mesh.to_json() == {"routing": {}}


def test_every_prometheus_backend_gets_its_defaults():
    """Also one that has no conf at all."""
    mesh = Mesh.model_validate({"metrics": {"backends": [{"name": "a", "type": "prometheus"}, {"name": "b"}]}})
    first, second = complete(mesh).to_json()["metrics"]["backends"]
    assert first["conf"]["port"] == 5670
    assert second == {"name": "b"}
