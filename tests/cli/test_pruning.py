"""Shares and times of `edgeopt prune`, as people write them."""

from __future__ import annotations

import pytest

from edgeopt.cli.pruning import seconds_of, share_of
from edgeopt.errors import RecipeError


def test_shares_and_times_are_read_as_people_write_them() -> None:
    assert [share_of("--macs", text) for text in (None, "0.5x", "0.5", "50%")] == [None, 0.5, 0.5, 0.5]
    assert [seconds_of("--time", text) for text in (None, "20m", "90s", "1h", "90", "2min")] == [None, 1200, 90, 3600, 90, 120]
    with pytest.raises(RecipeError, match=r"--macs half: write a share such as 0.5x"):
        share_of("--macs", "half")
    for text in ("soon", "-3m"):
        with pytest.raises(RecipeError, match=f"--time {text}"):
            seconds_of("--time", text)


def test_two_of_four_weights_are_zero_after_the_recovery_and_the_compressed_file_is_smaller(
    model: Path, tmp_path: Path
) -> None:
    command = ["prune", str(model), "--train", str(tmp_path / "train.npz"), "--set", "sparsity=2:4", "--set", "train.epochs=1"]
    done = CliRunner().invoke(app, [*command, "-o", str(tmp_path / "sparse"), "-q"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "no time is gained" in done.output and "compressed: " in done.output
    layer = load_model(tmp_path / "sparse").module.get_submodule("bert.encoder.layer.1.output.dense")
    assert (layer.weight.reshape(-1, 4) == 0).sum(1).tolist() == [2] * (layer.weight.numel() // 4)
    done = CliRunner().invoke(app, [*command, "--set", "recovery=lora", "-o", str(tmp_path / "no"), "-q"])
    assert done.exit_code == 2 and "low-rank updates would fill the zeros" in done.output
