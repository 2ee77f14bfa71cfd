"""What the operating system refuses, in words that say what to do."""

from __future__ import annotations

import errno

FULL = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
"""No room: of the disk, of the user, or of one file."""

REASONS = {
    errno.ENOSPC: "the disk is full; free some space",
    errno.EDQUOT: "the disk quota is used up; free some space",
    errno.EFBIG: "the file is larger than this process may write",
    errno.EACCES: "this user has no permission there",
    errno.EPERM: "this user, or this kind of file system, may not do that (hard links are needed)",
    errno.EROFS: "the file system is read-only",
    errno.EIO: "the disk cannot be read or written; check it",
    errno.ENOTDIR: "a file is where a folder should be; move it away",
    errno.EEXIST: "a file is where a folder should be; move it away",
    errno.EISDIR: "a folder is where the object should be; move it away",
    errno.ENAMETOOLONG: "the name is too long for this file system",
    errno.EMFILE: "this process has too many files open; raise `ulimit -n`",
    errno.ENFILE: "the machine has too many files open; close some programs",
}


def reason_of(error: OSError) -> str:
    """Why, and what to do where that is known."""
    return REASONS.get(error.errno or 0) or error.strerror or str(error)
