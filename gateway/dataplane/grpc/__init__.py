"""The gRPC transport of the inference plane: messages to calls of the pipeline, replies to messages.

`listener` serves the port with `gateway.http2`, each `connection` gives what comes to the methods that are asked for: `opening` is what a call
begins with, `incoming` the call, a `unary_call` or a `stream_call`. `service` makes calls of `inference.GRPCInferenceService`'s methods, `metadata` and `messages` say
what a request is, `reply`, `stream` and `status` what its caller gets; `health` is `grpc.health.v1`.
"""
