"""The gRPC transport of the inference plane: messages to calls of the pipeline, replies to messages.

`listener` serves the port, `service` makes calls of `inference.GRPCInferenceService`'s methods, `metadata` and `messages` say what
a request is, `reply` and `status` what its caller gets; `health` is `grpc.health.v1`. Nothing but the listener's start imports this package:
a worker without a gRPC port does without grpcio.
"""
