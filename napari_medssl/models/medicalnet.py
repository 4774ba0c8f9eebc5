"""MedicalNet's 3D ResNets, pretrained on 23 segmentation data sets, as encoders with stages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from monai.networks.nets import resnet as nets
from torch import Tensor, nn

from napari_medssl.errors import SettingsError, WeightsError
from napari_medssl.models.encoder3d import check_grid, volume_encoders
from napari_medssl.models.published_weights import KeyReport, load_published, read_published

DEPTHS = (10, 18, 34, 50)
_BUILD = {10: nets.resnet10, 18: nets.resnet18, 34: nets.resnet34, 50: nets.resnet50}
_CHANNELS = (64, 128, 256, 512)
_BLOCKS: dict[tuple[int, ...], int] = {
    (1, 1, 1, 1): 10,
    (2, 2, 2, 2): 18,
    (3, 4, 6, 3): 34,
}  # of two convolutions; those of 50 have three
_LAYERS = ("layer1", "layer2", "layer3", "layer4")


@volume_encoders.register("medicalnet")
class MedicalNet(nn.Module):
    """MONAI's 3D ResNet without its classifier.

    Input (B, 1, Z, Y, X) in [0, 1], sides multiples of 32; output (B, channels, Z / 32, Y / 32, X / 32). The four
    stages have 4, 8, 16 and 32 voxels per cell and 64 to 512 channels, four times as many at depth 50.

    depth: 10, 18, 34 or 50. width: factor of all channels; 1 for the published weights.
    stage_centres: a cell is centred on the first of its voxels, for every convolution with stride 2 is.

    The published networks were trained on volumes with mean 0 and deviation 1 over the body. Ours: the input in [0, 1]
    is brought there in the network, voxel by voxel (x - 0.5) / 0.25, for windows do not know the whole scan.

    Source: Chen, Ma, Zheng, "Med3D: Transfer learning for 3D medical image analysis", 2019; the networks are those of
    `monai.networks.nets.resnet10` and so on, with the shortcuts MedicalNet's files need. Stages three and four have a
    stride where MedicalNet's segmentation dilates; the weights are the same.

    Raises SettingsError for another depth, GeometryError for a volume whose sides are not multiples of 32.
    """

    stride = 32
    stage_centres = (0.0, 0.0, 0.0, 0.0)

    def __init__(self, *, depth: int = 18, width: float = 1.0) -> None:
        super().__init__()
        if depth not in DEPTHS:
            raise SettingsError(f"depth is {depth}; MedicalNet has {', '.join(map(str, DEPTHS))}")
        bias, shortcut = nets.get_medicalnet_pretrained_resnet_args(depth)
        self.net: Any = _BUILD[depth](
            spatial_dims=3, n_input_channels=1, conv1_t_stride=2, feed_forward=False, shortcut_type=shortcut,
            bias_downsample=bias, widen_factor=width,
        )  # fmt: skip
        wider = 4 if depth == 50 else 1
        self.in_channels, self.channels = 1, wider * int(_CHANNELS[-1] * width)
        self.config: dict[str, Any] = {"depth": depth, "width": width}

    def stages(self, volume: Tensor) -> list[Tensor]:
        """Grids of 4, 8, 16 and 32 voxels per cell."""
        check_grid(volume, self.stride)
        net, found = self.net, []
        x = net.maxpool(net.act(net.bn1(net.conv1((volume - 0.5) / 0.25))))
        for layer in _LAYERS:
            x = getattr(net, layer)(x)
            found.append(x)
        return found

    def forward(self, volume: Tensor) -> Tensor:
        return self.stages(volume)[-1]


def medicalnet_from(path: Path) -> tuple[MedicalNet, KeyReport]:
    """The network of a MedicalNet file (.pth as published, with or without "module.", or .safetensors), and which of
    its entries were loaded.

    The depth is read from the names in the file. Raises WeightsError when the file is missing, unreadable, or of
    another network.
    """
    names = {_plain(name) for name in read_published(path)}
    encoder = MedicalNet(depth=_depth(names, path))
    report = load_published(encoder.net, path)
    lost = [*report.missing, *report.misshapen]
    if lost:
        raise WeightsError(f"{path} does not fit MedicalNet of depth {encoder.config['depth']}: {report.sentence()}")
    encoder.eval()
    return encoder, report


def _plain(name: str) -> str:
    return name.removeprefix("module.").removeprefix("backbone.")


def _depth(names: set[str], path: Path) -> int:
    blocks = tuple(len({n.split(".")[1] for n in names if n.startswith(f"{layer}.")}) for layer in _LAYERS)
    bottleneck = "layer1.0.conv3.weight" in names
    depth = 50 if bottleneck and blocks == (3, 4, 6, 3) else None if bottleneck else _BLOCKS.get(blocks)
    if depth is None:
        shown = "-".join(map(str, blocks))
        raise WeightsError(
            f"{path} holds no MedicalNet of depth {', '.join(map(str, DEPTHS))} (blocks {shown}); "
            "give resnet_10.pth, resnet_18_23dataset.pth or the like"
        )
    return depth
