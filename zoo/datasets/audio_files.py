"""Sound from files, block by block, in one channel: WAV by Python's own reader, FLAC and Ogg by soundfile."""

from __future__ import annotations

import io
import wave
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import IO, Any

import numpy as np

from zoo import bounds
from zoo.datasets.resample import Resampler
from zoo.datasets.source import Member
from zoo.errors import DataError, MissingDependencyError

SUFFIXES = (".wav", ".flac", ".ogg")
LEAST_RATE, MOST_RATE = 1_000, 384_000  # samples a second

_MOST_CHANNELS = 64
_FRAMES_AT_ONCE = 2**18
_BYTES = 2  # of a sample as most files have it


def sound(member: Member, rate: int) -> Iterator[np.ndarray]:
    """A recording as blocks of float32 in [-1, 1] at `rate` samples a second: the mean of its channels.

    Raises DataError when the file is damaged, cut short, or no sound; MissingDependencyError without soundfile.
    """
    resampler = None
    for stored, block in _blocks(member):
        if not LEAST_RATE <= stored <= MOST_RATE:
            raise DataError(f"{member} has {stored:,} samples a second, not {LEAST_RATE:,} to {MOST_RATE:,}")
        if not np.isfinite(block).all():
            raise DataError(f"{member} has samples that are no finite numbers")
        resampler = resampler or Resampler(stored, rate)
        yield resampler.add(block.mean(axis=1)).clip(-1, 1)
    if resampler is None:
        raise DataError(f"{member} has no sound in it")
    yield resampler.finish().clip(-1, 1)


def _blocks(member: Member) -> Iterator[tuple[int, np.ndarray]]:
    """(samples a second, frames (n, channels) in [-1, 1]) from the first to the last."""
    with io.BytesIO(member.read()) if member.archived else member.open() as file:
        reader = _wave(file) if member.name.lower().endswith(".wav") else None
        if reader is not None:
            yield from _of_wave(member, reader)
            return
        file.seek(0)
        yield from _of_soundfile(member, file if member.archived else str(member.path))


def _wave(file: IO[bytes]) -> wave.Wave_read | None:
    """The file as Python reads it; None when it holds something else than whole numbers."""
    try:
        return wave.open(file, "rb")
    except (wave.Error, EOFError):
        return None


def _of_wave(member: Member, reader: wave.Wave_read) -> Iterator[tuple[int, np.ndarray]]:
    width, channels, promised, done = reader.getsampwidth(), reader.getnchannels(), reader.getnframes(), 0
    if width > 4:
        raise DataError(f"{member} has samples of {width} bytes, not 1 to 4")
    _require_few(member, channels)
    while done < promised:
        raw = reader.readframes(_FRAMES_AT_ONCE)
        frames = len(raw) // (width * channels)
        if not frames:
            raise _cut_short(member, done, promised)
        done += frames
        yield (
            reader.getframerate(),
            _numbers(raw[: frames * width * channels], width).reshape(frames, channels),
        )


def _numbers(raw: bytes, width: int) -> np.ndarray:
    """PCM samples of `width` bytes, little-endian, as float64 in [-1, 1); those of one byte have no sign."""
    if width == 1:
        return (np.frombuffer(raw, np.uint8) - 128.0) / 128
    whole = np.zeros((len(raw) // width, 4), np.uint8)
    whole[:, 4 - width :] = np.frombuffer(raw, np.uint8).reshape(-1, width)  # the upper bytes of 32 bits
    return whole.view("<i4")[:, 0] / 2.0**31


def _of_soundfile(member: Member, file: IO[bytes] | str) -> Iterator[tuple[int, np.ndarray]]:
    soundfile, size = _soundfile(member), _size(file)
    try:
        with closing(soundfile.SoundFile(file)) as reader:
            promised, done = reader.frames, 0
            _require_few(member, reader.channels)
            bounds.require_moderate(str(member), size, promised * reader.channels * _BYTES)
            while done < promised:
                block = reader.read(_FRAMES_AT_ONCE, dtype="float64", always_2d=True)
                if not len(block):
                    raise _cut_short(member, done, promised)
                done += len(block)
                yield reader.samplerate, block
    except soundfile.SoundFileError as error:
        raise DataError(f"{member} cannot be read as sound: {' '.join(str(error).split())[:150]}") from None


def _require_few(member: Member, channels: int) -> None:
    if channels > _MOST_CHANNELS:
        raise DataError(f"{member} has {channels:,} channels, and at most {_MOST_CHANNELS} are read")


def _size(file: IO[bytes] | str) -> int:
    """Of a file, or of a stream, which is at its beginning afterwards."""
    if isinstance(file, str):
        return Path(file).stat().st_size
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    return size


def _cut_short(member: Member, done: int, promised: int) -> DataError:
    return DataError(f"{member} is cut short: it has {done:,} of {promised:,} samples")


def _soundfile(member: Member) -> Any:
    try:
        import soundfile
    except (ImportError, OSError):  # OSError: its library, libsndfile, is absent
        raise MissingDependencyError(
            f"{member}: the package soundfile, which reads all but plain WAV, is not installed",
            hint="pip install 'zoo-core[audio]'",
        ) from None
    return soundfile
