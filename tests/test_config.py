"""Settings: a call beats the environment variable, which beats the configuration file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import tinygrad_edu as edu
from tinygrad_edu import config, errors


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The configuration file of a user whose folder is empty yet."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    found = tmp_path / "tinygrad_edu" / "config.json"
    found.parent.mkdir()
    return found


def test_the_file_is_in_the_users_configuration_folder(
    file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert config.path() == file
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert config.path() == tmp_path / ".config" / "tinygrad_edu" / "config.json"


def test_the_file_chooses_the_device(file: Path) -> None:
    file.write_text('{"device": "xla"}')
    assert edu.ones(2).device == "xla"


def test_the_file_may_begin_with_the_mark_that_editors_on_windows_write(file: Path) -> None:
    file.write_text('{"device": "xla"}', encoding="utf-8-sig")
    assert edu.ones(2).device == "xla"


def test_the_environment_variable_beats_the_file(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text('{"device": "cupy"}')
    monkeypatch.setenv("TINYGRAD_EDU_DEVICE", "xla")
    assert edu.ones(2).device == "xla"


def test_a_call_beats_both(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text('{"device": "cupy"}')
    monkeypatch.setenv("TINYGRAD_EDU_DEVICE", "xla")
    edu.set_device("numpy")
    assert edu.ones(2).device == "numpy"
    with edu.device("xla"):
        assert edu.ones(2).device == "xla"
    assert edu.ones(2).device == "numpy"


def test_an_empty_variable_a_missing_file_and_an_empty_object_say_nothing(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINYGRAD_EDU_DEVICE", "")
    assert config.read("device") is None
    file.write_text("{}")
    assert config.read("device") is None
    assert edu.ones(2).device == "numpy"


def test_a_setting_comes_with_where_it_was_found(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text('{"device": "xla"}')
    assert config.read("device") == ("xla", str(file))
    monkeypatch.setenv("TINYGRAD_EDU_DEVICE", "numpy")
    assert config.read("device") == ("numpy", "environment variable TINYGRAD_EDU_DEVICE")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not JSON"),
        ('{"device": ', "not JSON.*line 1"),
        ("{'device': 'xla'}", "not JSON"),
        ('["xla"]', "not an object"),
        ('"xla"', "not an object"),
        ('{"devise": "xla"}', "devise"),
        ('{"device": 3}', "'device': 3"),
        ('{"device": null}', "'device': None"),
    ],
)
def test_a_broken_file_is_an_error_that_names_it_and_shows_a_good_one(
    file: Path, text: str, words: str
) -> None:
    file.write_text(text)
    with pytest.raises(errors.ConfigError, match=words) as caught:
        edu.ones(2)
    assert str(file) in str(caught.value)
    assert '{"device": "numpy"}' in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_a_file_that_cannot_be_read_is_an_error_that_names_it(file: Path) -> None:
    file.write_bytes(b'{"device": "\xff"}')
    with pytest.raises(errors.ConfigError, match="cannot be read") as caught:
        edu.ones(2)
    assert str(file) in str(caught.value)
    file.unlink()
    file.mkdir()
    with pytest.raises(errors.ConfigError, match="cannot be read"):
        edu.ones(2)


def test_a_wrong_name_says_where_it_stands_and_which_names_there_are(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text('{"device": "gpu"}')
    with pytest.raises(errors.DeviceError, match=r"'gpu'.*'numpy'.*'cupy'.*'xla'") as caught:
        edu.ones(2)
    assert str(file) in str(caught.value)
    monkeypatch.setenv("TINYGRAD_EDU_DEVICE", "gpu")
    with pytest.raises(errors.DeviceError, match=r"TINYGRAD_EDU_DEVICE.*'gpu'"):
        edu.ones(2)


def test_a_wrong_setting_does_not_stop_the_import_nor_those_who_choose_for_themselves() -> None:
    code = """
import tinygrad_edu as edu
edu.set_device("numpy")
print(edu.ones(2).device)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "TINYGRAD_EDU_DEVICE": "gpu"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "numpy\n"
