"""Batch normalisation that is training: what depends on how a batch is shared, and on what was run through it."""

from __future__ import annotations

import logging

from torch import nn

_LOG = logging.getLogger(__name__)


def training_norms(network: nn.Module) -> list[nn.Module]:
    """The batch normalisations of ``network`` that take their statistics from the batch at hand."""
    return [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training]


def warn_of_norms(network: nn.Module, processes: int, accumulate: int) -> None:
    """Say where a batch in shares is not the same as a whole one: each share is normalised by itself."""
    if processes * accumulate > 1 and training_norms(network):
        _LOG.warning(
            "batch normalisation sees each of the %d shares of a batch alone, so the loss is not that of one process "
            "with the whole batch: model.freeze_norm keeps the statistics as they came",
            processes * accumulate,
        )
