"""What TensorBoard shows of a folder of event files."""

from __future__ import annotations

import pathlib
import struct

from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.record_writer import masked_crc32c


def shown(folder: pathlib.Path) -> dict[str, list[tuple[int, float]]]:
    """(step, value) of each tag of scalars, in the order of the files, without what a later session purges.

    As TensorBoard's EventAccumulator: a START of a session hides older points from its step on.
    """
    points: dict[str, list[tuple[int, float]]] = {}
    for event in _events(folder):
        if event.session_log.status == SessionLog.START:
            points = {tag: [p for p in old if p[0] < event.step] for tag, old in points.items()}
        for value in event.summary.value:
            if value.HasField("simple_value"):
                points.setdefault(value.tag, []).append((event.step, value.simple_value))
    return {tag: values for tag, values in points.items() if values}


def texts(folder: pathlib.Path) -> dict[str, list[str]]:
    """The texts of each tag."""
    found: dict[str, list[str]] = {}
    for event in _events(folder):
        for value in event.summary.value:
            if value.tag.endswith("/text_summary"):
                found.setdefault(value.tag, []).append(value.tensor.string_val[0].decode())
    return found


def _events(folder: pathlib.Path) -> list[Event]:
    events = []
    for path in sorted(folder.iterdir()):
        assert "tfevents" in path.name
        content, begin = path.read_bytes(), 0
        while begin + 12 <= len(content):
            header, (size, crc) = content[begin : begin + 8], struct.unpack_from("<QI", content, begin)
            assert crc == masked_crc32c(header)
            data = content[begin + 12 : begin + 12 + size]
            if len(content) < begin + 16 + size:
                break  # not written to the end
            assert struct.unpack_from("<I", content, begin + 12 + size) == (masked_crc32c(data),)
            events.append(Event.FromString(data))
            begin += 16 + size
        assert begin == 0 or len(events)
    return events
