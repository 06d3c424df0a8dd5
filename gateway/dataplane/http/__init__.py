"""The HTTP transport of the inference plane: bytes to calls of the pipeline, replies to bytes.

`listener` accepts connections, `connection` parses requests and keeps their order, `head` and `routes` decide what a
request is, `body` bounds and passes on its body, `handler` calls the pipeline, `reply` writes what comes back.
"""
