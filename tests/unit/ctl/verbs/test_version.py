"""``kumactl version`` names the release it is compatible with, and itself."""

from kuma.core.version import NAME, VERSION


def test_client_and_server_in_two_lines(kumactl, cp):
    """As Kuma prints them."""
    cp.answer("GET", "/", {"product": "Kuma", "version": "2.9.0"})
    result = kumactl("version")
    assert (result.stdout, result.stderr) == ("Client: Kuma 2.14.3\nServer: Kuma 2.9.0\n", "")


def test_all_details(kumactl, cp):
    """Our own name and version are among them; the server's answer is shown whole."""
    cp.answer("GET", "/", {"product": "Kuma", "version": "2.14.3"})
    assert kumactl("version", "-a").stdout == (
        "Product:       Kuma\nVersion:       2.14.3\nGit Tag:       unknown\nGit Commit:    unknown\n"
        f"Build Date:    unknown\nRelease:       {NAME} {VERSION}\n"
        'Server: {\n   "product": "Kuma",\n   "version": "2.14.3"\n}\n'
    )


def test_no_server_is_no_failure(bare, home):
    """The client's version is shown all the same."""
    (home / "config").write_text(
        "controlPlanes: [{name: gone, coordinates: {apiServer: {url: 'http://127.0.0.1:1'}}}]\n"
        "contexts: [{name: gone, controlPlane: gone}]\ncurrentContext: gone\n"
    )
    result = bare("version", "--config-file", home / "config", "--api-timeout", "2s")
    assert result.exit_code == 0
    assert result.stdout == "Client: Kuma 2.14.3\n"
    assert result.stderr.startswith("Unable to connect to control plane: ")
