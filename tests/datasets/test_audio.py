"""Recordings: what files say, another rate against sines known in advance, windows, and previews as WAV."""

from __future__ import annotations

import io
import struct
import sys
import wave
import zipfile

import numpy as np
import pytest
import soundfile
import torch

from toy_family import Constant, family
from zoo.datasets import audio, audio_files
from zoo.datasets.audio import AudioRules
from zoo.datasets.resample import Resampler
from zoo.datasets.source import Member, Source
from zoo.errors import DataError, MissingDependencyError

RATE = 8000


def rules(samples=10, held_out_share=0.0):
    return AudioRules(rate=RATE, seconds=samples / RATE, held_out_share=held_out_share)


def material(path, wanted, seed=0):
    return audio.read(Source(str(path), path=path), wanted, seed)


def heard(path, rate=RATE):
    return np.concatenate(list(audio_files.sound(Member(path.name, path), rate)))


def record(path, values, *, width=2, channels=1, rate=RATE):
    """A WAV file of whole numbers, as Python writes it."""
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, width, rate, 0, "NONE", "not compressed"))
        offset = 128 if width == 1 else 0
        raw = [int(value + offset).to_bytes(width, "little", signed=width > 1) for value in values]
        file.writeframes(b"".join(raw))
    return path


def ramp(path, count, start=0, **how):
    """A recording whose sample i is start + i."""
    return record(path, range(start, start + count), **how)


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_whole_numbers_of_every_width_are_read_as_parts_of_one(tmp_path, width):
    top = 2 ** (8 * width - 1)
    found = heard(record(tmp_path / "a.wav", [0, top // 2, -top, -1, top - 1], width=width))
    assert found.dtype == np.float32
    assert found.tolist() == pytest.approx([0, 0.5, -1, -1 / top, 1 - 1 / top], abs=1e-7)


def test_channels_are_averaged(tmp_path):
    assert heard(record(tmp_path / "a.wav", [100, 300, -8, 8], channels=2)).tolist() == [200 / 2**15, 0.0]


@pytest.mark.parametrize(
    ("name", "subtype", "error"),
    [
        ("a.flac", "PCM_16", 2**-15),
        ("a.flac", "PCM_24", 2**-23),
        ("a.wav", "FLOAT", 1e-7),
        ("a.ogg", "VORBIS", 0.05),
    ],
)
def test_other_formats_are_read_by_soundfile(tmp_path, name, subtype, error):
    written = 0.5 * np.sin(np.arange(4000) / 10)
    soundfile.write(tmp_path / name, written, RATE, subtype=subtype)
    assert np.abs(heard(tmp_path / name) - written).max() <= error
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.write(tmp_path / name, name)
    member = Member(name, tmp_path / "all.zip", archived=True)
    assert (np.concatenate(list(audio_files.sound(member, RATE))) == heard(tmp_path / name)).all()


def test_long_recordings_are_read_in_blocks(tmp_path, monkeypatch):
    whole = heard(ramp(tmp_path / "a.wav", 1000))
    soundfile.write(tmp_path / "a.flac", whole, RATE, subtype="PCM_16")
    monkeypatch.setattr(audio_files, "_FRAMES_AT_ONCE", 64)
    assert (heard(tmp_path / "a.wav") == whole).all()
    assert (heard(tmp_path / "a.flac") == whole).all()


@pytest.mark.parametrize(
    ("rate", "wanted"), [(44100, 16000), (8000, 44100), (48000, 44100), (16000, 8000), (11025, 11024)]
)
def test_at_another_rate_a_tone_is_the_same_tone(rate, wanted):
    times = np.arange(rate // 4) / rate
    band = 0.4 * min(rate, wanted)
    for pitch in (0.0, 440.0, band):
        resampler = Resampler(rate, wanted)
        found = np.concatenate([resampler.add(np.cos(2 * np.pi * pitch * times + 1)), resampler.finish()])
        assert len(found) == -(-len(times) * wanted // rate)
        witness = np.cos(2 * np.pi * pitch * np.arange(len(found)) / wanted + 1)
        inside = slice(len(found) // 10, -len(found) // 10)  # silence begins and ends within a filter's reach
        assert np.abs(found - witness)[inside].max() < 5e-5


@pytest.mark.parametrize(("rate", "wanted"), [(44100, 16000), (16000, 8000)])
def test_a_tone_that_the_lower_rate_cannot_hold_is_gone(rate, wanted):
    resampler = Resampler(rate, wanted)
    found = resampler.add(np.cos(2 * np.pi * 0.54 * wanted * np.arange(rate // 4) / rate))
    assert np.abs(found[len(found) // 10 :]).max() < 1e-4  # -80 dB; as an alias it would be at 0


@pytest.mark.parametrize(("rate", "wanted"), [(44100, 16000), (8000, 44100), (8000, 8000), (7, 5)])
@pytest.mark.parametrize("size", [1, 37, 3000])
def test_blocks_are_resampled_as_the_whole_is(rate, wanted, size):
    sound = np.random.default_rng(0).normal(size=3000)
    whole, parts = Resampler(rate, wanted), Resampler(rate, wanted)
    expected = np.concatenate([whole.add(sound), whole.finish()])
    found = [parts.add(sound[at : at + size]) for at in range(0, len(sound), size)]
    assert np.abs(np.concatenate([*found, parts.finish()]) - expected).max() < 1e-6


def test_windows_lie_side_by_side_and_a_long_rest_is_padded(tmp_path):
    found = material(ramp(tmp_path / "a.wav", 26), rules(10))
    assert found.summary == "3 windows of 10 samples at 8,000 Hz from 1 recording, 0 held out"
    windows = found._train.arrays[0] * 2**15
    assert windows.tolist() == [[*range(10)], [*range(10, 20)], [*range(20, 26), 0, 0, 0, 0]]


@pytest.mark.parametrize(("count", "windows"), [(1, 1), (9, 1), (10, 1), (14, 1), (15, 2), (24, 2)])
def test_a_short_rest_is_left_out_unless_it_is_all_there_is(tmp_path, count, windows):
    assert len(material(ramp(tmp_path / "a.wav", count), rules(10))._train) == windows


def test_windows_do_not_depend_on_blocks(tmp_path, monkeypatch):
    path = ramp(tmp_path / "a.wav", 155)
    whole = material(path, rules(10))._train.arrays[0]
    monkeypatch.setattr(audio_files, "_FRAMES_AT_ONCE", 7)
    assert (material(path, rules(10))._train.arrays[0] == whole).all()


def test_a_folder_is_read_in_order_of_name(tmp_path):
    for name, start in (("b.wav", 20), ("a/z.wav", 10), ("c.WAV", 30)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        ramp(tmp_path / name, 10, start)
    (tmp_path / "notes.txt").write_text("no sound")
    assert (material(tmp_path, rules(10))._train.arrays[0][:, 0] * 2**15).tolist() == [10, 20, 30]


def test_rows_are_windows_and_speed_is_counted_in_samples(tmp_path):
    rows = material(ramp(tmp_path / "a.wav", 100), rules(10)).rows(Constant(torch.zeros(1)), 0)
    batch = rows.rows(0, 10)
    assert (batch.shape, batch.dtype) == ((10, 10), torch.float32)
    assert (rows.unit, rows.units, rows.epoch) == ("samples", 10, 10)
    assert sorted((batch[:, 0] * 2**15).tolist()) == [*range(0, 100, 10)]


def test_no_recording_is_trained_on_and_held_out(tmp_path):
    for number in range(10):
        record(tmp_path / f"{number}.wav", [100 * number + 1] * 50)
    found = material(tmp_path, rules(10, held_out_share=0.3), seed=5)
    trained, held_out = (
        {float(value) for value in part.batch(np.arange(len(part))).flatten()}
        for part in (found._train, found._held_out)
    )
    assert (len(trained), len(held_out)) == (7, 3)
    assert not trained & held_out
    witness = np.mean(list(held_out))
    assert found.evaluate(Constant(torch.zeros(1))) == {"held_out_loss": pytest.approx(witness)}


def test_of_a_single_recording_windows_are_held_out(tmp_path):
    found = material(ramp(tmp_path / "a.wav", 100), rules(10, held_out_share=0.3))
    assert (len(found._train), len(found._held_out)) == (7, 3)


def changed(path, at, content):
    raw = bytearray(path.read_bytes())
    raw[at : at + len(content)] = content
    path.write_bytes(raw)
    return path


def test_a_recording_cut_short_is_refused(tmp_path):
    whole = ramp(tmp_path / "a.wav", 1000)
    whole.write_bytes(whole.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"a\.wav is cut short: it has 950 of 1,000 samples"):
        heard(whole)
    soundfile.write(tmp_path / "b.flac", np.random.default_rng(0).normal(size=20000) / 10, RATE)
    (tmp_path / "b.flac").write_bytes((tmp_path / "b.flac").read_bytes()[:-5000])
    with pytest.raises(DataError, match=r"b\.flac (is cut short|cannot be read as sound)"):
        heard(tmp_path / "b.flac")


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg"])
@pytest.mark.parametrize("content", [b"", b"no sound at all", b"RIFF\x10\0\0\0WAVEfmt ", b"fLaC" + bytes(60)])
def test_a_file_that_is_no_sound_is_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"{name} cannot be read as sound"):
        heard(tmp_path / name)


def test_sound_that_cannot_be_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"a\.wav has no sound in it"):
        heard(record(tmp_path / "a.wav", []))
    with pytest.raises(DataError, match=r"a\.wav has 999,999 samples a second, not 1,000 to 384,000"):
        heard(record(tmp_path / "a.wav", [1], rate=999_999))
    soundfile.write(tmp_path / "b.wav", np.array([0.0, np.nan]), RATE, subtype="FLOAT")
    with pytest.raises(DataError, match=r"b\.wav has samples that are no finite numbers"):
        heard(tmp_path / "b.wav")
    wide = changed(record(tmp_path / "c.wav", [1, 2, 3, 4], width=4), 32, struct.pack("<HH", 8, 64))
    with pytest.raises(DataError, match=r"c\.wav has samples of 8 bytes, not 1 to 4"):
        heard(wide)


def test_without_soundfile_plain_wav_is_read_and_others_say_what_to_install(tmp_path, monkeypatch):
    soundfile.write(tmp_path / "a.flac", np.zeros(10), RATE)
    monkeypatch.setitem(sys.modules, "soundfile", None)
    assert heard(record(tmp_path / "a.wav", [0, 1])).tolist() == [0, 2**-15]
    with pytest.raises(MissingDependencyError) as refused:
        heard(tmp_path / "a.flac")
    assert refused.value.hint == "pip install 'zoo-core[audio]'"


def test_the_config_gets_the_fields_it_has(tmp_path):
    found = material(ramp(tmp_path / "a.wav", 30), rules(10))
    found.learn(tmp_path)
    assert found.bind(family("audio"), {}) == {"samples": 10}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.wav"]


@pytest.mark.parametrize("shape", [(4,), (1, 4)])
def test_a_preview_is_one_wav_with_a_pause_after_each_sample(tmp_path, shape):
    found = material(ramp(tmp_path / "a.wav", 30), rules(10))
    found.bind(family("audio"), {})
    drawn = torch.tensor([0.5, -1.0, 3.0, float("nan")]).reshape(shape)
    [path] = found.preview(Constant(drawn), 2, seed=0, stem=tmp_path / "step-1")
    assert path == tmp_path / "step-1.wav"
    with wave.open(io.BytesIO(path.read_bytes())) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, RATE)
        values = np.frombuffer(file.readframes(10**6), "<i2")
    once = [16384, -32767, 32767, 0, *[0] * (RATE // 4)]
    assert values.tolist() == once * 2
