"""The control plane in this process."""

import contextlib
import logging
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from gateway.settings import Settings, SettingsError
from gateway.supervisor.ports import bind
from gateway.tokens import open_tokens

if TYPE_CHECKING:
    from gateway.controlplane.plane import ControlPlane

log = logging.getLogger(__package__)

_CONTROL_STOP_S = 10.0


@contextlib.contextmanager
def control_plane(settings: Settings, secret: bytes) -> Iterator[tuple[Settings, "ControlPlane"]]:
    """Run the control plane in a thread of its own; with it the settings with the port that it really has."""
    import uvicorn

    from gateway.controlplane.api import create_app
    from gateway.controlplane.plane import ControlPlane, StartRefused

    with contextlib.ExitStack() as stack:
        sockets = bind(settings.control.host, settings.control.port, "control.port")
        for sock in sockets:
            stack.enter_context(sock)
        try:
            control = ControlPlane(
                settings.database_url,
                secret,
                settings.policies.folder,
                settings.pools,
                issuers=open_tokens(settings),
                model_repository=settings.embedded.model_repository,
            )
            app = create_app(control)
            control.open()
        except StartRefused as error:
            raise SettingsError(error.problems) from error
        server = uvicorn.Server(
            uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=5)
        )
        thread = threading.Thread(target=server.run, args=(sockets,), name="control-plane", daemon=True)
        thread.start()
        port = sockets[0].getsockname()[1]
        log.info("the control plane is at http://%s:%d", settings.control.host, port)
        try:
            yield (
                msgspec.structs.replace(
                    settings, control=msgspec.structs.replace(settings.control, port=port)
                ),
                control,
            )
        finally:
            control.stop()
            server.should_exit = True
            thread.join(_CONTROL_STOP_S)
            control.close()
