"""Why an import did not happen. Nothing was written when one of these is raised before loading began."""

from __future__ import annotations


class ImportRefused(Exception):
    """The mapping, a file or a declaration cannot be used; the text names the file, the key and the line."""


class RejectedRows(ImportRefused):
    """Rows were rejected and the caller asked for all or nothing."""


class ImportRunning(ImportRefused):
    """The same history is being imported by another process."""
