"""HTTPS: a certificate and its key, read again when they are renewed."""

from __future__ import annotations

import logging
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nba_ml.contract.errors import SettingsError
from nba_ml.serving.http.logs import say

RENEWAL_SECONDS = 60.0
"""Between two looks at the files' times."""


def _no_password() -> str:
    """Without it OpenSSL would ask for the password on the terminal, and wait."""
    raise SettingsError("it is encrypted; give a key without a password")


@dataclass(frozen=True, slots=True)
class Tls:
    """Files in PEM form: the certificate with the chain to its authority, and its private key."""

    certificate: str
    key: str

    @classmethod
    def of(cls, certificate: str | None, key: str | None) -> Tls | None:
        """From the options; None without them.

        Raises:
            SettingsError: only one is given, or they cannot be used.
        """
        if certificate is None and key is None:
            return None
        if certificate is None or key is None:
            raise SettingsError("--tls-certificate and --tls-key belong together: give both, or neither.")
        tls = cls(certificate, key)
        tls.require_usable()
        return tls

    def require_usable(self) -> None:
        """Raise SettingsError if OpenSSL does not take the files."""
        self._load(ssl.create_default_context(ssl.Purpose.CLIENT_AUTH))

    @contextmanager
    def renewed(self, context: ssl.SSLContext) -> Iterator[None]:
        """While the block runs, give new connections the files as they are then. Files that fail change nothing."""
        ended = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(context, self._times(), ended), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join()

    def _watch(self, context: ssl.SSLContext, known: tuple[int, ...], ended: threading.Event) -> None:
        while not ended.wait(RENEWAL_SECONDS):
            if (found := self._times()) == known:
                continue
            try:
                self.require_usable()  # in a context of its own: half a change would break this one
                self._load(context)
            except SettingsError as error:  # tried again: the files may be right, and the process short of descriptors
                say(logging.ERROR, "certificate not renewed", failure=str(error))
            else:
                known = found
                say(logging.INFO, "certificate renewed")

    def _times(self) -> tuple[int, ...]:
        try:
            return tuple(Path(each).stat().st_mtime_ns for each in (self.certificate, self.key))
        except OSError:
            return ()

    def _load(self, context: ssl.SSLContext) -> None:
        for file in (self.certificate, self.key):
            try:
                with Path(file).open("rb"):
                    pass
            except OSError as error:
                raise SettingsError(f"{file} cannot be read: {error.strerror}. It has to be a PEM file.") from error
        try:
            context.load_cert_chain(self.certificate, self.key, _no_password)
        except SettingsError as error:
            raise SettingsError(f"The key {self.key} cannot be used: {error}.") from None
        except OSError as error:  # OpenSSL's own is one; or a file is gone since it was opened above
            reason = (error.reason if isinstance(error, ssl.SSLError) else None) or error.strerror or error
            raise SettingsError(
                f"The certificate {self.certificate} and the key {self.key} cannot be used ({reason}). Both have to be "
                "PEM, the key belonging to the first certificate."
            ) from error
