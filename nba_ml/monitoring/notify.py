"""Notices and their delivery by e-mail and webhook, each within a deadline.

`defs.sensors.failures` decides what to send.

A webhook's URL is a secret, because anyone who has it can post. A mail server's error can repeat what it was sent.
Messages here therefore contain only the host and the kind of error, and errors are not chained: a traceback in the UI
would show them.
"""

from __future__ import annotations

import smtplib
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from functools import partial
from urllib.parse import urlsplit

from nba_ml.contract.text import printable, printable_lines
from nba_ml.settings import MailSettings, NotifySettings

WITHIN = 10.0
"""Seconds for one delivery. Dagster gives a sensor 60 seconds, enough for three deliveries."""


@dataclass(frozen=True, slots=True)
class Notice:
    """A notice: what happened, where, the original error, and what to do next.

    `level` is 'error' or 'warning'. Fields that do not apply are empty.
    """

    level: str
    title: str
    said: str
    next_step: str
    job: str = ""
    asset: str = ""
    month: str = ""
    day: str = ""
    run_id: str = ""
    link: str = ""

    def __post_init__(self) -> None:
        # Errors of other libraries, and names in them, come from outside.
        for each in fields(self):
            value = printable_lines(getattr(self, each.name))
            object.__setattr__(self, each.name, value if each.name in ("said", "next_step") else printable(value))

    @property
    def text(self) -> str:
        """The notice as text, one fact per line."""
        where = {"Asset": self.asset, "Month": self.month, "Day": self.day}
        facts = {**where, "Job": self.job, "Run": self.run_id, "See": self.link}
        lines = [self.title, "", self.said, "", f"What to do: {self.next_step}", ""]
        return "\n".join([*lines, *(f"{name}: {value}" for name, value in facts.items() if value)])


Target = Callable[[Notice], str | None]
"""Delivers a notice. Returns None on success, otherwise the reason for the failure."""


def targets_of(settings: NotifySettings) -> Mapping[str, Target]:
    """The configured targets by name."""
    targets: dict[str, Target] = {}
    if (url := settings.webhook) is not None:
        targets["webhook"] = partial(post, url)
    if (mail := settings.mail) is not None:
        # One target per address, so that only failed addresses are retried.
        targets |= {f"e-mail {to}": partial(send, mail, to) for to in mail.to}
    return targets


def post(url: str, notice: Notice, within: float = WITHIN) -> str | None:
    """POST a notice as JSON: `text`, which Slack and similar services show, and each field.

    Any response other than 2xx is a failure. Redirects are not followed, because they would send the notice elsewhere.
    """
    import requests  # every command imports this module, and few post

    host = urlsplit(url).hostname
    try:
        # Do not read the response body: it may never end.
        with requests.post(
            url, json={"text": notice.text, **asdict(notice)}, timeout=within, allow_redirects=False, stream=True
        ) as answer:
            code, wait = answer.status_code, answer.headers.get("Retry-After", "")
    except requests.Timeout:
        return f"the webhook at {host} did not answer within {within:g} s"
    except requests.exceptions.SSLError:
        return f"the certificate of the webhook at {host} is not trusted"
    except requests.RequestException as error:
        return f"the webhook at {host} cannot be reached ({type(error).__name__})"
    if 200 <= code < 300:
        return None
    later = f"; retry after {wait[:20]}" if wait else ""
    return f"the webhook at {host} answered {code}{later}"


def send(mail: MailSettings, to: str, notice: Notice, within: float = WITHIN) -> str | None:
    """Send a notice by e-mail."""
    where = f"the mail server {mail.host}:{mail.port}"
    deadline = time.monotonic() + within
    # Verify the certificate and host name: smtplib's default verifies nothing.
    trusted = ssl.create_default_context()
    try:
        with _connected(mail, trusted, within) as server:
            if mail.security == "starttls":
                server.starttls(context=trusted)
            _limit_timeout(server, deadline)
            if mail.user is not None and mail.password is not None:
                server.login(mail.user, mail.password)
            _limit_timeout(server, deadline)
            server.send_message(_message(mail, to, notice))
    except smtplib.SMTPRecipientsRefused as error:
        [(code, _)] = error.recipients.values()  # by the address alone: `to` may have a name or brackets around it
        return f"{where} does not deliver to {to} ({code})"
    except ssl.SSLError:
        return f"the certificate of {where} is not trusted"
    except TimeoutError:
        return f"{where} did not answer within {within:g} s"
    except smtplib.SMTPAuthenticationError as error:
        return f"{where} rejects the user or the password ({error.smtp_code})"
    except smtplib.SMTPNotSupportedError:
        return f"{where} does not support NBA_ML_SMTP_SECURITY as set, or a login"
    except smtplib.SMTPResponseException as error:
        return f"{where} refused ({error.smtp_code})"
    except (smtplib.SMTPException, OSError) as error:
        if time.monotonic() >= deadline:  # smtplib reports a timeout as a lost connection
            return f"{where} did not answer within {within:g} s"
        return f"{where} cannot be reached ({type(error).__name__})"
    return None


def _connected(mail: MailSettings, trusted: ssl.SSLContext, within: float) -> smtplib.SMTP:
    if mail.security == "ssl":
        return smtplib.SMTP_SSL(mail.host, mail.port, timeout=within, context=trusted)
    return smtplib.SMTP(mail.host, mail.port, timeout=within)


def _limit_timeout(server: smtplib.SMTP, deadline: float) -> None:
    """Set the socket timeout to the time left until the deadline. Raises TimeoutError if there is none left."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    if server.sock is not None:
        server.sock.settimeout(left)


def _message(mail: MailSettings, to: str, notice: Notice) -> EmailMessage:
    message = EmailMessage()
    message["Subject"] = " ".join(f"[nba_ml] {notice.title}".split())[:200]  # line breaks are not allowed in headers
    message["From"] = mail.sender
    message["To"] = to
    message["Date"] = formatdate(localtime=False)
    message["Message-ID"] = make_msgid(domain="nba-ml.invalid")  # otherwise looks up the machine's name on the network
    message["Auto-Submitted"] = "auto-generated"  # no out-of-office replies
    message.set_content(notice.text)
    return message
