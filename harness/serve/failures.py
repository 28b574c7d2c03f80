"""Whatever goes wrong in a request, as the JSON that reports it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from harness.core.errors import HarnessError
from harness.core.printable import printable
from harness.files.json import dumps, to_plain


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is wrong with a request, in the words of its sender."""

    status: int
    """HTTP status."""

    what: str
    """What is wrong, in one sentence."""

    expected: str | None = None
    """What is valid; None where there is nothing to compare with."""

    found: str | None = None
    """What was sent; None as above."""

    next_step: str | None = None
    """What to do now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorAnswer:
    """The body of every answer that reports a failure."""

    error: Fault
    """What is wrong."""


class Refusal(Exception):
    """A request that is refused with the HTTP status of its fault.

    Attributes:
        fault: What is wrong with it.
        headers: Further headers of the answer.
    """

    def __init__(self, fault: Fault, *, headers: Mapping[str, str] | None = None) -> None:
        """Refuse a request.

        Args:
            fault: What is wrong with it.
            headers: Further headers of the answer.
        """
        super().__init__(fault.what)
        self.fault = fault
        self.headers = dict(headers or {})


def refused(
    status: int,
    what: str,
    *,
    expected: str | None = None,
    found: str | None = None,
    next_step: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Refusal:
    """Return a refusal, ready to be raised.

    Args:
        status: HTTP status.
        what: What is wrong, in one sentence.
        expected: What is valid.
        found: What was sent.
        next_step: What to do now.
        headers: Further headers of the answer.
    """
    fault = Fault(status=status, what=what, expected=expected, found=found, next_step=next_step)
    return Refusal(fault, headers=headers)


def answer_failures(app: FastAPI, notice: Callable[[str], None]) -> None:
    """Have ``app`` answer every failure in one form; ``notice`` gets a line for each in inference.

    A bug is raised again after its answer; the server then logs it with its traceback.
    """

    @app.exception_handler(Refusal)
    async def refusal(_: Request, error: Refusal) -> Response:
        return answer_of(error.fault, error.headers)

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, __: ClientDisconnect) -> Response:
        return answer_of(Fault(status=499, what="the client went away while it was sending"))

    @app.exception_handler(RequestValidationError)
    async def settings(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        name = str(first["loc"][-1])
        fault = Fault(
            status=422,
            what=f"the setting {name} is invalid",
            expected=str(first["msg"]),
            found=str(first["input"]),
            next_step="see /docs",
        )
        return answer_of(fault)

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> Response:
        return no_such_route(request, error)

    @app.exception_handler(HarnessError)
    async def failure(_: Request, error: HarnessError) -> Response:
        notice(f"error: {escaped(str(error))}")
        fault = Fault(status=500, what=error.message, next_step=error.hint)
        return answer_of(fault)

    @app.exception_handler(Exception)
    async def bug(_: Request, error: Exception) -> Response:
        fault = Fault(
            status=500,
            what=f"a bug in harness, or a broken device: {type(error).__name__}",
            next_step="the service's log has the traceback; please report it",
        )
        return answer_of(fault)


def no_such_route(request: Request, error: HTTPException) -> Response:
    """Return the answer to an address that there is not, or not with this method."""
    path = request.url.path
    what, step = f"{request.method} {path}: {error.detail}", "see /docs for what there is"
    if error.status_code != 405:
        fault = Fault(status=error.status_code, what=what, next_step=step)
        return answer_of(fault, error.headers)
    allowed = methods_of(request)
    fault = Fault(
        status=405,
        what=what,
        expected=" or ".join(allowed),
        found=request.method,
        next_step=f"send {allowed[0]} {path}; {step}" if allowed else step,
    )
    return answer_of(fault, {**(error.headers or {}), "Allow": ", ".join(allowed)})


def methods_of(request: Request) -> list[str]:
    """Return the methods that the address of a request takes, of all its routes."""
    routes = [one for one in request.app.routes if one.matches(request.scope)[0] is not Match.NONE]
    return sorted({method for one in routes for method in getattr(one, "methods", None) or ()})


#: Characters of a line of the log.
LINE_LENGTH = 2000


def escaped(text: str) -> str:
    """Return ``text`` from outside as it may be logged: bounded, without control characters."""
    return printable(text[:LINE_LENGTH])


def answer_of(fault: Fault, headers: Mapping[str, str] | None = None) -> Response:
    """Return the JSON answer that reports a fault.

    Args:
        fault: What is wrong; its status is the answer's.
        headers: Further headers of the answer.
    """
    body = dumps(to_plain(ErrorAnswer(error=fault)))
    return Response(
        body, status_code=fault.status, headers=dict(headers or {}), media_type="application/json"
    )
