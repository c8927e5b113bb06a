"""The claims about AlexNet that `ablate` reruns, as data: the statement, and trainings to test it.

The trainings of a claim differ in one thing. They are small, so that anybody can repeat them:
one to two minutes each on one core, but for those of `stall` and `batch-norm` (seven minutes on one
core), and those of LONG, which are on all of CIFAR-10: 30 epochs (from ten minutes on one core) or
whole recipes (hours on one core, minutes on a GPU).
"""
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

Figure = Literal["loss", "fit", "dots", "race", "views"]


@dataclass(frozen=True)
class Claim:
    """One claim, and how it is tested.

    statement  what is claimed, and where
    published  the numbers that were published with it
    base       flags of `train` for all variants; flags that the user adds follow them
    variants   name -> further flags of `train`; the first variant is the baseline
    figure     what illustrates the claim:
               "dots"   the test error of each seed
               "loss"   the training loss over the steps
               "fit"    training and validation error over the epochs
               "race"   the training error until it falls to verdict.LEVEL
               "views"  the test error of the same networks by one view and by averages over
                        several; such a claim has one variant
    """

    statement: str
    published: str
    base: str
    variants: Mapping[str, str]
    figure: Figure = "dots"


# The directory of a training is named after a digest of its flags: whoever rewrites a flag, even
# with the same meaning, has everything trained again.

NO_LRN = "--set \"after=('relu pool','relu pool','relu','relu','relu pool')\""

# A narrow AlexNet whose first layer has stride 2. 16 epochs on 10,000 images take about 50 seconds
# on two idle cores.
NET = (
    "-a alexnet_cifar --data cifar10 --set kernels=(5,5,3,3,3) --set strides=(2,1,1,1,1) "
    "--set paddings=(2,2,1,1,1) --set channels=(32,64,96,96,64) --set hidden=(512,512)"
)
CIFAR = NET + " -b 64 --limit 10000 --val-split 0.04 --epochs 16 --set milestones=(12,15)"

# That net on all images.
ALL_IMAGES = NET + " -b 128 --val-split 0 --epochs 30 --set milestones=(22,28)"

# AlexNetConfig.cifar as it is, and fewer epochs, for each takes much longer.
WIDE = (
    "-a alexnet_cifar --data cifar10 -b 64 --limit 10000 --val-split 0.04 --epochs 9 "
    "--set milestones=(6,8)"
)

# Figure 1 is without regularisation: no dropout, augmentation, weight decay or LRN here, and a
# constant learning rate. With only 4,000 images, a short training can reach 25 % training error.
RACE = (
    f"{NET} {NO_LRN} -b 32 --limit 4000 --val-split 0.02 --epochs 24 --set milestones=() "
    "--set dropout=0 --set pad=0 --set flip=False --wd 0 --print-freq 20"
)
RATES = (0.00125, 0.0025, 0.005, 0.01)

PLAIN = "--set pad=0 --set flip=False"  # images as they are: neither shifted nor mirrored
PAPER = "--set init=gaussian --set init_bias=(0,1,0,1,1,1,1,0)"

# LRN compares alpha with the square of its inputs. This network's pixels are 1/64 of the paper's,
# and 0.4096 = 64^2 * 0.0001: it is to them what 0.0001 is to pixels from 0 to 255.
LRN = "--set lrn_alpha=0.4096"

ONE_COLUMN = "--set groups=(1,1,1,1,1) --set lrn_groups=1"
PHOTOS = (
    "--data folder -b 32 --limit 4800 --val-split 0.04 --epochs 2 --set schedule=steps "
    "--print-freq 10"
)

# Whole recipes on all images; a few are held out where the curves need a validation error.
FULL_DROPOUT = "-a alexnet_cifar --data cifar10 --val-split 0.04"
TWICE = "--epochs 120 --set milestones=(80,100,112)"  # that recipe, stretched
FULL_NORMS = "-a net_18 --data cifar10 --val-split 0"

# A fifth of the epochs of conv_local_13's own recipe.
LOCAL = "-a conv_local_13 --data cifar10 --val-split 0 --epochs 30 --set milestones=(22,28)"

LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")

# After the 16 epochs of CIFAR, which end at a hundredth of 0.01: a tenth of it again, and a
# hundredth from 20 on.
RESTART = ", ".join(f"{epoch} {layer}.lr={rate}"
                    for epoch, rate in ((16, 0.001), (20, 0.0001)) for layer in LAYERS)


def _order(*first_two: str) -> str:
    """The flag for what follows conv1 and conv2."""
    words = ",".join(f"'{kinds}'" for kinds in (*first_two, "relu", "relu", "relu pool"))
    return f'--set "after=({words})"'


CLAIMS = {
    "relu-vs-tanh": Claim(
        statement="With ReLU, a network reaches 25 % training error several times faster than "
                  "with tanh (section 3.1, Figure 1)",
        published="six times faster on CIFAR-10, with four layers, a learning rate chosen for "
                  "each, and no regularisation",
        base=RACE,
        variants={
            **{f"relu, rate {lr}": f"--lr {lr}" for lr in RATES},
            **{f"tanh, rate {lr}": f"--set activation=tanh --lr {lr}" for lr in RATES},
        },
        figure="race",
    ),
    "init": Claim(
        statement="The paper's initial weights (0.01 in all layers, biases of 1) leave the loss "
                  "at ln C if pixels are scaled to about 1",
        published="not in the paper; see docs/stall.md",
        base=CIFAR,
        variants={
            "He, biases 0": "",
            "paper": PAPER,
            "paper, pixels 0-255": f"{PAPER} --set input_scale=1.0",
            "paper, weights of He": "--set init_bias=(0,1,0,1,1,1,1,0)",
        },
        figure="loss",
    ),
    "stall": Claim(
        statement="With standardised inputs, the initial weights of 2012 leave the loss at ln C; "
                  "with pixels from 0 to 255 it falls",
        published="several reimplementations report a flat loss; Caffe's readme gives it as the "
                  "reason for biases of 0.1",
        base=PHOTOS,
        variants={
            "source, 0-255": "-a alexnet_source_2012",
            "source, standardised": "-a alexnet_source_2012 --set input_scale=0.0172",
            "paper, 0-255": "-a alexnet",
            "paper, standardised": "-a alexnet --set input_scale=0.0172",
        },
        figure="loss",
    ),
    "lrn": Claim(
        statement="Local response normalisation lowers the error (section 3.3)",
        published="by 1.4 / 1.2 points on ImageNet; from 13 % to 11 % on CIFAR-10, but between "
                  "the two files more differs than LRN",
        base=CIFAR,
        variants={
            "with": LRN,
            "with, alpha 0.0001": "",
            "without": NO_LRN,
        },
    ),
    "lrn-convention": Claim(
        statement="Does it matter whether LRN's alpha is used as printed, or divided by the "
                  "window size as in the source and in Caffe?",
        published="not compared in the paper",
        base=CIFAR,
        variants={
            "alpha as printed": LRN,
            "alpha / 5": f"{LRN} --set lrn_alpha_over_size=True",
            "alpha / 5, k = 1": f"{LRN} --set lrn_alpha_over_size=True --set lrn_k=1.0",
        },
    ),
    "lrn-place": Claim(
        statement="Does LRN before the ReLU, where it sees negative values too, help in layer 1 "
                  "and hurt in layer 2? (The order of layers-145.cfg, and of #166.)",
        published="41.04 / 18.71 % after it and 40.93 / 18.57 % before it in layer 1; 40.53 / "
                  "18.05 % after it and 41.10 / 18.67 % before it in layer 2 (docs/2012.md)",
        base=CIFAR + " " + LRN,
        variants={
            "after the ReLU": "",
            "before it in layer 1": _order("lrn relu pool", "relu lrn pool"),
            "before it in both": _order("lrn relu pool", "lrn relu pool"),
        },
    ),
    "norm-within": Claim(
        statement="Normalisation within a map lowers the error of cuda-convnet's net_18; its full "
                  "recipe on all images",
        published="18 % with it (layers-18pct.cfg), 19 % without it and with more decay "
                  "(layers-19pct.cfg)",
        base=FULL_NORMS,
        variants={
            "with": "",
            "without": "--set norms=False",
        },
    ),
    "batch-norm": Claim(
        statement="Batch normalisation in place of LRN lowers the error (Ioffe and Szegedy 2015; "
                  "before the ReLU, as there)",
        published="42.9 / 19.8 % with LRN (BVLC/caffe, bvlc_alexnet), 39.9 / 18.1 % with batch "
                  "normalisation after every layer (cvjena/cnn-models, AlexNet_cvgj), a single "
                  "crop of ImageNet",
        base=WIDE,
        variants={
            "LRN": LRN,
            "batch norm": _order("bn relu pool", "bn relu pool"),
            "none": NO_LRN,
        },
    ),
    "overlapping-pool": Claim(
        statement="Overlapping pooling, 3 x 3 at stride 2, is better than 2 x 2 (section 3.4)",
        published="by 0.4 / 0.3 points on ImageNet",
        base=CIFAR,
        variants={
            "3 at stride 2": "",
            "2 at stride 2": "--set pool_size=2",
        },
    ),
    "dropout": Claim(
        statement="Without dropout the network overfits substantially (section 4.2)",
        published="no number",
        base=CIFAR,
        variants={
            "0.5": "",
            "none": "--set dropout=0",
            "0.5, images as they are": PLAIN,
            "none, images as they are": f"{PLAIN} --set dropout=0",
        },
        figure="fit",
    ),
    "dropout-full": Claim(
        statement="Without dropout the network overfits substantially (section 4.2); here on all "
                  "images, by the full recipe",
        published="no number",
        base=FULL_DROPOUT,
        variants={
            "0.5": "",
            "none": "--set dropout=0",
        },
        figure="fit",
    ),
    "dropout-twice": Claim(
        statement="Dropout roughly doubles the number of iterations that a network needs (section "
                  "4.2); the full recipe in twice the epochs",
        published="no number",
        base=FULL_DROPOUT,
        variants={
            "0.5": TWICE,
            "none": f"{TWICE} --set dropout=0",
        },
        figure="fit",
    ),
    "augmentation": Claim(
        statement="Without crops and flips the network overfits substantially; PCA colour lowers "
                  "the top-1 error by more than a point (section 4.1)",
        published="more than 1 point for colour on ImageNet",
        base=CIFAR,
        variants={
            "shifts and flips": "",
            "and PCA colour": "--set color=source",
            "none": PLAIN,
        },
        figure="fit",
    ),
    "color-divisor": Claim(
        statement="PCA colour and the divisor: 1.1 makes training images a tenth weaker than test "
                  "images, the root of 1.01 keeps their scale; here the narrow net, all images, 30 "
                  "epochs",
        published="the released code divides by 1.1 (convdata.py:205; docs/2012.md)",
        base=ALL_IMAGES,
        variants={
            "divided by 1.1": "--set color=source",
            "by the root of 1.01": "--set color=variance",
            "no colour": "",
        },
    ),
    "warm-restart": Claim(
        statement="A training that has ended gains from a second round: the rate pushed up again, "
                  "and dropped again",
        published="40.66 / 18.21 % to 40.25 / 17.99 % on ImageNet, in 44 more epochs "
                  "(docs/2012.md)",
        base=CIFAR,
        variants={
            "16 epochs": "",
            "24 epochs, restart after 16": f"--epochs 24 --set \"changes='{RESTART}'\"",
            "24 epochs, one round": "--epochs 24 --set milestones=(18,23)",
        },
    ),
    "thirteen-to-eleven": Claim(
        statement="From cuda-convnet's 13 % net to its 11 % net with one change at a time: which "
                  "of them lowers the error?",
        published="13 % to 11 % on CIFAR-10 with all of them, 520 epochs for 160 and ten views "
                  "for nine (docs/2012.md)",
        base=LOCAL,
        variants={
            "the 13 % net": "",
            "and LRN": "--set lrn=True",
            "and 64 maps in local3": "--set local3=64",
            "and decay 0.01 in fc10": "--set fc10_decay=0.01",
            "all three": "--set lrn=True --set local3=64 --set fc10_decay=0.01",
        },
    ),
    "groups": Claim(
        statement="Two columns are better than a single column of half the width (section 3.2)",
        published="by 1.7 / 1.2 points on ImageNet",
        base=CIFAR,
        variants={
            "two columns": "",
            "merged": ONE_COLUMN,
            "one column, half": f"{ONE_COLUMN} --set channels=(16,32,48,48,64)",
        },
    ),
    "update-rule": Claim(
        statement="Does it matter whether the learning rate is inside the velocity (section 5), "
                  "or outside as in PyTorch? (They differ when the rate drops.)",
        published="not compared in the paper",
        base=CIFAR,
        variants={
            "2012": "",
            "torch": "--set rule=torch",
        },
    ),
    "ten-view": Claim(
        statement="Averaging over ten views is better than a single view (section 4.1)",
        published="from 39.0 / 18.3 % to 37.5 / 17.0 % on ImageNet 2010",
        base=CIFAR,
        variants={"the net": ""},
        figure="views",
    ),
}

# Small claims that are also run on all images. Nothing is held out there, so the figure is that of
# the test errors.
ON_ALL_IMAGES = ("overlapping-pool", "groups", "augmentation", "update-rule")


def _on_all_images(claim: Claim) -> Claim:
    """A small claim with all images and 30 epochs."""
    return replace(
        claim,
        statement=f"{claim.statement}; here the narrow net, all images, 30 epochs",
        base=ALL_IMAGES,
        figure="dots",
    )


CLAIMS |= {f"{name}-full": _on_all_images(CLAIMS[name]) for name in ON_ALL_IMAGES}

# Claims on all of CIFAR-10, which take long.
LONG = (
    "norm-within",
    "dropout-full",
    "dropout-twice",
    "thirteen-to-eleven",
    "color-divisor",
    *(f"{name}-full" for name in ON_ALL_IMAGES),
)
# What `ablate all` runs: neither these nor stall, which needs a folder of photographs.
ALL = [name for name in CLAIMS if name != "stall" and name not in LONG]
