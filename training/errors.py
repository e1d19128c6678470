"""What can honestly go wrong while learning. Each error holds the facts it states."""

from __future__ import annotations


class TrainingError(Exception):
    """Base of every expected failure of this package."""


class TooFewLabels(TrainingError):
    """The tenant has not lived long enough to learn from: fewer than `required` rows of one class. An abstention."""

    def __init__(self, model: str, positives: int, negatives: int, required: int) -> None:
        super().__init__(
            f"{model}: {positives} positive and {negatives} negative matured labels, {required} of each are needed"
        )
        self.model, self.positives, self.negatives, self.required = model, positives, negatives, required


class EmptySplit(TrainingError):
    """One side of a split has no rows, or not both classes."""

    def __init__(self, side: str, rows: int, positives: int) -> None:
        super().__init__(f"the {side} side of the split has {rows} rows, {positives} of them positive")
        self.side, self.rows, self.positives = side, rows, positives


class ParityFailed(TrainingError):
    """The exported model answers differently from the fitted one."""

    def __init__(self, model: str, difference: float, limit: float) -> None:
        super().__init__(f"{model}: exported probabilities differ by {difference:.2e}, at most {limit:.0e} is allowed")
        self.model, self.difference, self.limit = model, difference, limit


class BundleCorrupt(TrainingError):
    """A bundle's files do not have the digest its folder is named after."""

    def __init__(self, path: str, expected: str, found: str) -> None:
        super().__init__(
            f"{path} is not what was published: its digest is {found[:12]}, not {expected[:12]}."
            " `rapport promote` or `rapport rollback` lets another version speak."
        )
        self.path, self.expected, self.found = path, expected, found


class UnknownModel(TrainingError):
    def __init__(self, model: str) -> None:
        super().__init__(f"no model is called {model!r}")
        self.model = model


class UnknownVersion(TrainingError):
    """No bundle of that version has been written for the tenant's model."""

    def __init__(self, model: str, version: str) -> None:
        super().__init__(f"{model} has no bundle of version {version}")
        self.model, self.version = model, version


class NoEarlierChampion(TrainingError):
    """There is no champion, or none before the present one."""

    def __init__(self, model: str, version: str | None) -> None:
        super().__init__(
            f"{model} has no champion" if version is None else f"no version spoke for {model} before version {version}"
        )
        self.model, self.version = model, version
