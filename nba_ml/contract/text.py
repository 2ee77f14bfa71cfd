"""Text from outside: names, reasons, error messages of others. None of it may steer a terminal or break a log's lines.

An escape sequence can clear a screen or write a file's title, a newline can forge a line of a log, and marks of
direction or of zero width make a name look like another.
"""

from __future__ import annotations

import re

# A fixed list and not Unicode's categories, which grow with every version of Python: digests depend on cleaned names.
_UNSEEN = (
    "\x00-\x1f\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f"
)
_ANY = re.compile(f"[{_UNSEEN}]")
_ANY_BUT_NEWLINE = re.compile(f"(?!\n)[{_UNSEEN}]")


def printable(text: str) -> str:
    r"""On one line, with what steers or hides written out: '\x1b', '\n', '\u202e'."""
    return _ANY.sub(_written_out, text)


def printable_lines(text: str) -> str:
    """As `printable`, with its lines kept."""
    return _ANY_BUT_NEWLINE.sub(_written_out, text)


def clean(name: str) -> str:
    """A name without what steers or hides, for data: what is written out would become letters of the name.

    Line breaks and tabs become spaces.
    """
    if name.isprintable():  # nearly all are: none of those characters is
        return name
    return _ANY.sub(lambda found: " " if found[0].isspace() else "", name)


def _written_out(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()
