"""The states of a run on disk: PREFIX-resume-IIIIIIII.json after IIIIIIII iterations, with its arrays beside it."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import re
import secrets
import shutil
import zlib
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Optional

import numpy as np

from gluon_resnet.errors import DataError, ModelError
from gluon_resnet.files import beside, regular_only, temporary_name
from gluon_resnet.json_values import MISTAKES, explained, is_integer, read_json, require
from gluon_resnet.models.parameters import read_arrays, write_arrays
from gluon_resnet.models.saved import newest_epoch
from gluon_resnet.provenance import settings_of_today
from gluon_resnet.training.checkpoints.run_data import RunData
from gluon_resnet.training.position import Position

_FORMAT = "gluon-resnet resume 3"


@dataclass(frozen=True)
class State:
    """The content of a file PREFIX-resume-IIIIIIII.json."""

    path: str
    settings: dict[str, Any]
    position: Position
    arrays_path: str
    crc32: int  # of the file of arrays
    data: Optional[RunData] = None  # older versions' states have none


class States:
    """Writes and reads the states of the run whose files begin with `prefix`; PREFIX-resume.json is a link to the last.

    A state is complete if its JSON file exists, since that appears last and is removed first.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self.link_path = f"{prefix}-resume.json"

    def write(
        self,
        settings: Mapping[str, Any],
        position: Position,
        arrays: Optional[Mapping[str, np.ndarray]] = None,
        data: Optional[RunData] = None,
    ) -> None:
        """Write a state, which becomes the last one; without `arrays` it replaces that of the same iteration.

        OSError if it cannot be written, in which case existing states are kept.
        """
        path, arrays_path = self._paths(position.iteration)
        with contextlib.ExitStack() as files:
            temporary = files.enter_context(temporary_name(path))  # renamed after the arrays
            if arrays is None:
                crc32 = self._read(path).crc32
            else:
                new_arrays = files.enter_context(temporary_name(arrays_path))
                write_arrays(new_arrays, arrays)
                crc32 = _crc32(new_arrays)
            _write(temporary, State(path, dict(settings), position, arrays_path, crc32, data))
            if arrays is not None:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)  # a state of the same iteration, with other arrays
        link(path, self.link_path)

    def adopt(self, state: State) -> None:
        """Make `state`, from another prefix in the same folder, the last one here, too, without copying its arrays."""
        path, arrays_path = self._paths(state.position.iteration)
        folder, name = os.path.split(arrays_path)
        temporary = os.path.join(folder, f".{name}.{secrets.token_hex(4)}.tmp")
        try:
            os.link(state.arrays_path, temporary)  # never replaces an existing file
        except OSError:  # a file system without links
            with temporary_name(arrays_path) as copy:
                shutil.copyfile(state.arrays_path, copy)
        else:
            os.replace(temporary, arrays_path)
        with temporary_name(path) as new:
            _write(new, replace(state, path=path, arrays_path=arrays_path))
        link(path, self.link_path)

    @property
    def linked(self) -> bool:
        """Whether PREFIX-resume.json exists, whatever it is."""
        return os.path.lexists(self.link_path)

    def iterations(self) -> list[int]:
        """The iterations of the states up to the last one, in ascending order."""
        last = self._last_iteration()
        return [number for number in self._numbers("json") if last is None or number <= last]

    def keep_only(self, iterations: Collection[int]) -> None:
        """Remove all other states, and whatever killed runs have left of theirs."""
        folder, name = os.path.split(glob.escape(self._prefix))
        for pattern in (
            f".{name}-resume-*.tmp",
            f"..{name}-resume-*.tmp",  # from write_arrays, which makes a temporary name for a temporary name
            f".{name}-[0-9]*.params.*.tmp",
            *(f"{name}-{linked}.*.tmp" for linked in ("resume.json", "best.params", "last.params")),
        ):
            for path in glob.glob(os.path.join(folder, pattern)):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
        for suffix in ("json", "params"):  # in this order
            for number in set(self._numbers(suffix)).difference(iterations):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self._paths(number)[suffix == "params"])

    def last(self) -> Optional[State]:
        """The state to resume from; None if there is none. ModelError if its JSON file is damaged."""
        path = self._last_path()
        return self._read(path) if path else None

    def arrays(self, state: State) -> dict[str, np.ndarray]:
        """The arrays of `state`; ModelError if they are missing or damaged."""
        reason = _damage(state)
        if reason:
            raise self._damaged(state.path, state.arrays_path, reason)
        return read_arrays(state.arrays_path)

    def _paths(self, iteration: int) -> tuple[str, str]:
        stem = f"{self._prefix}-resume-{iteration:08d}"
        return f"{stem}.json", f"{stem}.params"

    def _numbers(self, suffix: str) -> list[int]:
        """The numbers of all PREFIX-resume-IIIIIIII.`suffix`, in ascending order."""
        files = glob.glob(f"{glob.escape(self._prefix)}-resume-*.{suffix}")
        beginning = len(self._prefix) + len("-resume-")
        matches = (re.fullmatch(r"(\d{8,})\.\w+", path[beginning:]) for path in files)
        return sorted(int(match[1]) for match in matches if match)

    def _last_iteration(self) -> Optional[int]:
        """The number in the name that PREFIX-resume.json links to, or in a copy in its place; None without either."""
        if os.path.islink(self.link_path):
            match = re.search(r"-resume-(\d{8,})\.json$", os.readlink(self.link_path))
            return int(match[1]) if match else None
        with contextlib.suppress(OSError, ValueError, DataError):
            return _parsed(self.link_path).position.iteration
        return None

    def _last_path(self) -> Optional[str]:
        last, numbers = self._last_iteration(), self._numbers("json")
        copied = last in numbers and not os.path.islink(self.link_path)
        if os.path.exists(self.link_path) and not copied:
            return os.path.realpath(self.link_path)
        # Somebody has removed the last one, or copied the files without links.
        rest = [number for number in numbers if last is None or number <= last]
        return self._paths(rest[-1])[0] if rest else None

    def _read(self, path: str) -> State:
        try:
            return _parsed(path)
        except ValueError as error:
            raise self._damaged(path, path, str(error)) from None

    def _damaged(self, state_path: str, path: str, reason: str) -> ModelError:
        return ModelError(f"{path} cannot be resumed from: {reason}; {self._way_on(state_path)}", path)

    def _way_on(self, damaged: str) -> str:
        """What the user can do if the state in the JSON file `damaged` is useless."""
        for number in reversed(self.iterations()):
            path = self._paths(number)[0]
            if os.path.realpath(path) != damaged and _is_whole(path):
                return f"remove {damaged}, and --resume continues from the state before it, of iteration {number}"
        newest = newest_epoch(self._prefix)
        way_on = f"continue with --load-epoch {newest}" if newest is not None else "start again"
        return f"remove {self.link_path} and {way_on}, without --resume"


def link(target: str, path: str) -> None:
    """Make `path` a relative symbolic link to `target` in the same folder, or a copy if links are not supported."""
    temporary = f"{path}.{secrets.token_hex(4)}.tmp"
    try:
        os.symlink(os.path.basename(target), temporary)
    except OSError:
        with temporary_name(path) as copy:
            shutil.copyfile(target, copy)
    else:
        os.replace(temporary, path)


def _write(path: str, state: State) -> None:
    """Write `state` to `path` in the form that `_parsed` reads."""
    content = {
        "format": _FORMAT,
        "settings": state.settings,
        "position": asdict(state.position),
        "arrays": {"name": os.path.basename(state.arrays_path), "crc32": state.crc32},
        "data": state.data and state.data.content(),
    }
    with open(path, "w", encoding="utf-8") as stream:
        json.dump(content, stream, indent=1)


def _parsed(path: str) -> State:
    """The state in a JSON file; ValueError if it does not hold one."""
    try:
        content = read_json(path, finite=False, format=_FORMAT)  # the loss of an epoch may be NaN
        settings, arrays = content["settings"], content["arrays"]
        require(isinstance(settings, dict), "settings", "an object", settings)
        require(isinstance(arrays, dict), "arrays", "an object", arrays)
        require(is_integer(arrays["crc32"], 0, (1 << 32) - 1), "crc32", "a checksum", arrays["crc32"])
        return State(
            path,
            settings_of_today(settings),
            Position.from_dict(content["position"]),
            beside(path, arrays["name"]),
            arrays["crc32"],
            None if content.get("data") is None else RunData.of(content["data"]),
        )
    except MISTAKES as mistake:
        raise ValueError(explained(mistake)) from None


def _is_whole(path: str) -> bool:
    try:
        return _damage(_parsed(path)) is None
    except (ValueError, OSError, DataError):
        return False


def _damage(state: State) -> Optional[str]:
    """What is wrong with the arrays of `state`, or None."""
    try:
        found = _crc32(state.arrays_path)
    except FileNotFoundError:
        return "it is missing"
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
    except DataError as error:
        return str(error).removeprefix(f"{state.arrays_path}: ")
    return None if found == state.crc32 else f"its checksum is {found:08x}, expected {state.crc32:08x}"


def _crc32(path: str) -> int:
    with open(path, "rb", opener=regular_only) as stream:
        crc = 0
        while block := stream.read(1 << 22):
            crc = zlib.crc32(block, crc)
    return crc
