"""Every failure the harness can report, and the exit code each one ends in.

    HarnessError
    ├── UsageError         2   invalid arguments: options, names or files
    ├── PrerequisiteError  3   a package, device or program is missing
    ├── IntegrityError     4   hash, lock, data set or weights are not what they should be
    ├── RunFailedError     5   a worker ended, an output is not finite, predictions are missing
    └── Interrupted      130   Ctrl-C or SIGTERM in a run, which can be continued

A verdict that failed is no error: it is data, and the CLI ends with 1. Anything that is not a
HarnessError is a bug and ends with 70 and a traceback.
"""

from __future__ import annotations

#: Characters of a message, and of a hint.
LONGEST = 4000


class HarnessError(Exception):
    """A failure the user can act on.

    message: what failed, where, expected against found. hint: what to do next, a command when
    there is one. ``str(error)`` is both, the hint on a line of its own.
    """

    exit_code = 70

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = bounded(message)
        self.hint = hint if hint is None else bounded(hint)

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\n  {self.hint}"

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments are lost by the default pickling of exceptions, and errors cross
        # process borders here.
        return (_rebuild, (type(self), self.message, self.hint))


def bounded(text: str, longest: int = LONGEST) -> str:
    """Return a text without its middle where it is longer than is read: values come from files."""
    if len(text) <= longest:
        return text
    end = longest // 8
    left_out = len(text) - longest
    return f"{text[: longest - end]} … ({left_out} characters left out) … {text[-end:]}"


def _rebuild(kind: type[HarnessError], message: str, hint: str | None) -> HarnessError:
    return kind(message, hint=hint)


class UsageError(HarnessError):
    """Invalid arguments: options, names or files."""

    exit_code = 2


class PrerequisiteError(HarnessError):
    """A package, device or program that the request needs is missing."""

    exit_code = 3


class IntegrityError(HarnessError):
    """Hash, lock, data set or weights are not what they should be."""

    exit_code = 4


class AnotherRunError(IntegrityError):
    """The folder's run is not the one that was asked for: asking again would not help."""


class RunFailedError(HarnessError):
    """The run itself failed; what it computed so far is kept."""

    exit_code = 5


class NotServedError(RunFailedError):
    """A server answers, and says that it has no such file."""


class Interrupted(HarnessError):
    """The user stopped the run; it can be resumed."""

    exit_code = 130
