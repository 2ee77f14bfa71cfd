"""Every error that nba_ml raises on purpose.

Each message is one readable paragraph: what is wrong, where, the numbers, and what to do next.
The command line prints it as it is; Dagster shows it on the failed step.
"""

from typing import Any


class NbaMlError(Exception):
    """Base of all errors a user can act on."""


class SettingsError(NbaMlError):
    """A setting has a value that cannot work."""


class MonthError(NbaMlError):
    """A month that is no season month, or lies outside the months of the source."""


class SourceDataError(NbaMlError):
    """What the feature source holds is missing, unreadable or breaks a rule of box scores."""


class MissingMonthsError(NbaMlError):
    """A month in the training window was never materialised: a hole, not an empty month."""


class SnapshotRejectedError(NbaMlError):
    """More rows of a month break the feature contract than a snapshot may leave out.

    `rejects` holds those rows with their reasons (an Arrow table), so that a caller can keep them.
    """

    rejects: Any = None


class StaleInputError(NbaMlError):
    """An input changed after the record that names its digest was written."""


class SplitError(NbaMlError):
    """The rows cannot be split chronologically."""


class PublicationError(NbaMlError):
    """A bundle could not be published; nothing that a reader would trust was written."""


class PublicationConflictError(PublicationError):
    """An object of that name exists already, with other bytes."""


class NotVerifiedError(PublicationError):
    """The blocking checks have not all passed for exactly this model."""


class ChecksFailedError(NbaMlError):
    """Asset checks of a month failed, or could not be run."""


class CheckBrokenError(NbaMlError):
    """An asset check raised: it is an error, never a pass."""


class OverrideError(PublicationError):
    """An override that gives no reason, or names no check that it may override."""


class BundleError(NbaMlError):
    """A published bundle is incomplete, damaged, or does not predict what its record says."""


class ChannelError(NbaMlError):
    """A channel's pointer or its history is damaged, or a state does not follow from the one before."""


class ReleaseError(NbaMlError):
    """A promotion, rollback or rollout that may not be: the message says which condition is not met."""


class SlateError(NbaMlError):
    """A slate that cannot be scored, kept, written or graded; what was kept before stays as it is."""


class NotifyError(NbaMlError):
    """People could not be told of a failure."""


class FeatureRowsError(NbaMlError):
    """Rows given to a predictor break the feature contract; nothing was predicted.

    `faults` says so row by row and name by name, as far as they are listed (`serving.rows.Fault`).
    """

    def __init__(self, message: str, faults: tuple[Any, ...] = ()) -> None:
        super().__init__(message)
        self.faults = faults


class CalibrationError(NbaMlError):
    """There are no usable held-out rows to learn an interval from, or to measure one on."""


class MissingExtraError(NbaMlError):
    """A library of an optional extra of the package is needed and not installed."""


class UiError(NbaMlError):
    """The web UI cannot start, or cannot go on."""


class HomeBusyError(NbaMlError):
    """Another nba-ml process is writing into the same home."""
