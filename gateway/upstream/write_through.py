"""Large pieces go from the read buffer straight into the other side's socket, without a copy in between.

A transport keeps what it is given until it can send it, so bytes in a buffer that is used again must be copied first.
Where nothing waits in the transport, the socket can be asked at once; only what it does not take is copied.
"""

import asyncio
import os

_WORTH_IT_BYTES = 16 * 1024


def socket_of(transport: asyncio.Transport) -> int:
    """The file descriptor of the transport's socket, -1 where it has none."""
    sock = transport.get_extra_info("socket")
    return -1 if sock is None else int(sock.fileno())


def write_through(transport: asyncio.Transport, fd: int, data: bytes | memoryview) -> None:
    """Send `data`, which may be borrowed: nothing refers to it when this returns."""
    if transport.is_closing():
        return
    if fd >= 0 and len(data) >= _WORTH_IT_BYTES and transport.get_write_buffer_size() == 0:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:
            pass
        except OSError:
            # The peer is gone; the transport finds out by itself and tells its protocol.
            return
    if data:
        transport.write(bytes(data))
