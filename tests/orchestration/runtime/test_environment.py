from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from pydantic_settings import BaseSettings

from feature_store.settings import Settings as FeatureStoreSettings
from gateway.settings import GatewaySettings
from gateway.simulator.settings import SimulatorSettings
from orchestration.runtime import environment
from orchestration.runtime.environment import SettingUnusable, admin_database_url, read_env_file, role_url
from orchestration.runtime.home import PROJECT_ROOT, Home
from orchestration.runtime.redis import EmbeddedRedis
from serving.settings import Settings as ServingSettings
from training.settings import TrainingSettings

SETTINGS = (ServingSettings, GatewaySettings, SimulatorSettings, FeatureStoreSettings, TrainingSettings)
EXAMPLE = (PROJECT_ROOT / ".env.example").read_text().splitlines()


def variables(settings: type[BaseSettings]) -> set[str]:
    return {f"{settings.model_config['env_prefix']}{name}".upper() for name in settings.model_fields}


# Read where they are used: by the command, by dbt's profile, by one asset or sensor.
OF_NO_CLASS = {
    "RAPPORT_HOME",
    "RAPPORT_ENV_FILE",
    "RAPPORT_ALERT_URL",
    "API_LISTEN",
    "API_PROCESSES",
    "PAGES_LISTEN",
    "PAGES_PUBLIC_HOSTS",
    "DATABASE_URL",
    "REDIS_URL",
    "PUBLICATION_DATABASE_URL",
    "DUCKDB_MEMORY_LIMIT",
}


class TestExample:
    @pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: settings.__module__)
    def test_every_setting_has_a_line(self, settings: type[BaseSettings]) -> None:
        listed = {line[1:].partition("=")[0] for line in EXAMPLE if re.match(r"#[A-Z0-9_]+=", line)}

        assert variables(settings) - listed == set()

    def test_no_line_names_a_setting_that_is_gone(self) -> None:
        known = set().union(*map(variables, SETTINGS)) | OF_NO_CLASS

        assert {line[1:].partition("=")[0] for line in EXAMPLE if re.match(r"#[A-Z0-9_]+=", line)} == known

    def test_every_line_stands_under_its_meaning(self) -> None:
        for line, above in zip(EXAMPLE[1:], EXAMPLE, strict=False):
            if re.match(r"#[A-Z0-9_]+=", line):
                assert above.startswith("#"), line

    @pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: settings.__module__)
    def test_the_defaults_shown_are_the_defaults(self, settings: type[BaseSettings]) -> None:
        shown = dict(line[1:].split("=", 1) for line in EXAMPLE if re.match(r"#[A-Z0-9_]+=.", line))
        for name, field in settings.model_fields.items():
            value = shown.get(f"{settings.model_config['env_prefix']}{name}".upper())
            if value is not None:
                assert str(field.default).lower() == value.lower(), name

    def test_what_rapport_makes_is_said_to_be_made_by_rapport(
        self, home: Home, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        state = home.state() | {"ports": {"api": 1, "simulator": 2, "dagster": 3}}
        monkeypatch.setattr(Home, "state", lambda self: state)
        told_of = set().union(*map(variables, SETTINGS)) | OF_NO_CLASS - {"RAPPORT_HOME"}
        made = set(environment.process_environment(home)) & told_of

        said: set[str] = set()
        meaning = ""
        for line in EXAMPLE:
            if re.match(r"#[A-Z0-9_]+=", line):
                said |= {line[1:].partition("=")[0]} if "Set by rapport" in meaning else set()
            else:
                meaning = line
        assert said == made


class TestReadEnvFile:
    def test_sets_what_is_not_set(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file = tmp_path / "env"
        file.write_text("# c\n\nA_NEW=one\nexport B_NEW='two words'\nC_SET=file\nD_EMPTY=\n")
        monkeypatch.setenv("RAPPORT_ENV_FILE", str(file))
        for name in ("A_NEW", "B_NEW", "D_EMPTY"):
            monkeypatch.setenv(name, "")
            monkeypatch.delenv(name)
        monkeypatch.setenv("C_SET", "shell")

        read_env_file()

        assert (os.environ["A_NEW"], os.environ["B_NEW"], os.environ["C_SET"]) == ("one", "two words", "shell")
        assert "D_EMPTY" not in os.environ

    def test_names_the_line_it_cannot_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "env").write_text("A=1\nnonsense\n")
        monkeypatch.setenv("RAPPORT_ENV_FILE", str(tmp_path / "env"))

        with pytest.raises(SettingUnusable, match="env, line 2"):
            read_env_file()

    def test_the_example_can_be_used_as_it_is(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RAPPORT_ENV_FILE", str(PROJECT_ROOT / ".env.example"))

        read_env_file()


class TestUrls:
    @pytest.mark.parametrize(
        ("given", "used"),
        [
            ("postgres://u:p@h:5/d", "postgresql://u:p@h:5/d"),
            ("postgresql+psycopg://u:p@h/d?sslmode=require", "postgresql://u:p@h/d?sslmode=require"),
        ],
    )
    def test_the_database_url_is_understood_in_each_spelling(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, used: str
    ) -> None:
        monkeypatch.setenv("DATABASE_URL", given)
        assert admin_database_url(Home(tmp_path)) == used

    @pytest.mark.parametrize("given", ["mysql://h/d", "postgresql://h", "localhost", "postgresql://h/"])
    def test_one_that_names_no_database_is_refused_without_showing_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
    ) -> None:
        monkeypatch.setenv("DATABASE_URL", given)
        with pytest.raises(SettingUnusable, match="DATABASE_URL must look like"):
            admin_database_url(Home(tmp_path))

    def test_a_role_enters_with_its_own_password(self) -> None:
        assert role_url("postgresql://u:p%40x@h:5/d?sslmode=require", "app", "a/b@c") == (
            "postgresql://app:a%2Fb%40c@h:5/d?sslmode=require"
        )


def test_servers_of_ones_own_are_handed_to_the_processes(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:p@db.example:5/d")
    monkeypatch.setenv("REDIS_URL", "redis://cache.example:6/0")

    made = environment.process_environment(home)

    assert "@db.example:5/d" in made["SERVING_DATABASE_URL"]
    assert made["SERVING_REDIS_URL"] == made["FEATURE_STORE_REDIS_URL"] == "redis://cache.example:6/0"
    assert EmbeddedRedis(home).url() not in made.values()
