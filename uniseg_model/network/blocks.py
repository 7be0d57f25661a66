"""The network's bricks. Letters: B batch, C channels, Z, Y, X space."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from uniseg_model.errors import ModalityError
from uniseg_model.volume import Shape

SLOPE = 0.01  # of LeakyReLU below 0


class Block(nn.Module):
    """Convolution, instance norm (each window's own statistics, always), LeakyReLU. Padding keeps the size at stride 1."""

    def __init__(self, c_in: int, c_out: int, kernel: Shape = (3, 3, 3), stride: Shape = (1, 1, 1)) -> None:
        super().__init__()
        self.conv = nn.Conv3d(c_in, c_out, kernel, stride, padding=_half(kernel))
        self.norm = nn.InstanceNorm3d(c_out, affine=True)
        self.act = nn.LeakyReLU(SLOPE, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, c_in, Z, Y, X) -> (B, c_out, Z, Y, X) divided by the stride."""
        out: Tensor = self.act(self.norm(self.conv(x)))
        return out


class Stem(nn.Module):
    """The first block: one convolution for each number of input channels, the norm shared by all."""

    def __init__(self, stems: Sequence[int], c_out: int, kernel: Shape) -> None:
        super().__init__()
        self.convs = nn.ModuleDict({str(n): nn.Conv3d(n, c_out, kernel, padding=_half(kernel)) for n in stems})
        self.norm = nn.InstanceNorm3d(c_out, affine=True)
        self.act = nn.LeakyReLU(SLOPE, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, n, Z, Y, X) -> (B, c_out, Z, Y, X), n one of the known channel counts.

        Raises:
            ModalityError: no convolution for n channels.
        """
        n = str(x.shape[1])
        if n not in self.convs:
            raise ModalityError(f"the network takes {', '.join(self.convs)} channels, the image has {n}")
        out: Tensor = self.act(self.norm(self.convs[n](x)))
        return out


def _half(kernel: Shape) -> Shape:
    z, y, x = (side // 2 for side in kernel)
    return z, y, x
