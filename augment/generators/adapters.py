"""What of a frozen diffusion network is trained: low-rank adapters, and what it knows of classes.

LoRA (Hu et al. 2022) adds B A to the weights W of a layer, of rank r; B starts at 0, so that the
network starts as it was.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from augment.errors import UsageError
from augment.training.learner import seeded_init

# diffusers' names of the layers of attention and, as small networks have little, residual blocks
ADAPTED = ("to_q", "to_k", "to_v", "to_out.0", "conv1", "conv2")


def add_adapters(network: nn.Module, layers: tuple[str, ...], rank: int, seed: int) -> None:
    """Freeze a network but for adapters that are added to its layers of these names, seeded.

    UsageError if it has no such layer.
    """
    from peft import LoraConfig, inject_adapter_in_model  # pyright: ignore[reportMissingImports]

    config = LoraConfig(r=rank, lora_alpha=rank, target_modules=list(layers))
    try:
        seeded_init(lambda: inject_adapter_in_model(config, network), seed)
    except ValueError:  # peft: none of the modules is found
        raise UsageError(
            f"finetune.layers = {list(layers)}: the network has no layer of such a name"
        ) from None


def trainable(network: nn.Module) -> nn.ParameterDict:
    """Collect the trainable parameters of a network, the same tensors, by name."""
    # a name of a ParameterDict has no dot
    named = {n.replace(".", "/"): p for n, p in network.named_parameters() if p.requires_grad}
    return nn.ParameterDict(named)


def teach_classes(network: nn.Module, numbers: list[int | None]) -> None:
    """Give a network of label numbers, or of none, trainable embeddings of K classes and of none.

    A class starts as the label `numbers` [K] of the pipeline, or as the mean of its labels where it
    is None; the last one, no class, as the pipeline's own or that mean; a network without labels
    starts as if it were told nothing.
    """
    of_blocks: list[Any] = [m for m in network.modules() if hasattr(m, "embedding_table")]  # DiT
    for block in of_blocks:
        known, last = block.embedding_table.weight.tensor_split([block.num_classes])
        block.embedding_table = _embedding(known, numbers, last)
    if of_blocks:
        return
    unet: Any = network  # UNet2DModel adds the embedding to that of the time
    if isinstance(unet.class_embedding, nn.Embedding):
        known = unet.class_embedding.weight
    else:
        known = torch.zeros(1, unet.time_embedding.linear_2.out_features)
        numbers = [None] * len(numbers)
        unet.register_to_config(class_embed_type=None)
    unet.class_embedding = _embedding(known, numbers, known[:0])


def _embedding(known: Tensor, numbers: list[int | None], last: Tensor) -> nn.Embedding:
    """Make the embedding [K + 1, D] of `teach_classes` of the pipeline's [L, D] and [0 or 1, D]."""
    mean = known.mean(0)
    rows = [mean if k is None else known[k] for k in numbers]
    weight = torch.stack([*rows, *(last if len(last) else [mean])]).detach().clone()
    return nn.Embedding.from_pretrained(weight, freeze=False)
