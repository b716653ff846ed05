"""Depth made for pictures that have none: what is written is what the networks gave, where they agree."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from depthnet_ros.evaluation.metrics import spearman
from depthnet_ros.inference.ensemble import consensus
from depthnet_ros.inference.estimator import DepthEstimator
from test.training_data.full_disk import files_of_at_most
from training import pseudo_label as command
from training.datasets.base import DatasetError, TargetKind, open_dataset
from training.pseudo_label import PseudoIndex, label, members_of, pictures, to_png

RAMP = np.linspace(0.0, 1.0, 96, dtype=np.float32)[:, None].repeat(128, axis=1)


def picture(path: Path, seed: int = 0, size: tuple[int, int] = (96, 128)) -> Path:
    """A floor, a wall and a box on it, written as a file."""
    rng = np.random.default_rng(seed)
    image = np.full((*size, 3), 200, np.uint8)
    image[size[0] // 2 :] = (60, 90, 120)
    image[size[0] // 3 : -10, 20:50] = rng.integers(0, 255, 3)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image)
    return path


def test_a_png_keeps_order_and_range():
    known = np.ones(RAMP.shape, bool)
    known[0] = False
    png = to_png(RAMP * 12 - 4, known)
    assert (png[0] == 0).all()
    assert png[known].min() == 1
    assert png.max() == 65_534
    assert (np.diff(png[1:, 0].astype(int)) > 0).all()


def test_pictures_in_a_linked_folder_count(tmp_path: Path):
    """As for the readers: a part of the pictures may lie on another disk."""
    elsewhere, folder = picture(tmp_path / "disk" / "day" / "a.jpg").parent.parent, tmp_path / "in"
    picture(folder / "b.jpg")
    (folder / "more").symlink_to(elsewhere)
    (folder / "self").symlink_to(folder)
    assert pictures(folder, tmp_path / "out") == [folder / "b.jpg", folder / "more" / "day" / "a.jpg"]


def test_the_index_is_what_the_networks_gave(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for number in range(3):
        picture(tmp_path / "in" / f"day {number}" / "a.b.jpg", number)
    (tmp_path / "in" / "broken.png").write_bytes(b"no picture")
    picture(tmp_path / "in" / "tiny.png", size=(20, 20))
    arguments = ["--images", str(tmp_path / "in"), "--dataset", "robot", "--out", str(tmp_path / "out")]
    assert command.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "3 labelled, 0 were there, 2 left out" in printed
    assert "broken.png: cannot be read" in printed

    dataset = open_dataset("index_csv", tmp_path / "out", "train")
    assert len(dataset) == 3
    assert {record.dataset for record in dataset.records} == {"robot"}
    assert len({record.scene for record in dataset.records}) == 3  # a folder is one
    sample = dataset[0]
    assert sample.kind is TargetKind.DISPARITY_AFFINE
    estimator = DepthEstimator.from_weights()
    wanted = estimator.infer_with_mirror(sample.rgb).at_source()
    estimator.close()
    assert spearman(wanted, sample.target, sample.valid_mask) > 0.95
    with pytest.raises(DatasetError, match="nothing in it for split 'val'"):
        open_dataset("index_csv", tmp_path / "out", "val")

    # Interrupted, or with pictures added: only what is new is done.
    picture(tmp_path / "in" / "new.jpg", 9)
    assert command.main(arguments) == 0
    assert "1 labelled, 3 were there, 2 left out" in capsys.readouterr().out
    assert len(open_dataset("index_csv", tmp_path / "out", "train")) == 4


def test_a_recording_is_one_scene_and_photographs_are_not(tmp_path: Path):
    for number in range(3):
        picture(tmp_path / "in" / f"{number}.png", number)
    members = [lambda image: RAMP[: image.shape[0]]]
    for more, scenes in ((False, 1), (True, 3)):
        out = tmp_path / str(more)
        list(label(tmp_path / "in", PseudoIndex(out), "robot", members, scene_per_picture=more))
        assert len({record.scene for record in open_dataset("index_csv", out, "train").records}) == scenes


def test_no_picture_takes_the_name_of_another(tmp_path: Path):
    """Two recordings of like file names; names of which only the letters outside ASCII differ; two formats of one."""
    for name in ("hall/0.png", "lab/0.png", "in/\u623f\u95f4.png", "in/\u53a8\u623f.png", "in/a.png", "in/a.bmp"):
        picture(tmp_path / name)
    index, members = PseudoIndex(tmp_path / "out"), [lambda image: RAMP[: image.shape[0]]]
    for folder in ("hall", "lab", "in"):
        assert {what for _, what in label(tmp_path / folder, index, "robot", members)} == {"labelled"}
    assert len(open_dataset("index_csv", tmp_path / "out", "train")) == 6
    assert {what for _, what in label(tmp_path / "in", index, "robot", members)} == {"there"}


@pytest.mark.parametrize("where", [".", "labels", "../labels"])
def test_what_was_written_among_the_pictures_is_not_labelled_again(tmp_path: Path, where: str):
    images, members = tmp_path / "in", [lambda image: RAMP[: image.shape[0]]]
    picture(images / "hall" / "a.png")
    for what in ("labelled", "there"):
        index = PseudoIndex(images / where)
        assert [fate for _, fate in label(images, index, "robot", members)] == [what]
    with pytest.raises(DatasetError, match=r"no picture .* name another folder with --images or --out"):
        list(label(images / where / "img", index, "robot", members))


def test_one_network_is_asked_about_the_mirror_image():
    estimator = DepthEstimator.from_weights()
    rng = np.random.default_rng(0)
    image = cv2.resize(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8), (128, 96), interpolation=cv2.INTER_CUBIC)
    _, spread = consensus([member(image) for member in members_of([estimator])])
    assert spread.max() > 0.05
    estimator.close()


def test_a_picture_on_which_networks_disagree_is_left_out(tmp_path: Path):
    picture(tmp_path / "in" / "a.png")
    index = PseudoIndex(tmp_path / "out")
    members = [lambda image: RAMP[: image.shape[0]], lambda image: -RAMP[: image.shape[0]]]
    ((_, what),) = label(tmp_path / "in", index, "robot", members)
    assert what.startswith("the networks agree on")
    assert list((tmp_path / "out" / "depth").iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--images", "nowhere"], "no picture"),
        (["--dataset", "a b"], "letters, digits"),
        (["--every", "0"], "--every of 1 or more"),
        (["--weights", "nothing.onnx"], "nothing.onnx"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: list[str], message: str):
    picture(tmp_path / "in" / "a.png")
    arguments = ["--images", str(tmp_path / "in"), "--dataset", "robot", "--out", str(tmp_path / "out"), *changes]
    assert command.main(arguments) == 1
    assert message in capsys.readouterr().err


def test_a_full_disk_is_said(tmp_path: Path):
    picture(tmp_path / "in" / "a.png")
    index = PseudoIndex(tmp_path / "out")
    (tmp_path / "out" / "img").rmdir()
    with pytest.raises(DatasetError, match="cannot write"):
        list(label(tmp_path / "in", index, "robot", [lambda image: RAMP[: image.shape[0]]]))
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(DatasetError, match="cannot write"):
        PseudoIndex(tmp_path / "file")


def test_a_disk_that_is_full_in_the_middle_of_a_row_leaves_an_index(tmp_path: Path):
    picture(tmp_path / "in" / "a.png")
    out, members = tmp_path / "out", [lambda image: RAMP[: image.shape[0]]]
    PseudoIndex(out)
    row = "x,img/a.jpg,depth/a.png,disparity_pseudo,1,0,s,train\n"
    (out / "index.csv").write_text((out / "index.csv").read_text() + row * 800)  # larger than a picture
    before = (out / "index.csv").read_bytes()
    index = PseudoIndex(out)
    with files_of_at_most(len(before) + 60), pytest.raises(DatasetError, match=r"cannot write .*index\.csv"):
        list(label(tmp_path / "in", index, "robot", members))
    assert (out / "index.csv").read_bytes() == before
    assert [what for _, what in label(tmp_path / "in", index, "robot", members)] == ["labelled"]
    assert len(open_dataset("index_csv", out, "train")) == 801


@pytest.mark.parametrize(
    ("kept", "end"), [(10, b""), (10, b"\n"), (-8, b""), (-8, b"\n"), (-5, b""), (-2, b"")], ids=str
)
def test_a_row_cut_short_is_done_again(tmp_path: Path, kept: int, end: bytes):
    """After the name of the data set, in the scene, before the split and in it."""
    for number in range(2):
        picture(tmp_path / "in" / f"{number}.png", number)
    out, members = tmp_path / "out", [lambda image: RAMP[: image.shape[0]]]
    list(label(tmp_path / "in", PseudoIndex(out), "robot", members))
    whole = (out / "index.csv").read_bytes()
    first, last = whole.splitlines(keepends=True)[:-1], whole.splitlines()[-1]
    (out / "index.csv").write_bytes(b"".join(first) + last[:kept] + end)
    done = [what for _, what in label(tmp_path / "in", PseudoIndex(out), "robot", members)]
    assert done == ["there", "labelled"]
    assert (out / "index.csv").read_bytes() == whole


def test_a_row_cut_short_in_the_middle_is_named(tmp_path: Path):
    PseudoIndex(tmp_path)
    whole = (tmp_path / "index.csv").read_text()
    row = "x,img/a.jpg,depth/a.png,disparity_pseudo,1,0,s,train\n"
    (tmp_path / "index.csv").write_text(f"{whole}{row}x,img/b\n{row}")
    with pytest.raises(DatasetError, match=r"index\.csv, line 3 is cut short: delete that line"):
        PseudoIndex(tmp_path)
    (tmp_path / "index.csv").write_text("")  # created when there was no room
    PseudoIndex(tmp_path)
    assert (tmp_path / "index.csv").read_text() == whole


def test_an_index_of_another_order_is_added_to_in_its_own(tmp_path: Path):
    picture(tmp_path / "in" / "a.jpg")
    out = tmp_path / "out"
    out.mkdir()
    (out / "index.csv").write_text("image,gt,dataset,kind,scale,invalid,scene,licence,split")  # and no end of line
    list(label(tmp_path / "in", PseudoIndex(out), "robot", [lambda image: RAMP[: image.shape[0]]]))
    dataset = open_dataset("index_csv", out, "train")
    assert len(dataset) == 1 and dataset.records[0].dataset == "robot" and dataset[0].rgb.shape[0] > 64
    (out / "index.csv").write_text("picture,depth\n")
    with pytest.raises(DatasetError, match=r"are missing; .* name another folder with --out"):
        PseudoIndex(out)
