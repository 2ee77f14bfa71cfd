"""Telling people: one notice to the log, to an e-mail address and to a webhook, each within a deadline.

What belongs here: the form of a notice and its delivery. What does not: deciding what people are told (`failures`).

A webhook's address is as good as a password (whoever has it may post), and a mail server's error may repeat what it was
sent. So nothing of either is put into a message here beyond the host and the kind of error, and no error is chained:
a traceback in the UI would show it.
"""

from __future__ import annotations

import smtplib
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from functools import partial
from urllib.parse import urlsplit

import requests

from nba_ml.settings import MailSettings, NotifySettings

WITHIN = 10.0
"""Seconds for one delivery. Three of them fit into the minute that Dagster gives a sensor."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What people are told: what happened, where, the error in its own words, and what to do next.

    `level` is 'error' or 'warning'. A field that does not apply is empty.
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

    @property
    def text(self) -> str:
        """The whole of it in words, one thing a line."""
        where = {"Asset": self.asset, "Month": self.month, "Day": self.day}
        facts = {**where, "Job": self.job, "Run": self.run_id, "See": self.link}
        lines = [self.title, "", self.said, "", f"What to do: {self.next_step}", ""]
        return "\n".join([*lines, *(f"{name}: {value}" for name, value in facts.items() if value)])


Target = Callable[[Notice], str | None]
"""Delivers a notice: None if it arrived, else in words why not."""


def targets_of(settings: NotifySettings) -> Mapping[str, Target]:
    """The configured targets by name; none if nothing is configured."""
    targets: dict[str, Target] = {}
    if (url := settings.webhook) is not None:
        targets["webhook"] = partial(post, url)
    if (mail := settings.mail) is not None:
        # Each address by itself: one that is refused is tried again, and those that were told are not.
        targets |= {f"e-mail {to}": partial(send, mail, to) for to in mail.to}
    return targets


def post(url: str, notice: Notice, within: float = WITHIN) -> str | None:
    """POST a notice as JSON: `text`, which Slack and its like show, beside the fields one by one.

    Any answer but 2xx is a failure; a redirect is not followed, since it would carry the notice elsewhere.
    """
    host = urlsplit(url).hostname
    try:
        # The body of the answer is not read: it may never end.
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
    later = f"; it asks to wait {wait[:20]}" if wait else ""
    return f"the webhook at {host} answered {code}{later}"


def send(mail: MailSettings, to: str, notice: Notice, within: float = WITHIN) -> str | None:
    """Send a notice by e-mail."""
    where = f"the mail server {mail.host}:{mail.port}"
    deadline = time.monotonic() + within
    # Verified certificates, of the server that was named: smtplib's own default checks nothing.
    trusted = ssl.create_default_context()
    try:
        with _connected(mail, trusted, within) as server:
            if mail.security == "starttls":
                server.starttls(context=trusted)
            _hurry(server, deadline)
            if mail.user is not None and mail.password is not None:
                server.login(mail.user, mail.password)
            _hurry(server, deadline)
            server.send_message(_message(mail, to, notice))
    except smtplib.SMTPRecipientsRefused as error:
        return f"{where} refuses to deliver to {to} ({error.recipients[to][0]})"
    except ssl.SSLError:
        return f"the certificate of {where} is not trusted"
    except TimeoutError:
        return f"{where} did not answer within {within:g} s"
    except smtplib.SMTPAuthenticationError as error:
        return f"{where} refuses the user or the password ({error.smtp_code})"
    except smtplib.SMTPNotSupportedError:
        return f"{where} does not offer what is set (NBA_ML_SMTP_SECURITY, or a login)"
    except smtplib.SMTPResponseException as error:
        return f"{where} refused ({error.smtp_code})"
    except (smtplib.SMTPException, OSError) as error:
        if time.monotonic() >= deadline:  # smtplib calls that a lost connection
            return f"{where} did not answer within {within:g} s"
        return f"{where} cannot be reached ({type(error).__name__})"
    return None


def _connected(mail: MailSettings, trusted: ssl.SSLContext, within: float) -> smtplib.SMTP:
    if mail.security == "ssl":
        return smtplib.SMTP_SSL(mail.host, mail.port, timeout=within, context=trusted)
    return smtplib.SMTP(mail.host, mail.port, timeout=within)


def _hurry(server: smtplib.SMTP, deadline: float) -> None:
    """Let each answer take what is left, not the whole deadline anew. Raises TimeoutError if nothing is left."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    if server.sock is not None:
        server.sock.settimeout(left)


def _message(mail: MailSettings, to: str, notice: Notice) -> EmailMessage:
    message = EmailMessage()
    message["Subject"] = " ".join(f"[nba_ml] {notice.title}".split())[:200]  # a line break would end the header
    message["From"] = mail.sender
    message["To"] = to
    message["Date"] = formatdate(localtime=False)
    message["Message-ID"] = make_msgid(domain="nba-ml.invalid")  # else the machine's name is asked of the network
    message["Auto-Submitted"] = "auto-generated"  # no out-of-office answers to a sensor
    message.set_content(notice.text)
    return message
