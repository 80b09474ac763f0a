"""TensorBoard's event file, which grows by all figures of a step at once."""

import io
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from dsva.files import Growing

# torch's SummaryWriter writes from a thread, which loses what it holds and breaks its file where there is no room.


class Board(Growing):
    """Events of one start of a run; TensorBoard joins the files of all starts to one curve."""

    def __init__(self, folder: Path, start: int) -> None:
        """Begin a new file in `folder`, for the steps after `start`: those of earlier files are no longer shown."""
        began = Event(step=start + 1, session_log=SessionLog(status=SessionLog.START))
        super().__init__(
            folder / f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}.{os.getpid()}",
            _records(Event(file_version="brain.Event:2"), began),
        )

    def show(self, step: int, values: Mapping[str, float]) -> None:
        """Add figures of the state after `step` optimizer steps.

        Raises:
            NoRoomError: as `Growing.add`.
        """
        figures = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self.add(_records(Event(step=step, summary=Summary(value=figures))))


def _records(*events: Event) -> bytes:
    records = io.BytesIO()
    writer = RecordWriter(records)
    for event in events:
        event.wall_time = time.time()
        writer.write(event.SerializeToString())
    return records.getvalue()
