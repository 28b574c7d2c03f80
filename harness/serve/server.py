"""The service on a socket, from start to end, and the verified model that it serves."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING

from harness.core.engine import Engine, notes_of
from harness.core.errors import PrerequisiteError, UsageError
from harness.core.requests.loading import ServeRequest
from harness.core.settings import check_settings
from harness.engines.loading import ProvenModel, open_proven, prove_model
from harness.files.extras import install_command
from harness.zoo.model_file import remarks

if TYPE_CHECKING:
    from harness.serve.service import Service


def serve(
    request: ServeRequest,
    *,
    ready: Callable[[str, str], None],
    notice: Callable[[str], None],
) -> None:
    """Serve until SIGTERM or Ctrl-C; requests that have begun are still answered.

    Args:
        request: What to serve, and where.
        ready: Called with what is served and its address, once requests are accepted.
        notice: Called with lines for the operator.

    Raises:
        PrerequisiteError: The extra ``serve`` is not installed.
        UsageError: The address is in use or not permitted.
        RunFailedError: The service ended before all requests were answered.
    """
    try:
        import uvicorn  # noqa: F401

        from harness.serve.app import build_app
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("harness"):
            raise
        raise PrerequisiteError(
            f"the service needs the package {error.name}",
            hint=f"run: {install_command('serve')}",
        ) from error
    from harness.serve.connections import ENDED_S, Deadline, Server

    model = find_served(request)
    for sentence in remarks(model.file.changed, model.stated):
        notice(sentence)
    deadline, listener = Deadline(ENDED_S, notice=notice), listening(request.host, request.port)
    with deadline.met(), closing(listener), deadline.at_end():
        service = _opened(request, model, notice)
        deadline.before = service.decoders.close
        with closing(service), deadline.at_end():
            _warm_up(service, notice)

            def ending() -> None:
                service.ending = True
                deadline.start()

            server = Server(build_app(service), on_end=ending)
            ready(_title(service), url_of(listener))
            with suppress(KeyboardInterrupt), _logged(notice):  # uvicorn raises its signal again
                server.run(sockets=[listener])
    service.require_answered()


def _warm_up(service: Service, notice: Callable[[str], None]) -> None:
    """Run the first inference, and report what is done otherwise than asked."""
    notice(f"first inference: {service.warm_up():.2f} s")
    for sentence in notes_of(service.engine.engine):
        notice(f"note: {sentence}")


def _title(service: Service) -> str:
    """Return what is served, for the operator."""
    info = service.facts
    own = service.request.network.weights is not None
    name = service.title if own else service.model.entry.name
    return f"{name} ({info.engine}, {info.device}, {info.precision})"


def _opened(request: ServeRequest, model: ProvenModel, notice: Callable[[str], None]) -> Service:
    """Open the engine of a model, and the service around it."""
    from harness.serve.engine_thread import EngineThread
    from harness.serve.examples import find_examples, find_report, own_examples
    from harness.serve.service import Service

    if request.images is not None:
        examples = own_examples(request.images, request.annotations)
    else:
        examples = find_examples(model.entry, request.network.root)
    report = find_report(request.network.weights)
    engine = EngineThread(lambda: open_served(request, model), request.queue)
    return Service(request, model, engine, examples=examples, report=report, notice=notice)


@contextmanager
def _logged(notice: Callable[[str], None]) -> Iterator[None]:
    """Send what uvicorn logs to ``notice``, without control characters."""
    from harness.serve.failures import escaped

    class Noticing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            notice(escaped(self.format(record)))

    logger, handler = logging.getLogger("uvicorn.error"), Noticing(logging.WARNING)
    logger.addHandler(handler)
    propagated, logger.propagate = logger.propagate, False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagated


def listening(host: str, port: int) -> socket.socket:
    """Open a socket that accepts connections.

    Args:
        host: Name or address of an interface of this machine.
        port: 0 takes a free one.

    Raises:
        UsageError: The address is in use, not permitted, or not of this machine.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        raise UsageError(
            f"cannot listen on {host}, port {port}: {error.strerror}",
            hint="choose another --port (0 takes a free one) or --host",
        ) from error
    # Connections inherit it. asyncio sets it only where a socket names its protocol; without it the
    # end of an answer waits 40 ms for the client's delayed acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def url_of(listener: socket.socket) -> str:
    """Return the address of a socket as a URL; an IPv6 address in brackets."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def find_served(request: ServeRequest) -> ProvenModel:
    """Find the model that a request names, and verify what needs no inference.

    Raises:
        HarnessError: A setting is invalid, or the weights are missing, damaged or of another
            network.
    """
    check_settings(request)
    return prove_model(
        request.network,
        request.options,
        annotations=request.annotations,
        panoptic=request.panoptic,
        recipe=request.recipe,
    )


def open_served(request: ServeRequest, model: ProvenModel) -> Engine:
    """Open the engine of a model.

    Args:
        request: What is served.
        model: As ``find_served`` returns it.

    Returns:
        An engine that is ready for inference.
    """
    return open_proven(model, request.options)
