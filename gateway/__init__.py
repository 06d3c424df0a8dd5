"""maas: a Model-as-a-Service inference gateway in front of NVIDIA Triton."""

import sys

# httpx imports its own command line wherever click and rich are installed: 5 MB of every process and a sixth of a
# worker's imports, which callers wait for when another one has died. Like this it does as where they are not.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
