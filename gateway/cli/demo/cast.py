"""Who acts in the story: applications on the inference port, people on the control port. Every request is a real one."""

import time
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, Self

import httpx
import msgspec
import numpy as np

from gateway.cli.client import Control
from gateway.cli.demo.folder import DemoFile, sample
from gateway.cli.demo.stage import expect
from gateway.cli.inference import send
from gateway.cli.output import Refused
from gateway.snapshot.split import bucket_of

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_LIVE_WITHIN_S = 20.0


class Digit(msgspec.Struct, frozen=True):
    """A held-out image of the sample data, 64 pixels from 0 to 16, and the digit that it shows."""

    pixels: list[float]
    shows: str


class Answer(msgspec.Struct, frozen=True):
    """What a model version read in an image, how sure it was, and which version it was."""

    reads: str
    certainty: float
    served_by: str


class Cast:
    """The demo's principals, with their keys."""

    def __init__(self, found: DemoFile) -> None:
        self._found = found
        self._inference = httpx.Client(base_url=found.inference_url, timeout=30.0, trust_env=False)
        self.lead = Control(found.control_url, found.keys["lead"])
        self._body = msgspec.json.encode(self._request(digit(0)))

    def read(self, who: str, shown: Digit, version: int | None = None) -> Answer:
        """Ask alias `digits` through `tritonclient` what the image shows. Raises `Refused` with the gateway's words."""
        headers = {"Authorization": f"Bearer {self._found.keys[who]}"}
        reply = send(self._found.inference_url, "digits", self._request(shown), headers, version)
        scores = np.array(reply["outputs"][0]["data"])
        return Answer(
            WORDS[int(scores.argmax())],
            float(scores.max()),
            f"{reply['model_name']}/{reply['model_version']}",
        )

    def embed(self, texts: Sequence[str]) -> np.ndarray[Any, Any]:
        """The application asks alias `minilm` for the texts' embeddings: a row of length 1 for each."""
        request = {
            "inputs": [
                {"name": "text", "shape": [len(texts), 1], "datatype": "BYTES", "data": list(texts)},
            ]
        }
        headers = {"Authorization": f"Bearer {self._found.keys['app']}"}
        reply = send(self._found.inference_url, "minilm", request, headers)
        (rows,) = (output for output in reply["outputs"] if output["name"] == "embedding")
        return np.array(rows["data"]).reshape(rows["shape"])

    def call(self, who: str | None, method: str, path: str) -> httpx.Response:
        """A bare HTTP call on the inference port, with an inference as its body where it is a POST."""
        headers = {} if who is None else {"Authorization": f"Bearer {self._found.keys[who]}"}
        return self._inference.request(
            method, path, headers=headers, content=self._body if method == "POST" else None
        )

    def serve(self, users: Iterable[str]) -> dict[str, str]:
        """One call of the application for each of its users: which version answered whom (`Maas-Served-By`)."""
        served = {}
        for user in users:
            reply = self._inference.post(
                "/v2/models/digits/infer",
                headers={"Authorization": f"Bearer {self._found.keys['app']}", "Maas-Routing-Key": user},
                content=self._body,
            )
            expect(reply.status_code == httpx.codes.OK, f"{user} got {reply.status_code}: {reply.text}")
            served[user] = reply.headers["Maas-Served-By"]
        return served

    def set_targets(self, weights: Sequence[tuple[int, int]], reason: str) -> dict[str, Any]:
        """The lead sets alias `digits` to these (version, basis points). Raises `Refused` with the gateway's words."""
        _, etag = self.lead.get_with_etag("/api/v1/aliases/digits")
        targets = [{"model": "digits", "version": version, "weight": weight} for version, weight in weights]
        change = {"targets": targets, "reason": reason}
        return dict(self.lead.put("/api/v1/aliases/digits", change, etag))

    def seconds_until(self, user: str, served_by: str) -> float:
        """How long it takes until `user` is answered by that version. Raises `Refused` when it takes too long."""
        began = time.monotonic()
        while self.serve([user])[user] != served_by:
            expect(time.monotonic() - began < _LIVE_WITHIN_S, f"{served_by} does not answer {user}")
            time.sleep(0.005)
        return time.monotonic() - began

    def refusal(self, weights: Sequence[tuple[int, int]], reason: str) -> str:
        """The gateway's words when the lead tries this change, which it must refuse."""
        try:
            self.set_targets(weights, reason)
        except Refused as refused:
            return refused.message
        raise Refused(f"the demo went wrong: the weights {weights} were accepted")

    def _request(self, shown: Digit) -> dict[str, Any]:
        return {"inputs": [{"name": "image", "shape": [1, 64], "datatype": "FP32", "data": shown.pixels}]}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inference.close()
        self.lead.close()


def digit(number: int) -> Digit:
    """A held-out image by its place in the sample data."""
    with np.load(sample("model_repository") / "digits" / "held_out.npz") as held_out:
        return Digit(
            [float(pixel) for pixel in held_out["images"][number]], WORDS[int(held_out["labels"][number])]
        )


def user_between(users: Iterable[str], salt: str, first: int, end: int) -> str:
    """One of the users whose bucket is at least `first` and below `end`."""
    return next(user for user in users if first <= bucket_of(bytes.fromhex(salt), user.encode()) < end)
