"""What the demo has to show: the loop's stages, what was learnt, what the campaign did."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from feature_store.warehouse import Warehouse
from orchestration.cli import console
from training.metrics import difference_interval

STAGE_OF = {
    "ingest": "ingest",
    "contracts": "contracts",
    "dbt": "dbt",
    "publish__marts": "publication",
    "publish__analysts_snapshot": "analysts' files",
    "online__contact_features": "online features",
    "segments__likely_buyers": "segment",
    "segments__scored": "scored segments",
}
PREFIXES = {"training__": "training sets", "models__": "models", "scores__": "scores"}


@dataclass
class Stage:
    name: str
    rows: int | None
    seconds: float


@dataclass
class DemoReport:
    stages: list[Stage] = field(default_factory=list)
    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    campaign: dict[str, Any] = field(default_factory=dict)
    addresses: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    def add_run(self, run: Any) -> None:
        """The steps of a graph run, added up by stage, and the figures of its models."""
        for step in run.steps:
            name = STAGE_OF.get(step.name) or next(
                (stage for prefix, stage in PREFIXES.items() if step.name.startswith(prefix)), step.name
            )
            known = self.stages[-1] if self.stages and self.stages[-1].name == name else None
            if known is None:
                self.stages.append(Stage(name, step.rows, step.seconds))
            else:
                known.rows = (known.rows or 0) + (step.rows or 0)
                known.seconds = round(known.seconds + step.seconds, 2)
        for key, values in run.metadata.items():
            if key.startswith("models/"):
                self.models[key.removeprefix("models/")] = {
                    name: value for name, value in values.items() if name not in ("calibration", "segments")
                }

    def as_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def campaign_figures(warehouse: Warehouse, tenant_id: str, campaign_id: str) -> dict[str, Any]:
    """The campaign as the warehouse tells it; orders of treated and held-out people with a 95 % Newcombe interval."""
    found = warehouse.query(
        "SELECT * FROM marts.mart_campaign_performance WHERE tenant_id = $1 AND campaign_id = $2",
        [tenant_id, campaign_id],
    )
    figures = found.to_dicts()[0]
    reasons = warehouse.query(
        "SELECT reason, count(DISTINCT contact_id) AS people FROM marts.fct_decisions"
        " WHERE tenant_id = $1 AND campaign_id = $2 AND outcome = 'suppress' GROUP BY reason ORDER BY reason",
        [tenant_id, campaign_id],
    )
    figures["suppressed_by_reason"] = dict(reasons.iter_rows())
    interval = difference_interval(
        figures["treated_ordered"], figures["treated"], figures["held_out_ordered"], figures["held_out"]
    )
    figures["order_rate_treated"] = figures["treated_ordered"] / max(figures["treated"], 1)
    figures["order_rate_held_out"] = figures["held_out_ordered"] / max(figures["held_out"], 1)
    figures["order_rate_difference"] = {"value": interval.value, "lower": interval.lower, "upper": interval.upper}
    return {name: value for name, value in figures.items() if name not in ("tenant_id",)}


def show(report: DemoReport) -> None:
    """Prints the report as tables."""
    console.table(
        "The loop", ["stage", "rows", "seconds"], [[s.name, s.rows, round(s.seconds, 1)] for s in report.stages]
    )
    models = []
    for name, figures in report.models.items():
        if "auc" not in figures:
            models.append([name, figures.get("outcome", ""), None, None, None, None, None])
            continue
        interval = f"{figures['auc_lower']:.3f} to {figures['auc_upper']:.3f}"
        models.append(
            [
                name,
                figures["outcome"],
                figures["auc"],
                interval,
                figures.get("best_possible_auc"),
                figures["rule_auc"],
                figures["brier"],
            ]
        )
    console.table("What was learnt", ["model", "outcome", "AUC", "95 %", "best possible", "rule", "Brier"], models)
    campaign = report.campaign
    counts = ["eligible", "held_out", "suppressed", "sent", "delivered", "read", "replied", "opted_out"]
    rows = [[name.replace("_", " "), campaign.get(name)] for name in counts]
    rows[3:3] = [[f"  {reason}", people] for reason, people in campaign["suppressed_by_reason"].items()]
    console.table("The campaign", ["people", "count"], rows)
    difference = campaign["order_rate_difference"]
    console.table(
        "Ordered since",
        ["group", "people", "ordered", "rate"],
        [
            ["treated", campaign["treated"], campaign["treated_ordered"], f"{campaign['order_rate_treated']:.1%}"],
            ["held out", campaign["held_out"], campaign["held_out_ordered"], f"{campaign['order_rate_held_out']:.1%}"],
        ],
    )
    console.out.print(
        f"Because of the campaign: {difference['value']:+.1%} of people ordered"
        f" (95 % interval {difference['lower']:+.1%} to {difference['upper']:+.1%}).\n",
        highlight=False,
    )
    for name, address in report.addresses.items():
        console.out.print(f"{name:<12} {address}", highlight=False, soft_wrap=True)
