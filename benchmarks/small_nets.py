"""Networks that only the benchmarks have.

They need nothing but `nn`, so that an older checkout of the package can build them as well.
"""
from minitorch_alex import nn


def net_8() -> nn.Sequential:
    """A network so narrow, 8 channels of 8 x 8 pixels, that a step is mostly what the engine does
    around its kernels."""
    return nn.Sequential(
        conv1=nn.Conv2d(3, 8, 3, padding=1),
        relu1=nn.ReLU(),
        pool1=nn.MaxPool2d(2),
        conv2=nn.Conv2d(8, 8, 3, padding=1),
        relu2=nn.ReLU(),
        pool2=nn.MaxPool2d(2),
        flatten=nn.Flatten(),
        fc3=nn.Linear(32, 8),
        relu3=nn.ReLU(),
        fc4=nn.Linear(8, 10),
    )


def net_w2() -> nn.Sequential:
    """A network for CIFAR-10 with the paper's normalisation across maps.

    Three convolutions of 32, 32 and 64 kernels, each pooled with sizes rounded down, so
    32 -> 15 -> 7 -> 3.
    """
    def lrn() -> nn.LocalResponseNorm:
        return nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)

    model = nn.Sequential(
        conv1=nn.Conv2d(3, 32, 5, padding=2),
        pool1=nn.MaxPool2d(3, 2),
        relu1=nn.ReLU(),
        lrn1=lrn(),
        conv2=nn.Conv2d(32, 32, 5, padding=2),
        relu2=nn.ReLU(),
        pool2=nn.MaxPool2d(3, 2),
        lrn2=lrn(),
        conv3=nn.Conv2d(32, 64, 5, padding=2),
        relu3=nn.ReLU(),
        pool3=nn.MaxPool2d(3, 2),
        flatten=nn.Flatten(),
        fc10=nn.Linear(576, 10),
    )
    model.image_size = 32
    return model
