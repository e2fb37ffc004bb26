"""How a network computes in a training on a processor: ultralytics' own model and loss, as its trainer calls them."""

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from ultralytics.cfg import get_cfg
from ultralytics.nn.tasks import DetectionModel

from jobs.train.yolo import machine
from jobs.train.yolo.machine import use_bfloat16

PROCESSOR = Path("/proc/cpuinfo")
BATCH = {
    "img": torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)),
    "batch_idx": torch.tensor([0.0, 1.0]),
    "cls": torch.zeros(2, 1),
    "bboxes": torch.tensor([[0.5, 0.5, 0.4, 0.4], [0.4, 0.6, 0.3, 0.5]]),
}


def in_training(device: str = "cpu") -> Any:
    """A trainer of ultralytics that begins."""
    torch.manual_seed(0)
    network: Any = DetectionModel("yolov8n.yaml", nc=1, verbose=False).train()
    network.args = get_cfg()
    ema = SimpleNamespace(ema=copy.deepcopy(network))
    return SimpleNamespace(device=SimpleNamespace(type=device), model=network, ema=ema)


def learnt(trainer: Any) -> dict[str, set[torch.dtype]]:
    """One step: the types of what its first layer computes, of what the loss is made of, of the gradients."""
    inside: set[torch.dtype] = set()
    asked: set[torch.dtype] = set()
    network = trainer.model
    network.model[0].conv.register_forward_hook(lambda _layer, _inputs, output: inside.add(output.dtype))
    network.criterion = network.init_criterion()
    measure = network.criterion.loss  # of what the network answers

    def note(predicted: Any, batch: Any) -> Any:
        asked.update(one.dtype for one in torch.utils._pytree.tree_leaves(predicted))
        assert not torch.is_autocast_enabled("cpu")
        return measure(predicted, batch)

    network.criterion.loss = note
    loss, _ = network(dict(BATCH))
    loss.sum().backward()
    gradients = {one.grad.dtype for one in network.parameters() if one.grad is not None}
    assert gradients
    return {"inside": inside, "loss": asked, "gradients": gradients}


def test_only_the_network_computes_in_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_has_bfloat16", lambda: True)
    trainer = in_training()
    exact = trainer.model.predict(BATCH["img"])["scores"]
    use_bfloat16(trainer)
    near = trainer.model.predict(BATCH["img"])["scores"]
    assert 0 < (near - exact).abs().mean() < 0.1
    assert learnt(trainer) == {"inside": {torch.bfloat16}, "loss": {torch.float32}, "gradients": {torch.float32}}
    assert {one.dtype for one in trainer.model.parameters()} == {torch.float32}
    evaluated = trainer.ema.ema.eval()(BATCH["img"])[0]
    assert evaluated.dtype == torch.float32, "epochs are measured as always"
    torch.nn.utils.clip_grad_norm_(trainer.model.parameters(), 10.0)
    torch.optim.AdamW(trainer.model.parameters()).step()
    copy.deepcopy(trainer.ema.ema)


@pytest.mark.parametrize(("device", "has"), [("cpu", False), ("mps", True), ("cuda", True)])
def test_elsewhere_nothing_changes(device: str, has: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_has_bfloat16", lambda: has)
    trainer = in_training(device)
    use_bfloat16(trainer)
    assert learnt(trainer) == {key: {torch.float32} for key in ("inside", "loss", "gradients")}
    assert trainer.model.model[0].conv.weight.is_contiguous()


@pytest.mark.skipif(not PROCESSOR.exists(), reason="no /proc/cpuinfo on this system")
def test_the_processor_is_asked() -> None:
    flags = PROCESSOR.read_text(encoding="utf-8").split()
    assert machine._has_bfloat16() == any(flag in flags for flag in ("avx512_bf16", "amx_bf16"))


def test_a_torch_that_does_not_tell_learns_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert not machine._has_bfloat16()
