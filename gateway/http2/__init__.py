"""HTTP/2 (RFC 9113) and its header compression (RFC 7541), for both sides of a connection; what is said over it is not its business.

`connection` reads frames and tells its owner and its streams' receivers what they mean; `stream` is one exchange; `settings` and
`limits` are what the two sides have agreed on and what one of them may ask of the other; `decode`, `encode` and `huffman` are
header blocks, and `fields` the rules for what stands in them.
"""
