from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.training.conftest import START
from training.datasets import content_digest
from training.snapshots import load_dataset, save_dataset
from training.synthetic import synthetic_dataset


class TestLoadDataset:
    def test_gives_back_what_was_saved(self, tmp_path: Path) -> None:
        dataset, _ = synthetic_dataset("churn", 50, 3, seed=1, start=START)
        save_dataset(dataset, tmp_path)
        found = load_dataset(tmp_path, "churn")
        assert found.frame.equals(dataset.frame)
        assert list(found.inputs) == list(dataset.inputs)
        assert content_digest(found.frame, found.inputs) == dataset.digest

    def test_the_newest_save_is_the_one_found(self, tmp_path: Path) -> None:
        for contacts in (50, 60):
            save_dataset(synthetic_dataset("churn", contacts, 3, seed=1, start=START)[0], tmp_path)
        assert load_dataset(tmp_path, "churn").frame["contact_id"].n_unique() == 60

    def test_a_save_that_is_killed_leaves_one_set_whole(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        first, second = (synthetic_dataset("churn", contacts, 3, seed=1, start=START)[0] for contacts in (50, 60))
        save_dataset(first, tmp_path)
        replaced = os.replace

        def killed(source: Path, target: Path) -> None:
            replaced(source, target)
            raise KeyboardInterrupt

        monkeypatch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            save_dataset(second, tmp_path)
        found = load_dataset(tmp_path, "churn")
        assert content_digest(found.frame, found.inputs) == found.digest

    def test_nothing_saved_is_said(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            load_dataset(tmp_path, "engagement")
