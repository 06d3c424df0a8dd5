"""HTTP/2 (RFC 9113) and its header compression (RFC 7541), for both sides of a connection; what is said over it is not its business.

`reader` takes frames out of what arrives, `streams` knows their states, headers and data, `connection` the control frames, beginnings
and ends; `stream` is one exchange, and `outflow` what is sent, within the windows. `limits` is what the other side may ask,
`flood` what it may ask in vain, `settings` what it has said; `frames` and `codes` are how things are written, `faults` what ends a
stream or all of it. `decode`, `encode`, `huffman` and `static_table` are header blocks, and `fields` the rules for what stands in them.
"""
