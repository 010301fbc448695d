"""A whole run makes no network connection once its data are cached."""

import socket

import numpy as np
import pytest

import augment


@pytest.fixture
def cut_off(monkeypatch):
    """No address can be looked up, connected or sent to."""
    tried = []

    def refuse(*words, **_):
        tried.append(words)
        raise OSError("the network is cut off")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    return tried


def test_run_on_cached_data_connects_to_nothing(small_run, tmp_path, cut_off):
    rng = np.random.default_rng(0)
    arrays = {
        f"{part}_{what}": values
        for part in ("train", "test")
        for what, values in (
            ("images", rng.integers(0, 256, (40, 8, 8), np.uint8)),
            ("labels", np.arange(40) % 10),
        )
    }
    np.savez(tmp_path / "mnist.npz", classes=np.array([str(k) for k in range(10)]), **arrays)
    run = {
        **small_run,
        "dataset": "mnist",
        "seeds": 1,
        "generator": "ddpm,cvae",
        "arm": "real,real+classic+synth",
    }
    result = augment.run(**run, data_dir=tmp_path)
    assert result.failed == 0
    assert (result.path / "report.html").is_file()
    assert cut_off == []


def test_the_cut_holds(small_run, cut_off):
    with pytest.raises(augment.errors.MachineError, match="could not be downloaded"):
        augment.run(**{**small_run, "dataset": "mnist"})
    assert cut_off
