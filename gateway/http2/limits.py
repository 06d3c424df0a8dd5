"""What one connection may ask of this side."""

import msgspec


class Limits(msgspec.Struct, frozen=True, gc=False):
    """Sizes are in bytes, times in seconds.

    `header_list_bytes` bounds a list of fields as RFC 9113 section 6.5.2 counts it, and its block in frames to twice that. `streams` is how
    many the other side may have open. `stream_window` and `connection_window` are how much of what was not `consumed` is
    kept. `resets`, `control_frames` and `empty_frames` are how many of a kind that cost their sender nothing are allowed
    in `flood_s`. `write_high_water` is what waits in the transport before streams are held back, `unread_controls` how many answers to control
    frames may wait there besides. `preface_s` is for the connection's beginning and `settings_s` for the acknowledgement of ours.
    `idle_s` ends a connection without streams; 0 never. Pings more often than each `ping_s` are counted while nothing is
    under way, and after `ping_strikes` of them the connection ends.
    """

    header_list_bytes: int = 65_536
    streams: int = 100
    stream_window: int = 65_535
    connection_window: int = 4 * 1024 * 1024
    frame_bytes: int = 16_384
    resets: int = 200
    control_frames: int = 1000
    empty_frames: int = 1000
    flood_s: float = 10.0
    write_high_water: int = 256 * 1024
    unread_controls: int = 1000
    preface_s: float = 10.0
    settings_s: float = 30.0
    idle_s: float = 0.0
    ping_s: float = 10.0
    ping_strikes: int = 2
