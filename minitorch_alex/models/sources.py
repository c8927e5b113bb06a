"""Where each preset's values were read: for each field the file and the lines that decide it.

A place is a path and lines in the preset's repository, "section N" for the paper's text, or begins
with OURS for a decision of this package. An entry that names another repository says so in full.
"""
from dataclasses import fields

from .alexnet import AlexNetConfig

OURS = "ours"

# preset: the repository and commit that its places are in. Links never move: they name commits.
CHM = "computerhistory/AlexNet-Source-Code@2f8b81f76470bf873c865754ad8f4a5e0dbbeb7b"
CONVNET2 = "akrizhevsky/cuda-convnet2@3238bf0367f63eb370e897b9e5714794cb67ddc2"
CAFFE = "BVLC/caffe@9b891540183ddc834a02b2bd81b31afae71b2153"
VISION = "pytorch/vision@00658a22f8824fb29cb53b7fc12c2e8097038dfb"
NVCAFFE = "borisgin/nvcaffe@8896d3303cfdfb575923d6bb108a99ebda728855"
PAPER = "Krizhevsky, Sutskever, Hinton, NIPS 2012"
REPOSITORIES = {
    "paper": PAPER, "source_2012": CHM, "half_2012": CHM, "conv6_2012": CHM, "merged": PAPER,
    "caffe": CAFFE, "caffenet": CAFFE, "tower_2014": CONVNET2, "torchvision": VISION,
    "bn": NVCAFFE, "cifar": PAPER,
}
_NO_BN = dict.fromkeys(("bn_eps", "bn_affine"), f"{OURS}: this net has no batch normalisation")

_145 = "layers/layers-145.cfg"
_145_PARAMS = "layers/layer-params-145.cfg"
_SOURCE_2012 = {
    "num_classes": f"{_145}:296",
    "image_size": "convdata.py:121 (256 minus a border of 16 on each side)",
    "input_scale": "convdata.py:222-226 (the mean is subtracted, nothing else)",
    "channels": f"{_145}:13, 26, 68, 83, 138, 152, 166, 180, 195, 209",
    "kernels": f"{_145}:16, 29, 71, 86, 141, 155, 169, 183, 198, 212",
    "strides": f"{_145}:15, 28, 70, 85, 140, 154, 168, 182, 197, 211",
    "paddings": f"{_145}:14, 27, 69, 84, 139, 153, 167, 181, 196, 210",
    "groups": f"{_145}:67, 82 (own column), 137, 151 (both), 165, 179, 194, 208 (own)",
    "ceil_mode": "layer.py:1004 (convolutions), 1164 (pools)",
    "conv_floor": "layer.py:1004",
    "after": f"{_145}:35-63 (1), 77, 92-133 (2), 146, 160 (3), 171, 185 (4), 220-236 (5)",
    "activation": f"{_145}:54, 77, 146, 171, 227, 244, 272",
    "pool_size": f"{_145}:51, 60, 123, 131, 224, 233",
    "pool_stride": f"{_145}:52, 61, 124, 132, 225, 234",
    "conv6": f"{_145}:206-239 (none between conv5 and fc2048)",
    "adaptive_pool": f"{_145}:220-240 (none)",
    "lrn_size": f"{_145}:39, 45, 99, 105",
    "lrn_alpha": f"{_145_PARAMS}:138, 143, 148, 153",
    "lrn_alpha_over_size": "layer.py:1183",
    "lrn_beta": f"{_145_PARAMS}:139, 144, 149, 154",
    "lrn_k": f"{_145_PARAMS}:140, 145, 150, 155",
    "lrn_groups": f"{_145}:35-45, 95-105 (one norm for each column)",
    **_NO_BN,
    "hidden": f"{_145}:241, 250, 269, 278",
    "dropout": f"{_145}:258, 263, 286, 291",
    "dropout_rule": "src/layer.cu:1126-1134",
    "dropout_place": f"{_145}:256-264, 284-292",
    "init": f"{_145}:17",
    "init_std": f"{_145}:17, 73, 143, 172, 200, 242, 270, 298",
    "init_bias": f"{_145}:74, 173, 201, 243, 271 (1), 9-20, 135-147, 294-299 (none: 0)",
    "names": OURS,
}
_HALF = "layers/layers-145-half.cfg"
_HALF_2012 = {
    "num_classes": f"{_HALF}:153",
    "channels": f"{_HALF}:13, 40, 75, 89, 103",
    "kernels": f"{_HALF}:16, 43, 78, 92, 106",
    "strides": f"{_HALF}:15, 42, 77, 91, 105",
    "paddings": f"{_HALF}:14, 41, 76, 90, 104",
    "groups": f"{_HALF}:39, 74, 88, 102 (one column)",
    "after": f"{_HALF}:22-35 (1), 49-70 (2), 83 (3), 94 (4), 114-121 (5)",
    "activation": f"{_HALF}:35, 49, 83, 94, 121, 129, 143",
    "pool_size": f"{_HALF}:32, 68, 118",
    "pool_stride": f"{_HALF}:33, 69, 119",
    "conv6": f"{_HALF}:100-125 (none)",
    "adaptive_pool": f"{_HALF}:114-126 (none)",
    "lrn_size": f"{_HALF}:26, 56",
    "lrn_alpha": "layers/layer-params-145-half.cfg:77, 82",
    "lrn_beta": "layers/layer-params-145-half.cfg:78, 83",
    "lrn_k": "layers/layer-params-145-half.cfg:79, 84",
    "lrn_groups": f"{_HALF}:22-26, 52-56 (one column)",
    "hidden": f"{_HALF}:126, 140",
    "dropout": f"{_HALF}:134, 148",
    "dropout_place": f"{_HALF}:132-135, 146-149",
    "init": f"{_HALF}:17",
    "init_std": f"{_HALF}:17, 45, 80, 95, 108, 127, 141, 155",
    "init_bias": f"{_HALF}:46, 96, 109, 128, 142 (1), 9-20, 72-84, 151-156 (none: 0)",
}
_146 = "layers/layers-146-2012-2011.cfg"
_146_PARAMS = "layers/layer-params-146-2012-2011.cfg"
_CONV6_2012 = {
    "num_classes": f"{_146}:354",
    "channels": f"{_146}:13, 28, 72, 89, 146, 162, 178, 194, 211, 227",
    "kernels": f"{_146}:16, 31, 75, 92, 149, 165, 181, 197, 214, 230",
    "strides": f"{_146}:15, 30, 74, 91, 148, 164, 180, 196, 213, 229",
    "paddings": f"{_146}:14, 29, 73, 90, 147, 163, 179, 195, 212, 228",
    "groups": f"{_146}:71, 88 (own column), 145, 161 (both), 177, 193, 210, 226 (own)",
    "after": f"{_146}:39-67 (1), 81, 98-141 (2), 154, 170 (3), 183, 199 (4), 240-256 (5)",
    "activation": f"{_146}:58, 81, 154, 183, 247, 294, 326",
    "pool_size": f"{_146}:55, 64, 131, 139, 244, 253",
    "pool_stride": f"{_146}:56, 65, 132, 140, 245, 254",
    "adaptive_pool": f"{_146}:240-290 (none)",
    "lrn_size": f"{_146}:43, 49, 107, 113",
    "lrn_groups": f"{_146}:39-49, 103-113 (one norm for each column)",
    "hidden": f"{_146}:291, 302, 323, 334",
    "dropout": f"{_146}:312, 317, 344, 349",
    "dropout_place": f"{_146}:310-318, 342-350",
    "init": f"{_146}:17",
    "init_std": f"{_146}:17, 77, 151, 184, 216, 292, 324, 356",
    "init_bias": f"{_146}:78, 185, 217, 293, 325 (1), 9-20, 143-155, 352-357 (none: 0)",
    "conv6": f"{_146}:258-286",
    "lrn_alpha": f"{_146_PARAMS}:154, 159, 164, 169",
    "lrn_beta": f"{_146_PARAMS}:155, 160, 165, 170",
    "lrn_k": f"{_146_PARAMS}:156, 161, 166, 171",
}
_CAFFE = {
    "num_classes": "357", "image_size": "12", "input_scale": "10-14 (no scale)",
    "channels": "54, 109, 165, 198, 232", "kernels": "55, 111, 167, 200, 234",
    "strides": "56 (4; elsewhere none: 1)", "paddings": "110, 166, 199, 233 (conv1 none: 0)",
    "groups": "112, 201, 235", "after": "67-94, 123-150, 178-183, 212-217, 246-262",
    "activation": "69, 125, 180, 214, 248, 290, 330", "pool_size": "91, 147, 259",
    "pool_stride": "92, 148, 260", "conv6": "252-266 (none)", "adaptive_pool": "252-266 (none)",
    "lrn_size": "79, 135", "lrn_alpha": "80, 136", "lrn_beta": "81, 137",
    "lrn_groups": "73-83, 129-139 (over all channels)", "hidden": "277, 317",
    "dropout": "300, 340", "dropout_place": "294-302, 334-342", "init": "58",
    "init_std": "59, 115, 170, 204, 238, 280, 320, 360",
    "init_bias": "63, 119, 174, 208, 242, 284, 324, 364",
}
_CAFFENET = {
    "num_classes": "373", "image_size": "12", "input_scale": "10-14 (no scale)",
    "channels": "70, 125, 181, 214, 248", "kernels": "71, 127, 183, 216, 250",
    "strides": "72 (4; elsewhere none: 1)", "paddings": "126, 182, 215, 249 (conv1 none: 0)",
    "groups": "128, 217, 251", "activation": "85, 141, 196, 230, 264, 306, 346",
    "pool_size": "96, 152, 275", "pool_stride": "97, 153, 276", "conv6": "268-282 (none)",
    "adaptive_pool": "268-282 (none)", "lrn_size": "106, 162", "lrn_alpha": "107, 163",
    "lrn_beta": "108, 164", "lrn_groups": "100-110, 156-166 (over all channels)",
    "dropout": "316, 356", "init": "74", "hidden": "293, 333",
    "after": "84-111, 140-167, 195-200, 229-234, 263-278", "dropout_place": "311-319, 351-359",
    "init_std": "75, 131, 186, 220, 254, 296, 336, 376",
    "init_bias": "79, 135, 190, 224, 258, 300, 340, 380",
}
_CAFFE_CODE = {
    **_NO_BN,
    "ceil_mode": "src/caffe/layers/pooling_layer.cpp:93-96",
    "conv_floor": "src/caffe/layers/conv_layer.cpp:18-19",
    "lrn_alpha_over_size": "src/caffe/layers/lrn_layer.cpp:120",
    "lrn_k": "src/caffe/proto/caffe.proto:888 (default 1)",
    "dropout_rule": "src/caffe/layers/dropout_layer.cpp:17, 41",
    "names": OURS,
}
_1GPU = "layers/layers-imagenet-1gpu.cfg"
_1GPU_PARAMS = "layers/layer-params-imagenet-1gpu.cfg"
_TOWER = {
    "num_classes": f"{_1GPU}:141",
    "image_size": "branch wiki, TrainingExample.md:10 (--inner-size 224)",
    "input_scale": "convdata.py:104 (the mean is subtracted, nothing else)",
    "channels": f"{_1GPU}:13, 40, 68, 81, 95",
    "kernels": f"{_1GPU}:16, 43, 71, 84, 98",
    "strides": f"{_1GPU}:15, 42, 70, 83, 97",
    "paddings": f"{_1GPU}:14, 41, 69, 82, 96",
    "groups": f"{_1GPU}:37-104 (none)",
    "ceil_mode": "layer.py:1097 (convolutions), 1272 (pools)",
    "conv_floor": "layer.py:1097",
    "after": f"{_1GPU}:22-35 (1), 49-63 (2), 76 (3), 86 (4), 104-111 (5)",
    "activation": f"{_1GPU}:35, 49, 76, 86, 111, 119, 132",
    "pool_size": f"{_1GPU}:32, 61, 108",
    "pool_stride": f"{_1GPU}:33, 62, 109",
    "conv6": f"{_1GPU}:104-115 (none)",
    "adaptive_pool": f"{_1GPU}:104-115 (none)",
    "lrn_size": f"{_1GPU}:26, 55",
    "lrn_alpha": f"{_1GPU_PARAMS}:84, 89",
    "lrn_alpha_over_size": "layer.py:1331",
    "lrn_beta": f"{_1GPU_PARAMS}:85, 90",
    "lrn_k": f"{_1GPU_PARAMS}:86, 91",
    "lrn_groups": f"{_1GPU}:22-26, 51-55 (one tower)",
    **_NO_BN,
    "hidden": f"{_1GPU}:116, 129",
    "dropout": "layer.py:802 (default)",
    "dropout_rule": f"{_1GPU}:123, 136 (dropout2), cudaconvnet/src/layer.cu:1374-1383",
    "dropout_place": f"{_1GPU}:122-128, 135-142",
    "init": f"{_1GPU}:17",
    "init_std": f"{_1GPU}:17, 45, 73, 87, 100, 117, 130, 143",
    "init_bias": f"{_1GPU}:46, 88, 101, 118, 131 (1), 144 (-7), 9-20, 65-76 (none: 0)",
    "names": OURS,
}
_TV = "torchvision/models/alexnet.py"
_TORCHVISION = {
    "num_classes": f"{_TV}:15",
    "image_size": "documentation of torchvision.models.alexnet (the central 224 of 256)",
    "input_scale": "pytorch/vision@080836e5824eded4f6249bf88b5fd4a51e446a04, "
                   "references/classification/presets.py:11-12, 36, 54-55, 65",
    **{name: f"{_TV}:18, 21, 24, 26, 28"
       for name in ("channels", "kernels", "strides", "paddings", "groups")},
    "ceil_mode": f"{_TV}:18-30 (PyTorch's default)",
    "conv_floor": f"{_TV}:18-28 (PyTorch's default)",
    "after": f"{_TV}:19-20, 22-23, 25, 27, 29-30",
    "activation": f"{_TV}:19, 22, 25, 27, 29, 36, 39",
    "pool_size": f"{_TV}:20, 23, 30",
    "pool_stride": f"{_TV}:20, 23, 30",
    "conv6": f"{_TV}:17-31 (none)",
    "adaptive_pool": f"{_TV}:32",
    **{name: f"{_TV}:17-31 (no norm)"
       for name in ("lrn_size", "lrn_alpha", "lrn_alpha_over_size", "lrn_beta", "lrn_k",
                    "lrn_groups")},
    **_NO_BN,
    "hidden": f"{_TV}:35, 38",
    "dropout": f"{_TV}:34, 37 (PyTorch's default)",
    "dropout_rule": f"{_TV}:34, 37 (PyTorch's rule)",
    "dropout_place": f"{_TV}:34-38",
    "init": f"{_TV}:18-40 (PyTorch's default)",
    "init_std": f"{_TV}:18-40 (PyTorch's default)",
    "init_bias": f"{_TV}:18-40 (PyTorch's default)",
    "names": f"{_TV}:17, 33",
}
_BN = {
    "num_classes": "326", "image_size": "17", "input_scale": "18",
    "channels": "53, 101, 150, 186, 225", "kernels": "54, 103, 152, 188, 227",
    "strides": "55 (4; elsewhere none: 1)", "paddings": "102, 151, 187, 226 (conv1 none: 0)",
    "groups": "104, 189, 228", "after": "66-93, 115-142, 163-178, 202-217, 239-255",
    "activation": "68, 117, 165, 204, 241, 275, 307", "pool_size": "79, 128, 252",
    "pool_stride": "80, 129, 253", "conv6": "245-259 (none)", "adaptive_pool": "245-259 (none)",
    **dict.fromkeys(("lrn_size", "lrn_alpha", "lrn_alpha_over_size", "lrn_beta", "lrn_k",
                     "lrn_groups"), "1-342 (no LRN)"),
    "bn_eps": "90, 139, 176, 215", "bn_affine": "91, 140, 177, 216", "hidden": "262, 294",
    "dropout": "285, 317", "dropout_place": "279-287, 311-319", "init": "57",
    "init_std": "58, 107, 155, 193, 232, 265, 297, 329",
    "init_bias": "62, 111, 159, 196, 235, 269, 301, 333",
}
_BN_CODE = {
    "ceil_mode": "src/caffe/layers/pooling_layer.cpp:92-94",
    "conv_floor": "src/caffe/layers/conv_layer.cpp:18-19",
    "dropout_rule": "src/caffe/layers/dropout_layer.cpp:16, 40",
    "names": OURS,
}


def _of_file(path: str, lines: dict[str, str]) -> dict[str, str]:
    """Places in one file."""
    return {name: f"{path}:{line}" for name, line in lines.items()}


def _papers() -> dict[str, str]:
    """The places that the fields of the configuration name."""
    return {f.name: f.metadata["source"] for f in fields(AlexNetConfig)}


_CAFFE_FILE = "models/bvlc_alexnet/train_val.prototxt"
_BN_FILE = "models/alexnet_bn/train_val2.prototxt"
_CAFFENET_FILE = "models/bvlc_reference_caffenet/train_val.prototxt"
SOURCES = {
    "paper": _papers(),
    "source_2012": _SOURCE_2012,
    "half_2012": {**_SOURCE_2012, **_HALF_2012},
    "conv6_2012": {**_SOURCE_2012, **_CONV6_2012},
    "merged": {**_papers(), "groups": f"{OURS}: as in many reimplementations",
               "lrn_groups": f"{OURS}: follows from one column"},
    "caffe": {**_of_file(_CAFFE_FILE, _CAFFE), **_CAFFE_CODE},
    "caffenet": {**_of_file(_CAFFENET_FILE, _CAFFENET), **_CAFFE_CODE},
    "tower_2014": _TOWER,
    "torchvision": _TORCHVISION,
    "bn": {**_of_file(_BN_FILE, _BN), **_BN_CODE},
    "cifar": {**_papers(), **dict.fromkeys(
        ("num_classes", "image_size", "input_scale", "channels", "kernels", "strides", "paddings",
         "hidden", "dropout_rule", "init", "init_bias"), f"{OURS}: for images of 32 x 32")},
}


def link(repository: str, place: str) -> str:
    """The address of a place such as "layers/layers-145.cfg:13, 26": its file, at the first line.

    `repository` is owner/name@commit. Raises ValueError for a place without a line.
    """
    owner, _, commit = repository.partition("@")
    path, _, lines = place.partition(":")
    first = lines.split(" ")[0].rstrip(",").replace("-", "-L")
    if not first:
        raise ValueError(f"{place!r} names no line")
    return f"https://github.com/{owner}/blob/{commit}/{path}#L{first}"
