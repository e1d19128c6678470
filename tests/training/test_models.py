"""Each model on people whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from tests.training.conftest import START
from training.datasets import Split, split_by_time
from training.errors import EmptySplit, TooFewLabels, UnknownModel
from training.evaluate import evaluate, true_probabilities
from training.models import MODEL_NAMES, model_named
from training.synthetic import synthetic_dataset
from training.train import class_weights, train


class TestModelNamed:
    def test_every_model_states_its_unit_label_and_service(self) -> None:
        from feature_store.feature_services import FEATURE_SERVICES

        for name in MODEL_NAMES:
            chosen = model_named(name)
            assert chosen.name == name
            assert chosen.feature_service in FEATURE_SERVICES
            assert chosen.unit
            assert chosen.label

    def test_an_unknown_name_is_said(self) -> None:
        with pytest.raises(UnknownModel):
            model_named("uplift")


class TestTrain:
    @pytest.mark.parametrize(("model", "share_of_best"), [("engagement", 0.85), ("lead_scoring", 0.85), ("churn", 0.9)])
    def test_comes_close_to_the_best_possible_and_beats_the_rule(self, model: str, share_of_best: float) -> None:
        dataset, truth = synthetic_dataset(model, 1_500, 8, seed=11, start=START)
        split = split_by_time(dataset)
        found = evaluate(train(split, seed=3, now=START), split, seed=3, truth=truth)
        assert found.best_possible_auc is not None
        assert found.auc.value - 0.5 >= share_of_best * (found.best_possible_auc - 0.5)
        assert found.auc.value < found.best_possible_auc + 0.02
        assert found.gain_over_rule.lower > 0
        assert found.brier.value < found.base_rate_brier
        assert found.calibration_error.value < 0.06

    def test_the_same_seed_gives_the_same_model(self, split_of) -> None:
        split = split_of("lead_scoring")
        first, again = (train(split, seed=5, now=START) for _ in range(2))
        matrix = split.test.matrix()
        assert np.array_equal(first.probability(matrix), again.probability(matrix))

    def test_given_params_override_the_models_own(self, split_of) -> None:
        trained = train(split_of("churn"), {"n_estimators": 5}, seed=1, now=START)
        assert len(trained.estimator.named_steps["forest"].estimators_) == 5
        assert trained.params["max_depth"] == model_named("churn").params["max_depth"]

    def test_too_thin_a_part_to_fit_is_said(self, split_of) -> None:
        split: Split = split_of("engagement")
        thin = replace(split, fit=split.fit.rows(split.fit.frame["label"] == 0))
        with pytest.raises(TooFewLabels):
            train(thin, seed=1, now=START)

    @pytest.mark.parametrize("model", MODEL_NAMES)
    def test_what_a_single_contact_did_alone_is_not_learnt_from(self, model: str) -> None:
        dataset, _ = synthetic_dataset(model, 3, 200, seed=3, start=START)
        theirs = pl.col("contact_id") == dataset.frame["contact_id"].min()
        label = pl.when(theirs & (pl.int_range(pl.len()) % 5 > 0)).then(1).otherwise(0).cast(pl.Int8)
        alone = split_by_time(replace(dataset, frame=dataset.frame.with_columns(label=label)))
        with pytest.raises(EmptySplit, match="strangers' side of the split has 149 rows, 0 of them positive"):
            train(alone, seed=1, now=START)


class TestClassWeights:
    def test_balanced_classes_weigh_the_same(self) -> None:
        labels = np.array([1, 0, 0, 0, 0], np.int8)
        weights = class_weights(labels, 1.0)
        assert weights[labels == 1].sum() == pytest.approx(weights[labels == 0].sum())
        assert weights.mean() == pytest.approx(1.0)
        half = class_weights(labels, 0.5)
        assert half[0] / half[1] == pytest.approx(2.0)
        assert np.array_equal(class_weights(labels, 0.0), np.ones(5))

    @pytest.mark.parametrize("model", MODEL_NAMES)
    def test_move_what_the_model_tells_and_not_what_it_is_calibrated_to(self, split_of, model: str) -> None:
        split = split_of(model)
        plain, balanced = (train(split, {"class_weight": each}, seed=1, now=START) for each in (0.0, 1.0))
        matrix, rate = split.learn.matrix(), plain.base_rate
        assert abs(balanced.raw(matrix).mean() - 0.5) < abs(plain.raw(matrix).mean() - 0.5)
        assert balanced.probability(matrix).mean() == pytest.approx(rate, abs=0.02)


class TestNoise:
    def test_labels_that_depend_on_nothing_are_not_learnt(self, split_of) -> None:
        split: Split = split_of("lead_scoring")
        rng = np.random.default_rng(0)

        def shuffled(part):
            return replace(part, frame=part.frame.with_columns(pl.Series("label", rng.permutation(part.labels()))))

        noise = replace(split, **{part: shuffled(getattr(split, part)) for part in ("fit", "calibrate", "test")})
        found = evaluate(train(noise, seed=1, now=START), noise, seed=1)
        assert found.auc.lower < 0.5 < found.auc.upper


class TestBestPossibleAuc:
    def test_needs_a_shared_key(self, split_of) -> None:
        _, truth = synthetic_dataset("engagement", 10, 2, seed=1, start=START)
        with pytest.raises(ValueError, match="none of the keys"):
            true_probabilities(split_of("engagement").test, truth.rename({"message_id": "elsewhere"}))

    def test_is_not_claimed_for_rows_whose_truth_is_unknown(self, split_of) -> None:
        _, truth = synthetic_dataset("engagement", 10, 2, seed=1, start=START)
        assert true_probabilities(split_of("engagement").test, truth) == (None, None)
