"""Layouts: what is recognised, which image gets which class, and what happens to damaged or hostile archives."""
import io
import tarfile

import imagenet_trees as trees
import numpy as np
import pytest

from minitorch_alex.data.devkit import mat_variables, read_devkit
from minitorch_alex.data.layouts import IMAGENETTE, recognise
from minitorch_alex.data.sources import list_source, list_synthetic
from minitorch_alex.data.synsets import imagenet_words
from minitorch_alex.data.synthetic import draw_picture
from minitorch_alex.errors import DataError, UsageError


@pytest.fixture(scope="module")
def images():
    return trees.drawn_images()


@pytest.fixture
def tree(tmp_path, images):
    def build(layout):
        trees.LAYOUTS[layout](tmp_path / layout, *images)
        return tmp_path / layout

    return build


@pytest.mark.parametrize("layout", trees.LAYOUTS)
def test_every_layout_is_recognised_and_gives_every_image_its_class(layout, tree, images):
    train, val = images
    root = tree(layout)
    if layout == "folders":  # as the three classes are Imagenette's, one more that is not
        trees.put(root / "train" / "n04000000" / "n04000000_1.JPEG", b"x")
    listing = list_source(root)
    assert listing.layout == layout == recognise(root)
    wnids = [wnid for wnid, _ in listing.classes]
    assert wnids == sorted(wnids) and dict(listing.classes).items() >= trees.WORDS.items()
    truth = {name: (wnid, data) for wnid, files in train.items() for name, data in files.items()}
    truth["n04000000_1.JPEG"] = ("n04000000", b"x")
    for split, expected in (("train", truth), ("val", val)):
        images = listing.splits[split]
        seen = {}
        for i, name in enumerate(images.names):
            seen[name.replace(":", "/").rsplit("/", 1)[-1]] = (wnids[images.labels[i]], images.read(i))
        assert len(seen) == len(images) and seen.items() <= expected.items()
        assert len(seen) == len(expected) - (split == "train" and layout != "folders")
    assert not listing.notes


def test_all_layouts_list_the_same_images_in_the_same_order(tree):
    def order(layout, split):
        images = list_source(tree(layout)).splits[split]
        return [(images.read(i), images.labels[i]) for i in range(len(images))]

    for split in ("train", "val"):
        first = order("kaggle", split)
        for layout in ("official", "folders", "tiny", "imagenette"):
            assert order(layout, split) == first, layout


def test_training_images_are_shuffled_and_validation_images_are_in_the_order_of_their_names(tree):
    listing = list_source(tree("folders"))
    names = listing.splits["train"].names
    assert sorted(names) != names and (np.diff(listing.splits["train"].labels) != 0).sum() > 5
    val = [name.rsplit("/", 1)[-1] for name in listing.splits["val"].names]
    assert val == sorted(val) and len(set(listing.splits["val"].labels)) == 3


def test_limit_takes_the_first_of_each_class_by_name(tree):
    listing = list_source(tree("official"), limit=2)
    names = sorted(name.rsplit(":", 1)[-1] for name in listing.splits["train"].names)
    assert names == [f"{wnid}_{k}.JPEG" for wnid in trees.WORDS for k in (0, 1)]
    assert np.bincount(listing.splits["val"].labels).tolist() == [2, 2, 2]


@pytest.mark.parametrize("given", ["ILSVRC", "ILSVRC/Data", "ILSVRC/Data/CLS-LOC"])
def test_any_folder_of_a_kaggle_tree_is_accepted(given, tree):
    root = tree("kaggle")
    for name in ("LOC_val_solution.csv", "LOC_synset_mapping.txt"):
        (root / name).rename(root / "ILSVRC" / name)
    listing = list_source(root / given)
    assert listing.layout == "kaggle" and len(listing.splits["val"]) == 7 and listing.classes[0][1].startswith("tench")


def test_kaggle_and_tiny_with_a_validation_set_sorted_into_folders(tmp_path, images):
    for layout, base in (("kaggle", "ILSVRC/Data/CLS-LOC"), ("tiny", "")):
        root = tmp_path / layout
        trees.folders(root / base, *images)
        trees.put(root / "wnids.txt", "")
        listing = list_source(root)
        assert listing.layout == layout and len(listing.splits["val"]) == 7


def test_a_share_held_out_for_validation(tree, images):
    root = tree("folders") / "train"
    with pytest.raises(DataError, match="--val-split"):
        list_source(root)
    whole, held = list_source(root, val_split=0.3), list_source(root, val_split=0.3).splits["val"]
    assert np.bincount(held.labels).tolist() == [2, 2, 2] == [round(0.3 * len(f)) for f in images[0].values()]
    names = whole.splits["train"].names + held.names
    assert sorted(names) == sorted(f"{wnid}/{name}" for wnid, files in images[0].items() for name in files)
    assert held.names == whole.splits["val"].names  # drawn by the seed alone
    with pytest.raises(UsageError, match="has validation images; leave the flag out"):
        list_source(root.parent, val_split=0.1)


def test_images_without_a_class_are_noted(tree):
    root = tree("kaggle")
    base = root / "ILSVRC/Data/CLS-LOC"
    trees.put(base / "val" / "stranger.JPEG", b"x")
    (base / "train" / "n05000000").mkdir()
    for file in (base / "train" / "n03888257").iterdir():
        file.unlink()
    (base / "train" / "n03888257").rmdir()
    listing = list_source(root)
    assert listing.notes == [
        "validation images without a label in LOC_val_solution.csv are left out: 1, for example 'stranger.JPEG'",
        "validation images of classes without training images are left out: 3 of n03888257",
        "the class n05000000 has no training images"]
    assert len(listing.splits["val"]) == 4 and [w for w, _ in listing.classes][-1] == "n05000000"


def test_files_that_are_not_images_by_their_names_are_skipped(tree):
    root = tree("imagenette")
    folder = root / "train" / "n01440764"
    before = len(list_source(root).splits["train"])
    for name in (".DS_Store", "._n01440764_1.JPEG", "boxes.txt", "Thumbs.db", "odd name, no suffix"):
        trees.put(folder / name, b"x")
    (folder / "folder").mkdir()
    (folder / "dangling.JPEG").symlink_to("nowhere")
    assert len(list_source(root).splits["train"]) == before + 1  # the last one may be an image


@pytest.mark.parametrize("layout, gone, message", [
    ("kaggle", "LOC_val_solution.csv", "cannot read .*LOC_val_solution.csv, the labels of the validation images"),
    ("official", "ILSVRC2012_devkit_t12.tar.gz", "ILSVRC2012_img_val.tar, but not its labels"),
    ("official", "ILSVRC2012_img_val.tar", "no validation images: expected ILSVRC2012_img_val.tar"),
    ("tiny", "val/val_annotations.txt", "cannot read .*val_annotations.txt"),
])
def test_a_missing_part_is_named(layout, gone, message, tree):
    root = tree(layout)
    (root / gone).unlink()
    with pytest.raises(DataError, match=message):
        list_source(root)


def test_what_is_not_imagenet_is_refused_with_what_was_expected(tmp_path, tree):
    with pytest.raises(DataError, match="there is no folder"):
        list_source(tmp_path / "nowhere")
    trees.put(tmp_path / "file", b"")
    with pytest.raises(DataError, match="is a file; give the folder"):
        list_source(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="it has nothing; expected ILSVRC/Data/CLS-LOC"):
        list_source(tmp_path / "empty")
    with pytest.raises(DataError, match="has no ILSVRC2012_img_train.tar, which the official layout has"):
        list_source(tmp_path / "empty", "official")
    inner = tree("tiny")
    with pytest.raises(DataError, match=f"but {inner} has; give that folder"):
        list_source(tmp_path)


def test_a_val_folder_without_class_folders_is_told_apart(tree):
    root = tree("folders")
    for file in [*(root / "val").glob("*/*")]:
        file.rename(root / "val" / file.name)
    for folder in [*(root / "val").glob("*/")]:
        folder.rmdir()
    with pytest.raises(DataError, match="but the images lie in it without folders"):
        list_source(root)


def test_an_unreadable_file_is_not_taken_for_a_bad_image(tree):
    """A disk that fails must stop the work, not empty the data set."""
    root = tree("folders")
    listing = list_source(root)
    (root / listing.splits["train"].names[0]).unlink()
    with pytest.raises(DataError, match="cannot read .*No such file"):
        listing.splits["train"].read(0)


@pytest.mark.parametrize("place", ["before the last member", "in its header", "in its data", "at its end"])
@pytest.mark.parametrize("which", ["train", "val"])
def test_a_tar_cut_short_is_an_error(which, place, tree):
    """tarfile itself notices only one of these."""
    root = tree("official")
    path = root / f"ILSVRC2012_img_{which}.tar"
    with tarfile.open(path) as tar:
        last = tar.getmembers()[-1]
    cut = {"before the last member": last.offset, "in its header": last.offset + 99,
           "in its data": last.offset_data + 99, "at its end": last.offset_data + last.size + -last.size % 512}[place]
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(DataError, match=f"{path.name}.* is cut short, damaged or not a tar"):
        list_source(root)


def test_a_damaged_devkit_is_an_error(tree):
    root = tree("official")
    kit = root / "ILSVRC2012_devkit_t12.tar.gz"
    whole = kit.read_bytes()
    for damaged in (b"", b"nonsense" * 99, whole[:len(whole) // 2], trees.tar_of([("x/data/meta.mat", b"MATLAB")])):
        kit.write_bytes(damaged)
        with pytest.raises(DataError, match="development kit .* is damaged or another one"):
            list_source(root)


def test_an_unpacked_devkit_is_accepted(tree):
    root = tree("official")
    before = list_source(root)
    with tarfile.open(root / "ILSVRC2012_devkit_t12.tar.gz") as tar:
        tar.extractall(root, filter="data")
    (root / "ILSVRC2012_devkit_t12.tar.gz").unlink()
    after = list_source(root)
    assert after.classes == before.classes and (after.splits["val"].labels == before.splits["val"].labels).all()


HOSTILE = ("/etc/n01440764_66.JPEG", "../../n01440764_67.JPEG", "n01440764/../../../n01440764_68.JPEG")


def test_hostile_members_of_tars_stay_bytes(tmp_path, images):
    """Absolute names, names that climb, links and devices: the first two are images like others, nothing is written."""
    train, val = images
    root = tmp_path / "source"
    trees.official(root, train, val)
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE):
            link = tarfile.TarInfo(f"n01440764_{kind.decode()}.JPEG")
            link.type, link.linkname = kind, "/etc/passwd"
            tar.addfile(link)
        for name in HOSTILE:
            info = tarfile.TarInfo(name)
            info.size = 3
            tar.addfile(info, io.BytesIO(b"abc"))
    (root / "ILSVRC2012_img_train.tar").write_bytes(trees.tar_of(
        [("../n01440764.tar", file.getvalue()), ("../../evil.tar", b""), ("/n9.tar", b"")]))
    before = sorted(tmp_path.rglob("*"))
    split = list_source(root).splits["train"]
    assert sorted(tmp_path.rglob("*")) == before
    assert len(split) == 3 and all(split.read(i) == b"abc" for i in range(3))
    assert sorted(name.split(":")[-1] for name in split.names) == sorted(HOSTILE)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_mat_file_written_by_hand(compressed, order):
    synsets = [(1, "n02119789", "kit fox, Vulpes macrotis", 0), (1000, "n07555863", "café", 0), (1001, "n1", "x", 40)]
    read = mat_variables(trees.mat_file(synsets, compressed, order))["synsets"]
    assert [(int(s["ILSVRC2012_ID"][0]), s["WNID"], s["words"], int(s["num_children"][0])) for s in read] == synsets


@pytest.mark.parametrize("compressed", [False, True])
def test_mat_files_of_another_writer(compressed):
    io_ = pytest.importorskip("scipy.io")
    fields = ("ILSVRC2012_ID", "WNID", "words", "children", "num_children")
    array = np.zeros((3, 1), [(name, object) for name in fields])
    for i in range(3):
        array[i, 0] = (float(i + 1), f"n{i:08}", "añ" * i, np.arange(float(i)), float(i == 2))
    file = io.BytesIO()
    io_.savemat(file, {"synsets": array, "other": np.array([1, "cell"], object)}, do_compression=compressed)
    read = mat_variables(file.getvalue())["synsets"]
    assert [(s["ILSVRC2012_ID"][0], s["WNID"], s["words"]) for s in read] == [
        (i + 1, f"n{i:08}", "añ" * i) for i in range(3)]


def test_a_mat_file_cut_anywhere_raises_what_the_reader_expects(tmp_path, images):
    """Never an endless loop, never a crash of another kind."""
    raw = trees.mat_file([(1, "n02119789", "kit fox", 0), (2, "n1", "x", 40)], compressed=False)
    kit = tmp_path / "kit" / "data"
    trees.put(kit / "ILSVRC2012_validation_ground_truth.txt", "1\n1\n")
    trees.put(kit / "meta.mat", raw)
    assert read_devkit(kit.parent) == ({"n02119789": "kit fox"}, ["n02119789"] * 2)
    for cut in range(0, len(raw), 7):
        trees.put(kit / "meta.mat", raw[:cut])
        with pytest.raises(DataError, match="is damaged or another one"):
            read_devkit(kit.parent)


def test_drawn_pictures_are_of_many_sizes_and_depend_on_name_and_label_alone():
    from PIL import Image

    raw = [draw_picture(f"train/{i:08}.JPEG", 3) for i in range(6)]
    sizes = {Image.open(io.BytesIO(r)).size for r in raw}
    assert len(sizes) == 6 and all(320 <= max(s) < 640 and min(s) < max(s) for s in sizes)
    assert raw[2] == draw_picture("train/00000002.JPEG", 3) != draw_picture("val/00000002.JPEG", 3)
    assert raw[2] != draw_picture("train/00000002.JPEG", 4)


def test_a_drawn_set_is_balanced_and_its_splits_are_apart():
    listing = list_synthetic(60, 12)
    assert len(listing.classes) == 12 and listing.classes == sorted(listing.classes)
    assert len({name for _, name in listing.classes}) == 12
    assert (np.bincount(listing.splits["train"].labels) == 5).all() and len(listing.splits["val"]) == 12
    for count, classes in ((5, 10), (10, 0), (5000, 1001)):
        with pytest.raises(UsageError, match="expected 1 to 1000 classes"):
            list_synthetic(count, classes)


def test_imagenette_s_names_are_the_ones_of_the_official_list():
    assert {w: imagenet_words()[w] for w in trees.WORDS} == trees.WORDS
    assert len(IMAGENETTE) == 10 and set(trees.WORDS) < IMAGENETTE < set(imagenet_words())
