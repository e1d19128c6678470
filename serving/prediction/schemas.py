from __future__ import annotations

import datetime as dt
import uuid
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

BATCH = 1_000
ARROW_BATCH = 20_000
MAX_ATTRIBUTES = 100
MAX_NUMBER = 1e12
# Of one person: a model has some dozens.
MAX_FIELDS = 256
MAX_NAME = 200
# Of a question about one contact, its campaign's attributes with it.
MAX_ONE_BYTES = 64_000
# Larger bodies are read in a thread: a thousand people with seventy columns are no larger.
INLINE_BYTES = 500_000

ModelName = Literal["lead_scoring", "churn", "engagement"]
Method = Literal["model", "rule"]


def _plain(attributes: dict[str, Any]) -> dict[str, Any]:
    if len(attributes) > MAX_ATTRIBUTES:
        raise ValueError(f"at most {MAX_ATTRIBUTES} attributes")
    for name, value in attributes.items():
        # Written so that NaN fails too.
        if isinstance(value, int | float) and not -MAX_NUMBER <= value <= MAX_NUMBER:
            raise ValueError(f"{name!r} is not a number between -1e12 and 1e12")
    return attributes


def _few(fields: Any) -> Any:
    """Before each is looked at, and a fault told of each."""
    if isinstance(fields, dict) and len(fields) > MAX_FIELDS:
        raise PydanticCustomError("too_long", "at most {most} fields", {"most": MAX_FIELDS})
    return fields


def _few_short(fields: Any) -> Any:
    """Those whose names a fault would tell."""
    if isinstance(_few(fields), dict) and any(len(name) > MAX_NAME for name in fields):
        raise PydanticCustomError("too_long", "at most {most} characters in a name", {"most": MAX_NAME})
    return fields


Person = Annotated[dict[str, Any], BeforeValidator(_few), Field(max_length=MAX_FIELDS)]
Column = Annotated[list[Any], Field(min_length=1, max_length=BATCH)]
CampaignAttributes = Annotated[dict[str, Any], AfterValidator(_plain)]


class Asked(BaseModel):
    """`campaign_id` names the campaign the contact would be sent; without it the model's reference campaign counts."""

    model_config = ConfigDict(extra="forbid")

    campaign_id: uuid.UUID | None = None
    campaign_attributes: CampaignAttributes | None = None


class PredictRequest(Asked):
    """With `explain` the answer holds what each field contributes to the probability."""

    contact_id: uuid.UUID
    explain: bool = False


class PredictBatchRequest(Asked):
    """Who is asked about, in exactly one of three ways: `contact_ids` (features come from the online store), `rows`
    (one object a person) or `columns` (one list a field). Given features name every field the model knows, null where
    it is not known; moments are ISO 8601 with a zone, a contact's attribute `age` is the field `contact.age`."""

    contact_ids: Annotated[list[uuid.UUID], Field(min_length=1, max_length=BATCH)] | None = None
    rows: Annotated[list[Person], Field(min_length=1, max_length=BATCH)] | None = None
    columns: Annotated[dict[str, Column], BeforeValidator(_few_short), Field(max_length=MAX_FIELDS)] | None = None

    _few_fields = model_validator(mode="before")(_few_short)

    @model_validator(mode="after")
    def _one_way(self) -> PredictBatchRequest:
        if sum(each is not None for each in (self.contact_ids, self.rows, self.columns)) != 1:
            raise ValueError("give exactly one of contact_ids, rows and columns")
        return self


class Interval(BaseModel):
    """Where the contact's own probability lies, with confidence `level`: the model's probability is that of many
    contacts like this one, each of whom may differ from it."""

    low: float
    high: float
    level: float


class Contribution(BaseModel):
    """What knowing `field` of this contact, rather than its usual value, adds to the probability."""

    field: str
    source: str
    value: float | None
    usual: float | None
    contribution: float


class Explanation(BaseModel):
    """`base` is the probability of somebody usual in every field; `base` and all contributions add up to the
    probability. Contributions are Shapley values estimated from `permutations` random orders of the fields, strongest
    first; fields that contribute nothing are left out."""

    base: float
    contributions: list[Contribution]
    permutations: int


class PredictionRead(BaseModel):
    """`probability` is calibrated, in [0, 1], with an `interval` unless the model was trained without one; `score`
    (0-100) is a lead's percentile, of other models the probability in per cent; by `method` "rule" no model has been
    promoted, and what a rule scored at the last scoring is told, without an interval; `feature_snapshot_id` names the
    features it was made from, `features_age_seconds` their age, and `features_stale` whether a refresh was missed;
    `out_of_range` names inputs outside of what training saw."""

    contact_id: uuid.UUID
    model: str
    model_version: str
    method: Method = "model"
    score: float
    probability: float
    interval: Interval | None = None
    tier: str
    feature_snapshot_id: str
    features_age_seconds: int
    features_stale: bool
    out_of_range: list[str]
    explanation: Explanation | None = None


class GivenPredictionRead(BaseModel):
    """A prediction for row `row` (from 0) of the features given."""

    row: int
    model: str
    model_version: str
    score: float
    probability: float
    interval: Interval | None = None
    tier: str
    out_of_range: list[str]


class NotPredicted(BaseModel):
    contact_id: uuid.UUID
    reason: Literal["contact_not_found", "features_missing", "features_expired"]


class PredictBatchRead(BaseModel):
    """Every contact asked about is in one of the two lists, each in the order asked."""

    predictions: list[PredictionRead]
    not_predicted: list[NotPredicted]


class GivenBatchRead(BaseModel):
    """A prediction for every row given, in their order."""

    predictions: list[GivenPredictionRead]


class OptimalTimeRequest(Asked):
    contact_id: uuid.UUID
    alternatives: Annotated[int, Field(ge=0, le=167)] = 5


class SendTime(BaseModel):
    """An hour of the coming week: when it begins (UTC), and what the tenant's clock shows then (Monday is 0)."""

    at: dt.datetime
    weekday: int
    hour: int
    probability: float


class OptimalTimeRead(BaseModel):
    """The hour at which the contact is likeliest to read, and the next best ones, best first. `gain` is the best
    hour's probability less the mean of all 168."""

    contact_id: uuid.UUID
    model_version: str
    timezone: str
    best: SendTime
    alternatives: list[SendTime]
    mean_probability: float
    gain: float
    features_stale: bool


class Driver(BaseModel):
    """A field that raises this contact's risk; `effect` in probability. `usual` is what is usual among the tenant's
    contacts; values are null where a field is not one number."""

    field: str
    advice: str
    value: float | None
    usual: float | None
    effect: float


class RetentionAction(BaseModel):
    """Something that was sent to silent contacts of this tenant, and how many of them came back within four weeks,
    beside those who were not sent it. The interval (90 %) is that of the difference."""

    model_config = ConfigDict(extra="ignore")

    action: str
    people: int
    returned: int
    return_rate: float
    base_rate: float
    low: float
    high: float


class RecommendationsRead(BaseModel):
    """By `method` "rule" no model has been promoted: the rule gives no drivers. `actions` is empty, and `actions_note`
    says why, while too few silent contacts were sent anything."""

    contact_id: uuid.UUID
    model_version: str
    method: Method = "model"
    probability: float
    interval: Interval | None = None
    tier: str
    drivers: list[Driver]
    actions: list[RetentionAction]
    actions_note: str | None
    features_stale: bool


class FieldImportance(BaseModel):
    """`auc_drop` is what the model's AUC on later rows loses when the field is shuffled among people."""

    field: str
    source: str
    auc_drop: float
    description: str | None


class FeatureImportanceRead(BaseModel):
    """Most important first."""

    model: str
    model_version: str
    importance: list[FieldImportance]


class ModelHealth(BaseModel):
    """`status`: ok, not_trained (nothing was promoted) or broken (what was promoted cannot be loaded). The version is
    the one that speaks: of a broken model the one before it, while the process still holds that."""

    model: str
    status: Literal["ok", "not_trained", "broken"]
    version: str | None = None
    trained_at: dt.datetime | None = None
    age_days: float | None = None


class MlHealthRead(BaseModel):
    """`status` is ok when every promoted model loads and features are fresh, else degraded."""

    status: Literal["ok", "degraded"]
    models: list[ModelHealth]
    features_written_at: dt.datetime | None
    features_age_seconds: int | None
    features_stale: bool
