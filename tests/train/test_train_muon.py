"""Two optimisers as one: who trains what, and that threads and a stop change nothing."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoTokenizer

from rrmlib import tiny
from rrmlib.train.muon import muon
from rrmlib.train.pretrain import fresh
from rrmlib.train.recipe import parse


@pytest.fixture(scope="module")
def new(tmp_path_factory):
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(tiny.build(tmp_path_factory.mktemp("models") / "base", "test"))
    return lambda: fresh("xs", tokenizer, context=64, init_std=0.06, embed_std=0.25, seed=0)


def recipe(**more):
    stated = {"steps": 1, "batch": 1, "learning_rate": 1e-3, "weight_decay": 0.1, "muon": 2e-3}
    return parse({"recipe": "pretrain", "size": "xs", **stated, **more})


def gradients(model, step):
    draw = torch.Generator().manual_seed(step)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=draw)


def stepped(model, optimizer, steps):
    for step in steps:
        gradients(model, step)
        optimizer.step()
    return {name: value.clone() for name, value in model.state_dict().items()}


def test_every_parameter_has_one_optimizer_and_only_the_layers_matrices_have_muon(new):
    model = new()
    adam, *muons = muon(model, recipe(parts=2)).optimizers
    names = {id(p): name for name, p in model.named_parameters()}
    by = [[names[id(p)] for group in each.param_groups for p in group["params"]] for each in (adam, *muons)]
    assert sorted(by[0] + by[1] + by[2]) == sorted(names.values())
    assert sorted(by[1] + by[2]) == sorted(n for n in names.values() if n.endswith("_proj.weight"))
    assert len(by[1]) == len(by[2])
    decayed = {names[id(p)]: group["weight_decay"] for group in adam.param_groups for p in group["params"]}
    assert {name for name, decay in decayed.items() if decay} == {"model.embed_tokens.weight"}


def test_a_matrix_moves_along_all_its_directions_alike(new):
    """Muon's step is near orthogonal: its singular values are alike where those of the gradient are not."""
    model = new()
    name = "model.layers.0.self_attn.q_proj.weight"
    before = model.state_dict()[name].clone()
    after = stepped(model, muon(model, recipe(weight_decay=0)), [0])[name]
    moved = torch.linalg.svdvals(after - before) / (2e-3 * 0.2 * 64**0.5)  # rate, and the size of AdamW's step
    given = torch.linalg.svdvals(torch.randn(64, 64, generator=torch.Generator().manual_seed(1)))
    assert given.max() / given.median() > 2
    assert moved.median() == pytest.approx(1, abs=0.3)
    assert moved.max() < 1.5


def test_threads_do_not_change_the_bytes(new):
    one, two = (stepped(model, muon(model, recipe(parts=n)), range(3)) for n, model in ((1, new()), (2, new())))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_state_that_was_saved_goes_on_as_if_nothing_had_been(new):
    whole = new()
    expected = stepped(whole, muon(whole, recipe(parts=2)), range(4))
    first, second = new(), new()
    optimizer = muon(first, recipe(parts=2))
    second.load_state_dict(stepped(first, optimizer, range(2)))
    again = muon(second, recipe(parts=2))
    again.load_state_dict(optimizer.state_dict())
    inner = [group for each in again.optimizers for group in each.param_groups]
    assert all(a is b for a, b in zip(again.param_groups, inner, strict=True))  # what a schedule sets is what is used
    found = stepped(second, again, range(2, 4))
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    again.zero_grad()
    assert all(parameter.grad is None for parameter in second.parameters())
