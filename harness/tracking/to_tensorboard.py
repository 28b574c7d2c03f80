"""TensorBoard: an event file in the folder of the run."""

from __future__ import annotations

from harness.tracking.tracked import Tracked


def track(one: Tracked) -> str:
    """Write the numbers as scalars at the iteration of the run; the folder of the event file.

    A training's own curves are there already, where TensorBoard was installed when it ran.

    Args:
        one: What is logged.
    """
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    folder = one.folder / "tensorboard"
    step = max((step for step, _ in one.series), default=0)
    values = [Summary.Value(tag=key, simple_value=value) for key, value in one.metrics.items()]
    writer = EventFileWriter(str(folder), filename_suffix=".harness")
    writer.add_event(Event(wall_time=one.began_ms / 1000, step=step, summary=Summary(value=values)))
    writer.close()
    return str(folder)
