"""What one connection may ask of this side."""

import msgspec


class Limits(msgspec.Struct, frozen=True, gc=False):
    """Sizes are in bytes, times in seconds.

    `header_list_bytes` bounds a list of fields as RFC 9113 section 6.5.2 counts it, and its block to twice that. `streams` is how
    many the other side may have open. `stream_window` and `connection_window` are how much of what was not `consumed` is
    kept, 65 535 at least. `frame_bytes` is the largest frame that is taken. `resets` is how many streams may end by a fault or whim
    of the other side in `flood_s`, `control_frames` how many of the frames that cost their sender nothing may come in that
    time without a word from this side. `write_high_water` is what waits in the transport before streams are held back;
    at four times that, which nothing but answers to control frames and refusals can fill, no more is read. `preface_s` is for
    the connection's beginning and `settings_s` for the acknowledgement of ours. `idle_s` ends a connection without streams; 0
    never. Pings that come more often than each `ping_s`, with nothing said in between, are strikes, and with more than
    `ping_strikes` of them the connection ends.
    """

    header_list_bytes: int = 65_536
    streams: int = 100
    stream_window: int = 65_535
    connection_window: int = 4 * 1024 * 1024
    frame_bytes: int = 16_384
    resets: int = 2000
    control_frames: int = 1000
    flood_s: float = 10.0
    write_high_water: int = 256 * 1024
    preface_s: float = 10.0
    settings_s: float = 30.0
    idle_s: float = 0.0
    ping_s: float = 10.0
    ping_strikes: int = 2
