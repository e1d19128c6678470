"""What other users of the machine may do in RAPPORT_HOME: nothing."""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
from pathlib import Path

import psycopg
import pytest

from orchestration.runtime import services
from orchestration.runtime.home import Home
from orchestration.runtime.postgres import EmbeddedPostgres
from orchestration.runtime.privacy import UMASK, close


def open_to_others(folder: Path) -> dict[str, str]:
    """Every file and folder below (links aside) that grants something to group or others, with its mode."""
    found = {}
    for path in (folder, *folder.rglob("*")):
        mode = path.lstat().st_mode
        if not stat.S_ISLNK(mode) and mode & 0o077:
            found[str(path.relative_to(folder))] = oct(stat.S_IMODE(mode))
    return found


def old_installation(folder: Path) -> None:
    """As versions before made it as root: 0711, with readable files inside."""
    folder.chmod(0o711)
    for name in ("warehouse/warehouse.duckdb", "snapshots/acme.duckdb", "logs/api.log", "celerybeat-schedule.dat"):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        for path in (file, *(above for above in file.parents if above != folder and above.is_relative_to(folder))):
            path.chmod(0o755 if path.is_dir() else 0o644)


class TestClose:
    def test_an_earlier_installation_is_closed(self, tmp_path: Path) -> None:
        old_installation(tmp_path)

        close(Home(tmp_path))

        assert open_to_others(tmp_path) == {}
        assert os.access(tmp_path / "warehouse" / "warehouse.duckdb", os.R_OK | os.W_OK)

    def test_what_is_not_the_products_keeps_its_rights(self, tmp_path: Path) -> None:
        (tmp_path / "photos").mkdir()
        (tmp_path / "photos").chmod(0o755)
        tmp_path.chmod(0o755)
        old_installation(tmp_path)
        tmp_path.chmod(0o755)

        close(Home(tmp_path))

        assert open_to_others(tmp_path) == {".": "0o755", "photos": "0o755"}

    def test_a_link_is_not_followed(self, tmp_path: Path) -> None:
        elsewhere, home = tmp_path / "elsewhere", tmp_path / "home"
        for folder in (elsewhere, home):
            folder.mkdir()
        elsewhere.chmod(0o755)
        (home / "bundles").symlink_to(elsewhere)

        close(Home(home))

        assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o755


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as another user")
def test_as_root_the_database_works_and_a_stranger_gets_nowhere(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    home = Home(open_folder / "home")
    home.path.mkdir()
    old_installation(home.path)
    before = os.umask(UMASK)  # as every command sets it
    server = EmbeddedPostgres(home)
    try:
        services.start_stores(home)
        with psycopg.connect(server.url("postgres", "postgres_admin"), autocommit=True) as connection:
            connection.execute("CREATE TABLE checked (number int); INSERT INTO checked VALUES (1); CHECKPOINT")
        stranger = next(user for user in ("daemon", "bin", "games") if pwd.getpwnam(user).pw_gid)
        looks = subprocess.run(
            ["cat", str(home.path / "warehouse" / "warehouse.duckdb")], user=stranger, group=stranger,
            extra_groups=[], capture_output=True, check=False,
        )  # fmt: skip

        assert b"Permission denied" in looks.stderr
        # Passing through is for the group of the server's user alone.
        assert open_to_others(home.path) == {".": "0o710"}
        assert home.path.stat().st_gid == pwd.getpwnam(home.postgres.owner()).pw_gid
    finally:
        services.down(home)
        os.umask(before)
