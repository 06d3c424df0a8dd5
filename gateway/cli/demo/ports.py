"""The demo's ports: those asked for must be free, and 0 becomes a free one."""

import contextlib
import socket

import msgspec

from gateway.cli.output import Refused

HOST = "127.0.0.1"
_OPTIONS = {"http": "--http-port", "grpc": "--grpc-port", "control": "--control-port"}


class Ports(msgspec.Struct, frozen=True):
    """Ports on loopback."""

    http: int
    grpc: int
    control: int

    @property
    def inference_url(self) -> str:
        """Where applications call."""
        return f"http://{HOST}:{self.http}"

    @property
    def grpc_target(self) -> str:
        """Where gRPC clients call."""
        return f"{HOST}:{self.grpc}"

    @property
    def control_url(self) -> str:
        """Where `maas alias set` and its like go."""
        return f"http://{HOST}:{self.control}"


def choose_ports(http: int, grpc: int, control: int) -> Ports:
    """The ports, distinct free ones in place of zeros. Raises `Refused` naming the one that is taken."""
    chosen = {}
    with contextlib.ExitStack() as held:
        # Those that were named first, so that none of them is handed out as a free one.
        for name, port in sorted(
            {"http": http, "grpc": grpc, "control": control}.items(), key=lambda i: not i[1]
        ):
            listener = held.enter_context(socket.socket())
            # As servers do: connections of an earlier run that linger must not count.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((HOST, port))
                listener.listen()
            except OSError as error:
                raise Refused(
                    f"port {port} on {HOST} cannot be used ({error.strerror}); "
                    f"end what listens there, or choose another with {_OPTIONS[name]} (0: any free one)"
                ) from error
            chosen[name] = int(listener.getsockname()[1])
    return Ports(**chosen)
