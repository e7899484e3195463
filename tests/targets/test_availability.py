"""What is here and why the rest is not."""

from __future__ import annotations

import platform

import onnxruntime
import pytest

from edgeopt.targets.availability import available
from edgeopt.targets.target import Target, load_target, target_names


def _with(target: Target, **device: object) -> Target:
    return target.model_copy(update={"device": target.device.model_copy(update=device)})


def test_another_machine_is_a_clear_reason() -> None:
    found = available(_with(load_target("arm64"), machine=["abacus"]))
    [reason] = found.reasons
    assert not found.ok and reason.startswith(f"runs on abacus, this machine is {platform.machine()}; reach a device over ssh")


def test_a_missing_processor_feature_is_named() -> None:
    found = available(_with(load_target("x86-vnni"), machine=[], cpu_flags=["quantum"]))
    assert found.reasons == ["needs a processor with quantum, which this one does not have"]


def test_a_missing_provider_is_named_with_those_there_are() -> None:
    target = _with(load_target("x86-vnni"), machine=[], cpu_flags=[])
    target = target.model_copy(update={"provider": target.provider.model_copy(update={"name": "AbacusProvider"})})
    [reason] = available(target).reasons
    assert "AbacusProvider is not in onnxruntime" in reason and "CPUExecutionProvider" in reason


def test_without_conditions_it_is_available() -> None:
    assert available(_with(load_target("x86-vnni"), machine=[], cpu_flags=[])).ok


def test_every_shipped_target_can_be_judged() -> None:
    for name in target_names():
        found = available(load_target(name))
        assert found.ok == (not found.reasons)


@pytest.mark.parametrize("name", ["cuda", "tensorrt"])
def test_a_gpu_target_is_here_once_its_provider_is(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    target = load_target(name)
    lacking = available(target)
    assert not lacking.ok and f"{target.provider.name} is not in onnxruntime" in lacking.reasons[0]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [target.provider.name, "CPUExecutionProvider"])
    found = available(target)
    assert found.ok and "untested: its rules are from the provider's documentation" in found.notes
