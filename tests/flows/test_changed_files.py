"""A registered version whose files change: flagged while it is served, refused at the next start, served again when mended."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner, Result

from gateway.cli.demo.folder import opened, write_settings
from gateway.cli.demo.ports import Ports, choose_ports
from gateway.cli.demo.process import GatewayProcess
from gateway.cli.main import maas
from gateway.controlplane.access.service import create_first_admin
from gateway.secret import load_secret
from gateway.settings import load_settings
from tests.db.servers import wait_until

pytestmark = pytest.mark.slow

SAMPLES = Path(__file__).parents[2] / "model_repository"
METRIC = 'maas_version_files_changed{model="digits",version="1"} 1.0'


def test_a_changed_file_is_flagged_then_refused_then_served_again(tmp_path: Path) -> None:
    """In metrics, in `maas model show` and in `maas doctor`; callers are served what was loaded, until the next start."""
    repository = tmp_path / "repository"
    shutil.copytree(SAMPLES / "digits", repository / "digits")
    file = repository / "digits" / "1" / "model.onnx"
    with opened(tmp_path / "data") as folder:
        ports = choose_ports(0, 0, 0)
        path = write_settings(folder, ports, repository)
        text = path.read_text()
        assert "# files_check_s = 30.0" in text
        path.write_text(text.replace("# files_check_s = 30.0", "files_check_s = 0.2"))
        settings = load_settings(path, {})
        key = create_first_admin(settings.database_url, load_secret(settings))
        assert key is not None

        def run(*arguments: object) -> Result:
            environment = {"MAAS_URL": ports.control_url, "MAAS_KEY": key}
            return CliRunner().invoke(maas, [str(each) for each in arguments], env=environment)

        def shown() -> list[str]:
            found: list[str] = json.loads(run("model", "show", "digits", "--json").stdout)["versions"][0][
                "hosts_with_other_files"
            ]
            return found

        with GatewayProcess(path, folder / "gateway.log") as process:
            process.wait_until_ready(ports)
            register(run)
            wait_until(lambda: called(ports, key) == 200, "the alias to answer")
            assert shown() == []
            whole = file.read_bytes()
            file.write_bytes((repository / "digits" / "3" / "model.onnx").read_bytes())
            wait_until(lambda: METRIC in httpx.get(f"{ports.control_url}/metrics").text, "the metric")
            wait_until(lambda: shown() != [], "the report")
            assert "has other files than were registered" in run("model", "show", "digits").stdout
            assert called(ports, key) == 200
            told = run("doctor", "--config", path).stdout
            assert "digits@1" in told
        with GatewayProcess(path, folder / "gateway.log") as process:
            process.wait_until_ready(ports)
            assert called(ports, key) == 503
            assert "its files are not those that were registered" in (folder / "gateway.log").read_text()
        file.write_bytes(whole)
        with GatewayProcess(path, folder / "gateway.log") as process:
            process.wait_until_ready(ports)
            wait_until(lambda: called(ports, key) == 200, "the alias to answer")
            wait_until(lambda: shown() == [], "the report")


def register(run: Callable[..., Result]) -> None:
    for words in (
        "pool set local --engine embedded",
        f"model register {SAMPLES / 'digits'} --team vision --pool local",
        "alias set digits digits@1 --team vision --yes",
    ):
        done = run(*words.split())
        assert done.exit_code == 0, done.output


def called(ports: Ports, key: str) -> int:
    body = {"inputs": [{"name": "image", "datatype": "FP32", "shape": [1, 64], "data": [0.0] * 64}]}
    headers = {"Authorization": f"Bearer {key}"}
    url = f"{ports.inference_url}/v2/models/digits/infer"
    return httpx.post(url, json=body, headers=headers).status_code
