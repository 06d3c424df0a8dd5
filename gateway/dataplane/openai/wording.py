"""Answers in OpenAI's words: whole, or as the events of a stream."""

import time

import msgspec

DONE = b"data: [DONE]\n\n"
JSON_HEADERS = ((b"Content-Type", b"application/json"),)
STREAM_HEADERS = ((b"Content-Type", b"text/event-stream; charset=utf-8"), (b"Cache-Control", b"no-cache"))


class Wording:
    """Of one answer by `alias`, for a `chat` or a plain completion. `served_by` is the model version."""

    def __init__(self, request_id: str, alias: str, served_by: bytes, *, chat: bool) -> None:
        self._chat = chat
        self._head: dict[str, object] = {
            "id": f"{'chatcmpl' if chat else 'cmpl'}-{request_id}",
            "object": "chat.completion" if chat else "text_completion",
            "created": int(time.time()),
            "model": alias,
            "system_fingerprint": served_by.decode(),
        }
        # A piece differs from the one before in its text alone.
        self._before = self._after = b""

    def whole(self, text: str, reason: str, usage: dict[str, int]) -> bytes:
        """The whole answer."""
        content: dict[str, object] = {"text": text}
        if self._chat:
            content = {"message": {"role": "assistant", "content": text, "refusal": None}}
        choice = self._choice(content, reason)
        return msgspec.json.encode(self._head | {"choices": [choice], "usage": usage})

    def begin_stream(self, *, with_usage: bool) -> bytes:
        """The first event, if there is one before the text; from now on the other events can be worded."""
        if self._chat:
            self._head["object"] = "chat.completion.chunk"
        if with_usage:
            # Of all events but the last (OpenAI API reference, `stream_options`).
            self._head["usage"] = None
        mark = "\x00"
        event = self._event(
            [self._choice({"delta": {"content": mark}} if self._chat else {"text": mark}, None)]
        )
        self._before, _, self._after = event.partition(msgspec.json.encode(mark))
        if not self._chat:
            return b""
        return self._event([self._choice({"delta": {"role": "assistant", "content": ""}}, None)])

    def piece(self, text: str) -> bytes:
        """The event of a piece."""
        return self._before + msgspec.json.encode(text) + self._after

    def end_stream(self, reason: str, usage: dict[str, int] | None) -> bytes:
        """The last events: why it ended, what was used where that was asked for, and that no more follows."""
        end = self._event([self._choice({"delta": {}} if self._chat else {"text": ""}, reason)])
        if usage is not None:
            self._head["usage"] = usage
            end += self._event([])
        return end + DONE

    def _choice(self, content: dict[str, object], reason: str | None) -> dict[str, object]:
        return {"index": 0} | content | {"logprobs": None, "finish_reason": reason}

    def _event(self, choices: list[dict[str, object]]) -> bytes:
        return b"data: " + msgspec.json.encode(self._head | {"choices": choices}) + b"\n\n"


def usage_of(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    """`usage` of text."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }
