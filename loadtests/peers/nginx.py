"""nginx as a plain reverse proxy: no keys, no policy, no split, no log. About the least that a proxy costs."""

import contextlib
import os
import shutil
from collections.abc import Iterator

from loadtests.peers.peer import Peer, Stage
from loadtests.probe import accepts
from loadtests.processes import SEARCH_PATH, free_port, running, wait_until

NAME = "nginx"
_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")

# With the default body buffer of 16 KiB, large bodies pass at a third of the pace.
_HTTP = """
            proxy_pass http://triton;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_request_buffering off;
            proxy_buffering off;
            client_body_buffer_size 1m;
        """
# nginx carries one call at a time on a connection upstream.
_GRPC = """
            grpc_pass grpc://triton;
            client_body_buffer_size 1m;
        """


def binary() -> str | None:
    """The program, if it is here."""
    return shutil.which("nginx", path=SEARCH_PATH)


def missing() -> str | None:
    """Why nginx cannot run here, or None."""
    return None if binary() else "not installed (Debian package nginx)"


@contextlib.contextmanager
def start(stage: Stage) -> Iterator[Peer]:
    """One worker on the proxy's core, connections to the upstream kept, bodies streamed both ways."""
    program = binary()
    assert program is not None
    port = free_port()
    stage.folder.mkdir(parents=True, exist_ok=True)
    path, log = stage.folder / "nginx.conf", stage.folder / "nginx.log"
    path.write_text(_config(port, stage))
    with running([program, "-e", "stderr", "-c", str(path)], core=stage.cores.proxy, log=log) as process:
        wait_until(lambda: accepts(port), "nginx", process=process, log=log)
        yield Peer(NAME, port, stage.payload.version_path, process.pid)


def _config(port: int, stage: Stage) -> str:
    # Started by root, nginx would give its worker to `nobody`, who may not write to our folder.
    user = "user root;" if os.geteuid() == 0 else ""
    temporary = "\n    ".join(f"{kind}_temp_path {stage.folder}/{kind};" for kind in _TEMPORARY)
    http2 = "http2" if stage.payload.grpc else ""
    return f"""\
{user}
daemon off;
worker_processes 1;
pid {stage.folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_max_body_size 0;
    {temporary}
    upstream triton {{
        server 127.0.0.1:{stage.upstream_port};
        keepalive 256;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port} {http2} backlog=4096;
        location / {{ {_GRPC if stage.payload.grpc else _HTTP} }}
    }}
}}
"""
