"""What can go wrong with what is rendered, and with rendering."""

from __future__ import annotations

from depthnet_ros.errors import DepthNetError


class AssetsMissingError(DepthNetError):
    """The game whose models are wanted is not installed; the message says which package has them."""


class AssetError(DepthNetError):
    """A model, map or track that is damaged, of another format, or has nothing to be rendered."""


class NoRendererError(DepthNetError):
    """There is no way to draw on this machine: moderngl or an EGL driver is missing."""
