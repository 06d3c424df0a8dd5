"""The Huffman code of header strings (RFC 7541 section 5.2), read a byte at a time.

The code of appendix B is canonical: codes are given out in the order of their lengths, and among equals in that of the symbols.
So the lengths are all there is to know.
"""

from gateway.http2.codes import Code
from gateway.http2.faults import ConnectionFault

_END = 256

_SYMBOLS_OF_LENGTH: dict[int, tuple[int, ...]] = {
    5: (*b"012aceiost",),
    6: (*b" %-./3456789=A_bdfghlmnpru",),
    7: (*b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz",),
    8: (*b"&*,;XZ",),
    10: (*b"!\"()?",),
    11: (*b"'+|",),
    12: (*b"#>",),
    13: (0, *b"$@[]~"),
    14: (*b"^}",),
    15: (*b"<`{",),
    19: (92, 195, 208),
    20: (128, 130, 131, 162, 184, 194, 224, 226),
    21: (153, 161, 167, 172, 176, 177, 179, 209, 216, 217, 227, 229, 230),
    22: (129, 132, 133, 134, 136, 146, 154, 156, 160, 163, 164, 169, 170, 173, 178, 181, 185, 186, 187, 189, 190, 196, 198, 228, 232, 233),
    23: (1, 135, 137, 138, 139, 140, 141, 143, 147, 149, 150, 151, 152, 155, 157, 158, 165, 166, 168, 174, 175, 180, 182, 183, 188, 191, 197, 231, 239),
    24: (9, 142, 144, 145, 148, 159, 171, 206, 215, 225, 236, 237),
    25: (199, 207, 234, 235),
    26: (192, 193, 200, 201, 202, 205, 210, 213, 218, 219, 238, 240, 242, 243, 255),
    27: (203, 204, 211, 212, 214, 221, 222, 223, 241, 244, 245, 246, 247, 248, 250, 251, 252, 253, 254),
    28: (*range(2, 9), 11, 12, *range(14, 22), *range(23, 32), 127, 220, 249),
    30: (10, 13, 22, _END),
}  # fmt: skip

# A node is a pair of what follows it with a 0 and with a 1: another node, or a symbol as its complement (below 0).
_nodes: list[list[int]] = [[0, 0]]
# What each byte leads to from a node: the next node and the symbols on the way, or None where that is no code.
_Row = list[tuple[int, bytes] | None]
_rows: list[_Row | None] = []


def _grow() -> None:
    code = 0
    before = 0
    for length, symbols in _SYMBOLS_OF_LENGTH.items():
        code <<= length - before
        before = length
        for symbol in symbols:
            node = 0
            for bit in range(length - 1, 0, -1):
                side = code >> bit & 1
                if not _nodes[node][side]:
                    _nodes.append([0, 0])
                    _nodes[node][side] = len(_nodes) - 1
                node = _nodes[node][side]
            _nodes[node][code & 1] = ~symbol
            code += 1
    _rows.extend([None] * len(_nodes))


def _row(node: int) -> _Row:
    """The row of a node. All of them would take a tenth of a second to make; few are ever asked for."""
    found = _rows[node] = [_step(node, byte) for byte in range(256)]
    return found


def _step(node: int, byte: int) -> tuple[int, bytes] | None:
    symbols = bytearray()
    for bit in range(7, -1, -1):
        node = _nodes[node][byte >> bit & 1]
        if node < 0:
            if ~node == _END:
                return None
            symbols.append(~node)
            node = 0
    return node, bytes(symbols)


def _padding() -> frozenset[int]:
    """The nodes where a string may end: after up to seven bits of the end's code, which are ones."""
    found = [0]
    while len(found) < 8:
        found.append(_nodes[found[-1]][1])
    return frozenset(found)


_grow()
_MAY_END = _padding()


def decoded(data: bytes) -> bytes:
    """The string that `data` is the code of. Raises `ConnectionFault` (COMPRESSION_ERROR) for what is no code, or is padded wrongly."""
    node = 0
    out: list[bytes] = []
    for byte in data:
        step = (_rows[node] or _row(node))[byte]
        if step is None:
            raise ConnectionFault(Code.COMPRESSION_ERROR, "the end's code within a string")
        node, symbols = step
        out.append(symbols)
    if node not in _MAY_END:
        raise ConnectionFault(Code.COMPRESSION_ERROR, "a string that is padded wrongly")
    return b"".join(out)
