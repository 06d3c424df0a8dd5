"""Sequences: requests that a model server keeps a state for, and that must therefore all go to the same place."""

from gateway.dataplane.sequences.pins import HostPins, Pins
from gateway.dataplane.sequences.redis_pins import RedisPins
from gateway.dataplane.sequences.sequences import Sequences
from gateway.observe.metrics import SEQUENCES_OPEN
from gateway.secret import derive
from gateway.settings import SequenceSettings
from gateway.supervisor.pins import PinTable
from gateway.upstream.exchange import Deadlines

SEQUENCE_PURPOSE = b"sequence names"


def open_sequences(
    settings: SequenceSettings, secret: bytes, table: PinTable | None, deadlines: Deadlines
) -> Sequences:
    """The sequences of one worker; `table` is what the workers of its host share, where there are several."""
    pins: Pins
    if settings.redis_url is not None:
        pins = RedisPins(settings.redis_url, settings.wait_s, settings.most_of_each)
    else:
        table = table or PinTable.create(settings.most)
        SEQUENCES_OPEN.set_function(table.open)
        pins = HostPins(table, settings.most_of_each)
    return Sequences(derive(secret, SEQUENCE_PURPOSE), pins, settings.idle_s, deadlines)
