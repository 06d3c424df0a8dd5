"""What a process pays for tokens: nothing, unless its settings declare an issuer."""

import subprocess
import sys

_CODE = """
import sys
import gateway.app, gateway.dataplane.worker, gateway.controlplane.plane
from gateway.settings import Settings
from gateway.tokens import open_tokens
assert open_tokens(Settings()) is None
print(*sorted({"jwt", "cryptography"} & set(sys.modules)))
"""


def test_without_issuers_nothing_of_it_is_loaded() -> None:
    """PyJWT and `cryptography` would add a third to a worker's memory."""
    done = subprocess.run([sys.executable, "-c", _CODE], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
