"""A model's card: what it answers, what it learnt from, how good it is, and whom it is not for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from training.bundle import onnx_session, run_onnx
from training.datasets import Dataset, Split
from training.evaluate import NEW_DAYS, Evaluation
from training.explain import field_importance
from training.models import model_named
from training.promote import Verdict
from training.train import Trained

# Of fewer people with the outcome, an AUC is mostly chance.
FEW_POSITIVES = 20
SEGMENTS = {
    "new_contacts": f"contacts known for less than {NEW_DAYS} days",
    "old_contacts": f"contacts known for {NEW_DAYS} days or more",
}
FIGURES = {
    "auc": "AUC", "rule_auc": "AUC of the rule", "gain_over_rule": "gain over the rule",
    "average_precision": "average precision", "calibration_error": "calibration error", "brier": "Brier score",
    "base_rate_brier": "Brier score of the base rate", "top_decile_lift": "lift of the best tenth",
    "best_possible_auc": "best possible AUC (simulated people)", "profit_cents_per_1000": "profit of 1,000, cents",
    "profit_cents_per_1000_of_everyone": "profit of writing to everyone, cents",
}  # fmt: skip


def make_card(
    trained: Trained, evaluation: Evaluation, split: Split, graph: bytes, verdict: Verdict, seed: int, threads: int
) -> dict[str, Any]:
    """How the model was made and how good it is, for people and for explanations, as JSON. Days are UTC."""
    # Fields are asked about side by side, so the graph has one thread for each question.
    session = onnx_session(graph, threads=1)
    chosen, test = model_named(trained.model), split.test
    return {
        "model": trained.model,
        "unit": chosen.unit,
        "label": chosen.label,
        "not_for": chosen.not_for,
        "weak_for": _weak_for(evaluation),
        "scale": chosen.scale,
        "split": evaluation.split,
        "learnt": _days(split.learn),
        "judged": _days(test),
        "figures": evaluation.figures(),
        "deciles": [vars(row) for row in evaluation.deciles],
        "segments": [asdict(segment) for segment in evaluation.segments],
        "importance": field_importance(
            lambda matrix: run_onnx(session, matrix),
            test.matrix(),
            evaluation.labels,
            trained.inputs,
            seed=seed,
            threads=threads,
        ),
        "params": dict(trained.params),
        "seed": seed,
        "rows": trained.rows,
        "base_rate": trained.base_rate,
        "feature_service": trained.feature_service,
        "excluded": dict(test.excluded),
        "dataset_digest": trained.dataset_digest,
        "gate": verdict.reason,
        "against": verdict.against,
    }


def in_words(card: Mapping[str, Any]) -> str:
    """The card as Markdown, for the page of the version in MLflow."""
    figures = card["figures"]
    left_out = "".join(f" Left out: {rows:,} rows ({why})." for why, rows in card["excluded"].items() if rows)
    lines = [
        f"**One row**: {card['unit']}.",
        f"**1 means**: {card['label']}.",
        "",
        "### Learnt from",
        f"{card['rows']:,} rows of this tenant's contacts, {' to '.join(card['learnt'])}, {card['base_rate']:.1%} of"
        f" them 1; inputs of `{card['feature_service']}`.{left_out}",
        "",
        "### How good",
        f"On {figures['test_rows']:,.0f} rows, {' to '.join(card['judged'])} ({card['split']}),"
        f" {figures['test_positives']:,.0f} of them 1. Gate: {card['gate']}.",
        "",
        "| | | 95 % interval |",
        "|---|---|---|",
        *(_row(label, figures, name) for name, label in FIGURES.items() if name in figures),
        *(
            _row(f"AUC, {SEGMENTS[segment['name']]}", figures, f"auc_{segment['name']}")
            for segment in card["segments"]
            if f"auc_{segment['name']}" in figures
        ),
        "",
        "### Not for",
        *(f"- {whom}" for whom in (card["not_for"], *card["weak_for"])),
        "- Contacts of other tenants, and people unlike those learnt from: inputs outside of their ranges are flagged.",
    ]
    return "\n".join(lines)


def _row(label: str, figures: Mapping[str, float], name: str) -> str:
    ends = {"from": figures.get(f"{name}_lower"), "to": figures.get(f"{name}_upper")}
    within = " ".join(f"{word} {end:,.4g}" for word, end in ends.items() if end is not None)
    return f"| {label} | {figures[name]:,.4g} | {within} |"


def _weak_for(evaluation: Evaluation) -> list[str]:
    """Some of the people, of whom the judgement says little or nothing good."""
    found = []
    for segment in evaluation.segments:
        whom = SEGMENTS[segment.name].capitalize()
        if min(segment.positives, segment.rows - segment.positives) < FEW_POSITIVES:
            found.append(f"{whom}: with {segment.positives} of {segment.rows:,} rows 1, nobody knows how good it is.")
        elif segment.auc.lower <= 0.5:
            found.append(f"{whom}: it tells them apart no better than by lot (AUC {segment.auc.value:.3f}).")
    return found


def _days(rows: Dataset) -> list[str]:
    days = rows.frame["event_timestamp"].dt.date()
    return [str(days.min()), str(days.max())]
