from __future__ import annotations

import fcntl
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from orchestration.runtime.home import PROJECT_ROOT, Home, HomeLocked, HomeUnusable, write_atomically


class TestFromEnvironment:
    def test_makes_a_folder_that_others_cannot_look_into(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RAPPORT_HOME", str(tmp_path / "a b" / "home"))

        path = Home.from_environment().path

        assert path == tmp_path / "a b" / "home"
        assert stat.S_IMODE(path.stat().st_mode) == 0o700

    def test_leaves_an_existing_folder_as_it_is(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        tmp_path.chmod(0o750)
        monkeypatch.setenv("RAPPORT_HOME", str(tmp_path))

        assert stat.S_IMODE(Home.from_environment().path.stat().st_mode) == 0o750

    def test_says_which_folder_cannot_be_made(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "file").touch()
        monkeypatch.setenv("RAPPORT_HOME", str(tmp_path / "file" / "home"))

        with pytest.raises(HomeUnusable, match=r"file/home cannot be made \(Not a directory\)"):
            Home.from_environment()


class TestSecrets:
    def test_are_made_once_and_readable_by_their_owner_alone(self, tmp_path: Path) -> None:
        made = Home(tmp_path).secrets()

        assert Home(tmp_path).secrets() == made
        assert len(set(made.values())) == len(made)
        assert stat.S_IMODE((tmp_path / "secrets.json").stat().st_mode) == 0o600

    @pytest.mark.parametrize("text", ["", "{", "[]", "\xff"])
    def test_a_damaged_file_is_named_with_a_remedy_and_left_alone(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "secrets.json").write_text(text, encoding="latin-1")

        with pytest.raises(HomeUnusable, match=r"secrets\.json is damaged .* put back a copy"):
            Home(tmp_path).secrets()
        assert (tmp_path / "secrets.json").read_text(encoding="latin-1") == text

    def test_are_not_made_anew_for_databases_that_know_the_old_ones(self, tmp_path: Path) -> None:
        home = Home(tmp_path)
        home.secrets()
        home.remember(postgres_port=1)
        (tmp_path / "secrets.json").unlink()

        with pytest.raises(HomeUnusable, match="is missing; put back a copy"):
            home.secrets()

    def test_one_can_be_renewed(self, tmp_path: Path) -> None:
        before = Home(tmp_path).secrets()

        Home(tmp_path).renew_secret("jwt")

        after = Home(tmp_path).secrets()
        assert [name for name in before if before[name] != after[name]] == ["jwt"]


class TestState:
    def test_keeps_what_is_remembered(self, tmp_path: Path) -> None:
        Home(tmp_path).remember(a=1)
        Home(tmp_path).remember(b=2)

        assert Home(tmp_path).state() == {"a": 1, "b": 2}

    def test_a_damaged_file_is_named_with_a_remedy(self, tmp_path: Path) -> None:
        (tmp_path / "state.json").write_text('{"ports": ')

        with pytest.raises(HomeUnusable, match=r"state\.json is damaged .* remove it"):
            Home(tmp_path).state()


class TestLock:
    def test_a_second_command_is_refused_until_the_first_is_done(self, tmp_path: Path) -> None:
        program = (
            "import sys; from pathlib import Path; from orchestration.runtime.home import Home\n"
            "with Home(Path(sys.argv[1])).lock(): pass"
        )

        def other() -> subprocess.CompletedProcess[str]:
            command = [sys.executable, "-c", program, str(tmp_path)]
            return subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)

        with Home(tmp_path).lock():
            assert HomeLocked.__name__ in other().stderr
        assert other().returncode == 0

    def test_within_the_lock_it_can_be_taken_again_and_is_kept(self, tmp_path: Path) -> None:
        home = Home(tmp_path)
        with home.lock():
            with home.lock():
                pass
            with (tmp_path / "lock").open() as handle, pytest.raises(BlockingIOError):
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


class TestWriteAtomically:
    def test_a_full_disk_is_told_and_leaves_the_old_text(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file = tmp_path / "file"
        file.write_text("old")

        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(HomeUnusable, match=r"file cannot be written \(No space left on device\)"):
            write_atomically(file, "new")
        assert file.read_text() == "old"
        assert list(tmp_path.iterdir()) == [file]
