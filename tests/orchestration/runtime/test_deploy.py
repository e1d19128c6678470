"""The units and the compose file of docs/runbooks/production.md name commands, processes and settings that exist."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from orchestration.cli.main import app
from orchestration.runtime import procfile, servers
from orchestration.runtime.home import PROJECT_ROOT

DEPLOY = PROJECT_ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SETTINGS = set(re.findall(r"^#([A-Z0-9_]+)=", (PROJECT_ROOT / ".env.example").read_text(), re.MULTILINE))
PRODUCTION = [name for name in procfile.names() if name != "simulator"]


def unit(path: Path) -> dict[str, list[str]]:
    """The values of the [Service] section by name; a name may stand there more than once."""
    found: dict[str, list[str]] = {}
    section = ""
    for line in path.read_text().splitlines():
        section = line if line.startswith("[") else section
        name, equals, value = line.partition("=")
        if equals and section == "[Service]":
            found.setdefault(name, []).append(value)
    return found


class TestUnits:
    @pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
    def test_they_run_our_commands_with_our_settings_and_a_closed_umask(self, path: Path) -> None:
        service = unit(path)
        program, command = service["ExecStart"][0].split()[:2]

        assert program.endswith("/.venv/bin/rapport")
        assert command in get_command(app).commands  # type: ignore[attr-defined]
        assert {value.partition("=")[0] for value in service["Environment"]} <= SETTINGS
        assert service["UMask"] == ["0077"]

    def test_the_runbook_enables_every_process(self) -> None:
        text = (PROJECT_ROOT / "docs" / "runbooks" / "production.md").read_text()
        enabled = re.search(r"systemctl enable --now (.*)", text)

        assert enabled is not None
        assert sorted(enabled[1].replace("rapport@", "").split()) == sorted(PRODUCTION)

    @pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
    def test_systemd_takes_them(self, path: Path, tmp_path: Path) -> None:
        if shutil.which("systemd-analyze") is None:
            pytest.skip("no systemd here")
        # The program need not be installed where the unit expects it.
        for each in UNITS:
            text = re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", each.read_text(), flags=re.MULTILINE)
            (tmp_path / each.name).write_text(text.replace("User=rapport\n", ""))
        verified = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", str(tmp_path / path.name)],
            capture_output=True,
            text=True,
            check=False,
        )
        # Of newer versions than some have.
        newer = ("RestartSteps", "RestartMaxDelaySec")
        complaints = [
            line
            for line in verified.stderr.splitlines()
            if path.name in line and not any(name in line for name in newer)
        ]

        assert complaints == []


class TestCompose:
    def test_every_process_runs_and_none_that_does_not_exist(self) -> None:
        ours = {name: service for name, service in COMPOSE["services"].items() if service.get("image") == "rapport"}

        assert sorted(ours) == sorted([*PRODUCTION, "migrate"])
        for name in PRODUCTION:
            assert ours[name]["command"] == ["rapport", "exec", name]
        assert ours["migrate"]["command"][1] in get_command(app).commands  # type: ignore[attr-defined]

    def test_its_settings_exist(self) -> None:
        named = {
            setting
            for service in COMPOSE["services"].values()
            if service.get("image") == "rapport"
            for setting in service["environment"]
        }
        assert named <= SETTINGS

    def test_nothing_is_published_beyond_loopback_and_the_ports_are_those_of_the_product(self) -> None:
        published = [port for service in COMPOSE["services"].values() for port in service.get("ports", ())]

        assert published
        for port in published:
            host, outside, inside = port.split(":")
            assert (host, outside) == ("127.0.0.1", inside)
            assert int(inside) in servers.PORTS.values()


def test_units_are_what_they_are_read_as() -> None:
    """Each is a file of sections, as a parser of such files sees it."""
    for path in UNITS:
        parser = configparser.ConfigParser(strict=False, interpolation=None)
        parser.optionxform = str  # type: ignore[assignment,method-assign]
        parser.read(path)
        assert {"Unit", "Service", "Install"} <= set(parser.sections())
