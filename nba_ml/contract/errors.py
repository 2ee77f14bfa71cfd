"""Every error that nba_ml raises on purpose.

Each message is one paragraph: what is wrong, where, the numbers, and what to do next.
The command line prints it unchanged. Dagster shows it on the failed step.
"""

from collections.abc import Sequence
from typing import Any

from nba_ml.contract.text import printable_lines


class NbaMlError(Exception):
    """Base of all errors a user can act on. Its text is safe to print: messages quote names and other errors."""

    def __str__(self) -> str:
        return printable_lines(super().__str__())


class SettingsError(NbaMlError):
    """A setting has an invalid value."""


class MonthError(NbaMlError):
    """A month is invalid, in the off-season, or outside the months of the source."""


class SourceDataError(NbaMlError):
    """Source data is missing, unreadable or breaks a box-score rule."""


class MissingMonthsError(NbaMlError):
    """A month in the training window was never materialised. A month without rows does not raise this.

    `months` are those that are missing.
    """

    months: Sequence[str] = ()


class SnapshotRejectedError(NbaMlError):
    """Too many of a month's rows break the feature contract.

    `rejects` is an Arrow table of those rows with their reasons, so that a caller can save them.
    """

    rejects: Any = None


class StaleInputError(NbaMlError):
    """An input changed after its digest was recorded."""


class SplitError(NbaMlError):
    """The rows cannot be split chronologically."""


class PublicationError(NbaMlError):
    """A bundle could not be published. No manifest was written, so no reader uses it."""


class PublicationConflictError(PublicationError):
    """An object with that name already exists and has different bytes."""


class NotVerifiedError(PublicationError):
    """Not all blocking checks have passed for this exact model."""


class ChecksFailedError(NbaMlError):
    """Asset checks of a month failed or could not run."""


class CheckBrokenError(NbaMlError):
    """An asset check raised an exception. That counts as an error, never as a pass."""


class OverrideError(PublicationError):
    """An override has no reason, or names a check that cannot be overridden."""


class BundleError(NbaMlError):
    """A published bundle is incomplete or damaged, or its predictions differ from its record."""


class ProcessStartError(NbaMlError):
    """The system could not start a process. Nothing is known of the model that it was to load."""


class ChannelError(NbaMlError):
    """A channel's pointer or history is damaged, or a state does not follow from the previous one."""


class ReleaseError(NbaMlError):
    """A promotion, rollback or rollout is not allowed. The message names the unmet condition."""


class SlateError(NbaMlError):
    """A slate cannot be scored, stored, written or graded. Stored slates are unchanged."""


class NotifyError(NbaMlError):
    """A failure notice could not be delivered."""


class FeatureRowsError(NbaMlError):
    """Rows given to a predictor break the feature contract. Nothing was predicted.

    `faults` lists the first faults by row and feature (`serving.rows.Fault`).
    """

    def __init__(self, message: str, faults: tuple[Any, ...] = ()) -> None:
        super().__init__(message)
        self.faults = faults


class TrainingError(NbaMlError):
    """The workers of a cluster could not train. Nothing was stored."""


class CalibrationError(NbaMlError):
    """There are no usable held-out rows to fit or measure an interval on."""


class MissingExtraError(NbaMlError):
    """A library from an optional extra is required but not installed."""


class UiError(NbaMlError):
    """The web UI cannot start or cannot continue."""


class HomeBusyError(NbaMlError):
    """Another nba-ml process is writing to the same home."""


class InstanceError(NbaMlError):
    """Dagster's instance in the home cannot be opened, read or written."""
