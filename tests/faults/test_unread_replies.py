"""A caller that asks and does not read is answered no further, whatever the size of its replies."""

import socket
import threading
import time

import pytest

from tests.dataplane.raw import RawClient, ask, request
from tests.gateway_process import Gateway
from tests.patience import PATIENT_S

pytestmark = pytest.mark.slow

MIB = 1024 * 1024


def test_small_unread_replies_do_not_pile_up(gateway: Gateway) -> None:
    """Pipelined requests for small pages, before any credential: the gateway stops reading them, and its memory stays."""
    page = b"GET /v2 HTTP/1.1\r\nHost: gateway\r\n\r\n"
    sent = 0
    with RawClient(gateway.address, 2, receive_buffer=4096) as client, gateway.memory_growth() as growth:
        client.sock.settimeout(1.5)
        until = time.monotonic() + 6
        try:
            while time.monotonic() < until:
                sent += client.sock.send(page * 500)
        except TimeoutError:
            pass
        assert sent < 64 * MIB, "the gateway goes on reading"
        assert growth() < 8 * MIB
    assert ask(gateway.address, request()).status == 200


def test_who_reads_late_gets_every_reply_in_order(gateway: Gateway) -> None:
    """Held back is not lost: all replies come, whole, once the caller reads."""
    count = 3000
    page = b"GET /v2 HTTP/1.1\r\nHost: gateway\r\nX-Request-Id: %d\r\n\r\n"
    with socket.create_connection(gateway.address) as sock:
        sock.settimeout(PATIENT_S)

        def send() -> None:
            for index in range(count):
                sock.sendall(page % index)

        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        time.sleep(0.5)
        found = b""
        while found.count(b"HTTP/1.1 200 OK") < count or not found.endswith(b"}"):
            data = sock.recv(1 << 20)
            assert data, "the connection ended early"
            found += data
        sender.join(PATIENT_S)
    ids = [line.split(b": ")[1] for line in found.split(b"\r\n") if line.startswith(b"X-Request-Id")]
    assert ids == [b"%d" % index for index in range(count)]
