"""Loading trained parameters from files that others published, without running their code.

Read are

- a state dict (name -> tensor) in ``.safetensors``, ``.pt`` or ``.pth``, bare or under
  ``state_dict``, ``model``, ``net``, ``network`` or ``model_state_dict``, with or without the
  prefix ``module.`` that ``DataParallel`` adds;
- MTT's trajectories (GeorgeCazenavette/mtt-distillation ``buffer.py``): lists of experts, of
  epochs, of tensors without names in the order of ``model.parameters()``.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from ddranking.errors import BadFile

State = dict[str, torch.Tensor]

WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network")
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""Types of the numbers that a network's own are filled with."""
COUNTS = (*FLOATS, torch.int32, torch.int64)
"""The same of the whole numbers in which batch norm counts its batches."""
PREFIXES = ("module.", "_orig_mod.")
"""What DataParallel and torch.compile put before every name."""


def _read_pickle(path: Path) -> Any:
    # weights_only refuses every pickle that would call anything but tensor constructors. It warns
    # of old pickle protocols before it reads them; what does not load is an error all the same.
    with warnings.catch_warnings(action="ignore"):
        return torch.load(path, map_location="cpu", weights_only=True)


READERS: dict[str, Callable[[Path], Any]] = {
    ".safetensors": load_file,
    ".pt": _read_pickle,
    ".pth": _read_pickle,
}


def load_state(
    model: torch.nn.Module, path: str | Path, *, expert: int = 0, epoch: int = -1
) -> None:
    """Fills ``model`` from a checkpoint; on any error the model is left as it was.

    Args:
        model: the network that the checkpoint was trained with; keeps its device and dtype.
        path: ``.safetensors``, ``.pt`` or ``.pth``.
        expert, epoch: which entry of MTT's trajectories; the first expert's last epoch unless
            said otherwise. Not looked at for state dicts.

    Raises:
        BadFile: missing, truncated or malformed file, one that would have to run code to load, or
            tensors whose names, shapes or values do not fit the model. Names the tensors.
    """
    path = Path(path)
    content = _read(path)
    if isinstance(content, Mapping):
        state = _unwrap(path, content)
    elif isinstance(content, list | tuple):
        state = _named(path, model, _pick(path, content, (expert, epoch)))
    else:
        raise BadFile(str(path), expected="a state dict", got=type(content).__name__)
    _check_fits(path, model, state)
    own = model.state_dict()
    model.load_state_dict({name: state.get(name, own[name]) for name in own})


def _read(path: Path) -> Any:
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise BadFile(
            str(path), expected=" or ".join(READERS), got=path.suffix or "a name without a suffix"
        )
    if not path.is_file():
        raise BadFile(str(path), expected="a checkpoint", got="no such file")
    try:
        return reader(path)
    except pickle.UnpicklingError as error:
        raise BadFile(
            str(path),
            expected="tensors and plain containers only",
            got="a pickle that is damaged or would run code",
            hint="Save model.state_dict() as .safetensors",
        ) from error
    except Exception as error:  # damaged files fail anywhere inside the readers
        raise BadFile(
            str(path),
            expected="a readable checkpoint",
            got=f"{type(error).__name__}: {error}"[:200],
            hint="Fetch or save it again",
        ) from error


def _unwrap(path: Path, content: Mapping[Any, Any]) -> State:
    for key in WRAPPERS:
        if isinstance(content.get(key), Mapping):
            content = content[key]
            break
    strange = [name for name, value in content.items() if not isinstance(value, torch.Tensor)]
    if strange or not content:
        raise BadFile(
            str(path),
            expected=f"tensors by name, bare or under {', '.join(WRAPPERS)}",
            got=f"{_some(strange)} that hold no tensor" if strange else "an empty dictionary",
        )
    state = {str(name): value for name, value in content.items()}
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def _pick(path: Path, content: Any, indices: tuple[int, int]) -> list[torch.Tensor]:
    """Goes down into experts and epochs, as deep as the lists are nested, to a list of tensors."""
    depth, level = 0, content
    while isinstance(level, list | tuple) and level and not isinstance(level[0], torch.Tensor):
        depth, level = depth + 1, level[0]
    if depth > len(indices):
        raise BadFile(str(path), expected="experts of epochs of tensors", got="deeper lists")
    kinds = list(zip(("expert", "epoch"), indices, strict=True))
    for kind, index in kinds[len(indices) - depth :]:
        count = len(content) if isinstance(content, list | tuple) else 0
        if not -count <= index < count:
            raise BadFile(str(path), expected=f"{kind} below {count}", got=f"{kind} {index}")
        content = content[index]
    tensors = list(content) if isinstance(content, list | tuple) else []
    if not tensors or not all(isinstance(each, torch.Tensor) for each in tensors):
        raise BadFile(str(path), expected="a list of tensors per epoch", got="something else")
    return tensors


def _named(path: Path, model: torch.nn.Module, tensors: list[torch.Tensor]) -> State:
    names = [name for name, _ in model.named_parameters()]
    if len(names) != len(tensors):
        raise BadFile(
            str(path), expected=f"{len(names)} tensors for this model", got=f"{len(tensors)}"
        )
    return dict(zip(names, tensors, strict=True))


def _check_fits(path: Path, model: torch.nn.Module, state: State) -> None:
    own = model.state_dict()
    # Counters of batch norm that no evaluation reads; files from before PyTorch 0.4.1 lack them.
    needed = [name for name in own if not name.endswith("num_batches_tracked")]
    missing = [name for name in needed if name not in state]
    unexpected = [name for name in state if name not in own]
    if missing or unexpected:
        found = [
            f"missing {_some(missing)}" if missing else "",
            f"unexpected {_some(unexpected)}" if unexpected else "",
        ]
        raise BadFile(
            str(path),
            expected=f"the {len(own)} tensors of this model",
            got="; ".join(part for part in found if part),
            hint="Choose the model (depth, width, norm) that the checkpoint was trained with",
        )
    for name, value in state.items():
        kind = _kind(value, own[name])
        if kind:
            raise BadFile(
                str(path),
                expected=f"plain real numbers in {name}",
                got=kind,
                hint="Save model.state_dict() of a network in float32, on the CPU",
            )
        if value.shape != own[name].shape:
            raise BadFile(
                str(path),
                expected=f"{name} of shape {tuple(own[name].shape)}",
                got=f"{tuple(value.shape)}",
                hint="Check image size, number of classes, depth and width",
            )
        if value.is_floating_point() and not torch.isfinite(value.to(own[name].dtype)).all():
            raise BadFile(str(path), expected=f"finite numbers in {name}", got="NaN or infinity")


def _kind(value: torch.Tensor, own: torch.Tensor) -> str:
    """What a tensor is that cannot fill a network's own; nothing for one that can."""
    wrong = {
        "a tensor without values (of the device meta)": value.is_meta,
        "a sparse tensor": value.layout is not torch.strided,
        str(value.dtype): value.dtype not in (FLOATS if own.is_floating_point() else COUNTS),
    }
    return next((kind for kind, holds in wrong.items() if holds), "")


def _some(names: list[Any]) -> str:
    shown = ", ".join(str(name) for name in names[:4])
    return shown + (f" and {len(names) - 4} more" if len(names) > 4 else "")
