"""Closes a listening port without cutting off who is just connecting.

A connection that the kernel has taken and nobody has accepted is reset when its socket closes, and its caller has an
error. So before that the kernel is told to let no new one begin: whoever tries then tries again a second later, and
finds nobody there.
"""

import asyncio
import ctypes
import os
import socket
import struct

SETTLE_S = 0.05
"""What has begun to connect has arrived after that, or is farther away than one round trip of so long."""

_SO_ATTACH_FILTER = 26
_TCP_FLAGS, _SYN = 13, 0x02
_LOAD_BYTE, _JUMP_IF_SET, _RETURN = 0x30, 0x45, 0x06
# A classic BPF program (bpf(4)): drop what has the flag SYN, pass on the rest. The data begins with the TCP header.
_PROGRAM = b"".join(
    struct.pack("HBBI", *step)
    for step in (
        (_LOAD_BYTE, 0, 0, _TCP_FLAGS),
        (_JUMP_IF_SET, 0, 1, _SYN),
        (_RETURN, 0, 0, 0),
        (_RETURN, 0, 0, 0xFFFF_FFFF),
    )
)


def turn_away(fd: int) -> bool:
    """Let no new connection begin on this listening socket, in no process that has it; False where that cannot be."""
    program = ctypes.create_string_buffer(_PROGRAM)
    with socket.socket(fileno=os.dup(fd)) as sock:
        try:
            sock.setsockopt(
                socket.SOL_SOCKET,
                _SO_ATTACH_FILTER,
                struct.pack("HP", len(_PROGRAM) // 8, ctypes.addressof(program)),
            )
        except OSError:
            return False
    return True


async def settle(listening: list[int]) -> None:
    """Let those who are just connecting to these sockets come in, and nobody after them."""
    turned_away = [turn_away(fd) for fd in listening]
    if any(turned_away):
        await asyncio.sleep(SETTLE_S)
