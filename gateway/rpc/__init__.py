"""gRPC as it is carried by HTTP/2 (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md), for both sides: messages with their
prefix, status codes, deadlines, words and binary metadata. It knows no connection.
"""
