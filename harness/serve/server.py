"""The service on a socket, from the first request to an orderly end."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import closing, suppress

from harness.core.errors import PrerequisiteError, UsageError
from harness.core.requests.serving import ServeRequest
from harness.files.extras import install_command

#: Requests that are still inside when the service is told to stop get so long to be answered.
LAST_ANSWERS_S = 30


def serve(
    request: ServeRequest,
    *,
    ready: Callable[[str, str], None],
    notice: Callable[[str], None],
) -> None:
    """Serve until SIGTERM or Ctrl-C; what is inside then is still answered.

    ready: told what is served and at which address once requests are taken. notice: lines for the
    operator. Raises PrerequisiteError without the extra ``serve``, UsageError for an address that
    cannot be had.
    """
    try:
        import uvicorn

        from harness.serve.app import build_app
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("harness"):
            raise
        raise PrerequisiteError(
            f"the service needs the package {error.name}",
            hint=f"run: {install_command('serve')}",
        ) from error
    from harness.serve.engine_thread import EngineThread
    from harness.serve.examples import find_examples
    from harness.serve.images import refuse_bombs
    from harness.serve.model import find_served, open_served
    from harness.serve.service import Service

    model = find_served(request)
    with closing(listening(request.host, request.port)) as listener:
        refuse_bombs(request.max_megapixels)
        examples = find_examples(model.entry, request.network.root)
        engine = EngineThread(lambda: open_served(request, model), request.queue)
        service = Service(request, model, engine, examples=examples, notice=notice)
        with closing(service):
            notice(f"first inference: {service.warm_up():.2f} s")
            config = uvicorn.Config(
                build_app(service),
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=LAST_ANSWERS_S,
            )
            info = service.facts
            ready(f"{info.name} ({info.engine}, {info.device}, {info.precision})", url_of(listener))
            with suppress(KeyboardInterrupt):  # uvicorn hands on the signal that ended it
                uvicorn.Server(config).run(sockets=[listener])


def listening(host: str, port: int) -> socket.socket:
    """A socket that takes connections; UsageError when the address cannot be had."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        raise UsageError(
            f"cannot listen at {host}, port {port}: {error.strerror}",
            hint="choose another --port (0 takes a free one) or --host",
        ) from error
    # Connections inherit it. asyncio sets it only where a socket names its protocol; without it the
    # end of an answer waits 40 ms for the client's delayed acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def url_of(listener: socket.socket) -> str:
    """The address in a form that a browser takes."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
