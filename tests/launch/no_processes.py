"""Imported by a fork server: it gets no more processes, as where a limit is reached."""

from __future__ import annotations

import errno
import os
from typing import NoReturn


def refuse() -> NoReturn:
    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))


os.fork = refuse
