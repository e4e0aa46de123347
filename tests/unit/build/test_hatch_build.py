"""What `pip install .` puts on a machine."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[3]


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_wheel_carries_the_programs_and_the_envoy_api(tmp_path):
    """A wheel built from a checkout without generated code has the messages and starts all three programs."""
    checkout = tmp_path / "checkout"
    shutil.copytree(_ROOT / "build", checkout / "build", ignore=shutil.ignore_patterns("__pycache__"))
    (checkout / "src" / "kuma").mkdir(parents=True)
    (checkout / "README.md").write_text("# a readme\n", encoding="utf-8")
    for name in ("pyproject.toml", "LICENSE", ".gitignore", "src/kuma/__init__.py", "src/kuma/py.typed"):
        shutil.copy(_ROOT / name, checkout / name)

    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)],
        cwd=checkout,
        capture_output=True,
        check=True,
    )

    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as content:
        names = content.namelist()
        (entry_points,) = (name for name in names if name.endswith("/entry_points.txt"))
        scripts = content.read(entry_points).decode()
    assert wheel.name.endswith("-py3-none-any.whl")
    assert "kuma/py.typed" in names
    assert "kuma/envoy_api/envoy/config/cluster/v3/cluster_pb2.py" in names
    assert "kuma/envoy_api/envoy/config/cluster/v3/cluster_pb2.pyi" in names
    for program in ("kuma-cp = kuma.cp.cli:main", "kuma-dp = kuma.dp.cli:main", "kumactl = kuma.ctl.cli:main"):
        assert program in scripts
