"""Full garbage collections leave the libraries out, once a server has asked for it."""

from __future__ import annotations

import gc
import subprocess
import sys
import types
import weakref

import pytest
import torch

from core.cpu import collector
from core.serving import runtime
from tests.conftest import PATIENCE


@pytest.fixture
def wanted(monkeypatch):
    """As after the start of the app; afterwards as before."""
    monkeypatch.setattr(collector, "_wanted", False)
    monkeypatch.setattr(collector, "_frozen", 0)
    collector.spare_libraries()
    gc.unfreeze()
    yield
    gc.unfreeze()


def is_scanned(thing):
    """Whether a full collection walks over it."""
    return any(one is thing for one in gc.get_objects())


def imported(monkeypatch, count):
    """As if so many modules came in."""
    for number in range(count):
        name = f"made_up_{number}"
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))


def test_a_script_s_objects_are_left_alone(monkeypatch):
    monkeypatch.setattr(collector, "_wanted", False)
    mine = [object()]
    assert not collector.freeze_libraries()
    assert is_scanned(mine)


def test_only_what_libraries_brought_in_is_frozen(wanted, monkeypatch):
    library, mine = torch.nn.Module, [object()]
    assert is_scanned(library)
    assert collector.freeze_libraries()
    assert not is_scanned(library)
    later = [object()]
    assert is_scanned(later) and not is_scanned(mine)
    imported(monkeypatch, collector.FEW - 1)
    assert not collector.freeze_libraries(), "a few modules are not worth a collection"
    monkeypatch.undo()
    monkeypatch.setattr(collector, "_wanted", True)
    imported(monkeypatch, 2 * collector.FEW)
    assert collector.freeze_libraries()


def test_frozen_objects_go_when_nobody_needs_them(wanted):
    class Model:
        pass

    model = Model()
    gone = weakref.ref(model)
    collector.freeze_libraries()
    del model
    assert gone() is None


def test_cycles_that_are_made_later_are_collected(wanted):
    class Session:
        pass

    collector.freeze_libraries()
    session = Session()
    session.itself = session
    gone = weakref.ref(session)
    del session
    gc.collect()
    assert gone() is None


def test_garbage_that_was_frozen_goes_in_an_idle_moment(wanted):
    class Session:
        pass

    session = Session()
    session.itself = session
    gone = weakref.ref(session)
    with collector.paused():
        del session
        assert collector.freeze_libraries(collect=False)
    gc.collect()
    assert gone() is not None, "this test needs garbage among what is frozen"
    collector.collect_frozen()
    assert gone() is None
    assert not is_scanned(torch.nn.Module)


def test_no_collection_interrupts_imports():
    assert gc.isenabled()
    with collector.paused():
        with collector.paused():
            assert not gc.isenabled()
        assert not gc.isenabled(), "the imports of another thread go on"
    assert gc.isenabled()
    with pytest.raises(ImportError), collector.paused():
        raise ImportError
    assert gc.isenabled()


def test_a_script_s_garbage_is_left_alone(monkeypatch):
    monkeypatch.setattr(collector, "_wanted", False)
    gc.unfreeze()
    collector.collect_frozen()
    assert gc.get_freeze_count() == 0


FRESH = """
import gc, weakref
gc.disable()
import numpy as np
from core import classify, detect, reconstruct, restore, segment
from core.cpu import collector
from core.serving import runtime
collector.spare_libraries()
grey = np.full((64, 64, 3), 127, np.uint8)
built, place = {}, runtime._place
def noted(build, resolved, where):
    made = place(build, resolved, where)
    built[resolved.checkpoint.key] = weakref.ref(made.module)
    return made
runtime._place = noted
classify.predict(grey)
segment.predict(grey, [[5, 5, 1]])
restore.denoise(grey)
detect.predict(grey)
reconstruct.predict(grey)
import torch
assert not any(one is torch.nn.Module for one in gc.get_objects())
runtime.models().drop_idle()
runtime.outputs().clear()
print(len(built), [key for key, module in built.items() if module() is not None])
"""


@pytest.mark.slow
def test_models_that_were_frozen_with_their_libraries_are_given_back():
    # A process of its own, in which the libraries come in between the models: five and the trunk.
    done = subprocess.run(
        [sys.executable, "-c", FRESH], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.stdout.split("\n")[-2:] == ["6 []", ""], done.stdout + done.stderr


def test_a_model_that_was_built_brings_its_libraries_in(wanted, shelf, picture):
    from core import classify
    from tests import nets

    model, config = nets.vit()
    shelf.starter("classify", model, config)
    assert is_scanned(torch.nn.Module)
    classify.predict(picture(40, 40))
    assert not is_scanned(torch.nn.Module)
    runtime.models().drop_idle()
