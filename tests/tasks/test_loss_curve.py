"""The loss of a training as a picture."""

from base64 import b64decode
from xml.etree import ElementTree

import pytest

from tasks.training.loss_curve import HEIGHT, WIDTH, loss_curve, smooth

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("losses", [[0.2], [0.2, 0.2], [0.3, 0.1, 0.2], [float(step % 7) for step in range(400)]])
def test_every_loss_is_within_the_picture(losses: list[float]) -> None:
    points = [(10 * index, loss) for index, loss in enumerate(losses)]
    kind, _, content = loss_curve(points, 10 * len(points), "a <title> & more").partition(",")
    assert kind == "data:image/svg+xml;base64"
    picture = ElementTree.fromstring(b64decode(content))
    raw, mean = picture.findall(f"{SVG}polyline")
    for line in (raw, mean):
        corners = [tuple(map(float, corner.split(","))) for corner in line.attrib["points"].split()]
        assert len(corners) == len(points)
        assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in corners)
        assert corners == sorted(corners, key=lambda corner: corner[0])
    assert "a <title> & more" in [text.text for text in picture.findall(f"{SVG}text")]


def test_a_lower_loss_is_drawn_lower() -> None:
    picture = ElementTree.fromstring(b64decode(loss_curve([(0, 0.3), (10, 0.1)], 10, "").partition(",")[2]))
    corners = picture.findall(f"{SVG}polyline")[0].attrib["points"].split()
    first, last = (float(corner.split(",")[1]) for corner in corners)
    assert last > first, "the axis of a screen points down"


def test_the_mean_is_of_neighbours() -> None:
    assert smooth([(0, 1.0), (1, 3.0), (2, 5.0)]) == [(0, 2.0), (1, 3.0), (2, 4.0)]
