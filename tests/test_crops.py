"""From a photograph to a square: the map against an oracle, and pixels where the map says."""

import math

import numpy as np
import pytest
from PIL import Image

from emodo.crops import cut, on_box, on_eyes, roll

EYES = {
    "level": (400.0, 500.0, 600.0, 500.0),
    "clockwise": (410.0, 480.0, 590.0, 560.0),
    "anticlockwise": (420.5, 530.25, 570.0, 470.5),
    "far": (120.0, 300.0, 860.0, 340.0),
    "close": (500.0, 510.0, 530.0, 505.0),
    "upside down": (600.0, 500.0, 400.0, 510.0),
}


def at(matrix, x, y):
    return (matrix @ [x, y, 1])[:2]


def spots(side, eyes, deviation):
    """A red spot on the first eye and a green one on the second."""
    y, x = np.mgrid[:side, :side] + 0.5
    image = np.zeros((side, side, 3))
    for channel, (left, top) in enumerate((eyes[:2], eyes[2:])):
        image[..., channel] = 255 * np.exp(-((x - left) ** 2 + (y - top) ** 2) / (2 * deviation**2))
    return Image.fromarray(image.round().astype(np.uint8))


def middles(image):
    """Centre of mass of the red and of the green, x and y each."""
    pixels = np.asarray(image, float)
    y, x = np.mgrid[: pixels.shape[0], : pixels.shape[1]] + 0.5
    return [(weight * place).sum() / weight.sum() for weight in (pixels[..., 0], pixels[..., 1]) for place in (x, y)]


@pytest.mark.parametrize("name", EYES)
@pytest.mark.parametrize("place", [(0.35, 0.35), (0.3, 0.45)])
def test_the_eyes_come_to_their_places_and_nothing_is_stretched_or_mirrored(name, place):
    eyes = EYES[name]
    matrix = on_eyes(eyes, 224, place)
    # Oracle: a, b, s, t of x' = a x - b y + s, y' = b x + a y + t, from the four equations of the two eyes.
    equations = [[x, -y, 1, 0] for x, y in (eyes[:2], eyes[2:])] + [[y, x, 0, 1] for x, y in (eyes[:2], eyes[2:])]
    goals = [224 * place[0], 224 * (1 - place[0]), 224 * place[1], 224 * place[1]]
    a, b, s, t = np.linalg.solve(equations, goals)
    np.testing.assert_allclose(matrix, [[a, -b, s], [b, a, t], [0, 0, 1]], rtol=1e-9, atol=1e-9)
    assert np.linalg.det(matrix) > 0


def test_a_head_tilts_to_where_its_lower_eye_is():
    assert roll((10, 20, 30, 20)) == 0
    assert roll((10, 20, 30, 40)) == pytest.approx(45)
    assert roll((10, 20, 30, 0)) == pytest.approx(-45)


def test_a_box_is_in_the_middle_as_large_as_fits():
    matrix = on_box((100, 200, 140, 280), 160)
    np.testing.assert_allclose(at(matrix, 120, 240), [80, 80])
    np.testing.assert_allclose(at(matrix, 100, 200), [40, 0])
    np.testing.assert_allclose(at(matrix, 140, 280), [120, 160])


def test_a_tilted_box_is_turned_upright():
    eyes = (110.0, 230.0, 130.0, 250.0)
    matrix = on_box((100, 200, 140, 280), 160, roll(eyes))
    left, right = at(matrix, *eyes[:2]), at(matrix, *eyes[2:])
    assert left[1] == pytest.approx(right[1])
    assert right[0] - left[0] == pytest.approx(2 * math.hypot(20, 20))
    np.testing.assert_allclose(at(matrix, 120, 240), [80, 80])


@pytest.mark.parametrize("name", EYES)
@pytest.mark.parametrize("size", [64, 224])
def test_the_pixels_are_where_the_map_says(name, size):
    eyes = EYES[name]
    apart = math.hypot(eyes[2] - eyes[0], eyes[3] - eyes[1])
    square = cut(spots(1000, eyes, max(apart / 30, 2)), on_eyes(eyes, size, (0.35, 0.35)), size)
    assert square.size == (size, size)
    expected = [0.35 * size, 0.35 * size, 0.65 * size, 0.35 * size]
    # PyTorch's cubic kernel (a = -0.75) moves a ramp by |2a + 1| d (1 - d) (1 - 2d) at a fraction d: up to 0.048.
    np.testing.assert_allclose(middles(square), expected, rtol=0, atol=0.05)


def test_the_whole_of_an_image_stays_as_it_is():
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    assert (np.asarray(cut(Image.fromarray(pixels), on_box((0, 0, 64, 64), 64), 64)) == pixels).all()


def test_what_is_finer_than_the_square_is_averaged_and_not_sampled():
    stripes = np.zeros((600, 600, 3), np.uint8)
    stripes[:, ::2] = 255
    image, matrix = Image.fromarray(stripes), on_eyes((200.0, 200.0, 400.0, 230.0), 64, (0.35, 0.35))
    back = np.linalg.inv(matrix)[:2].ravel().tolist()
    sampled = image.transform((64, 64), Image.Transform.AFFINE, back, Image.Resampling.BICUBIC)
    assert np.asarray(sampled, float).std() > 40  # what would come of it
    averaged = np.asarray(cut(image, matrix, 64), float)
    assert abs(averaged - 127.5).max() < 4


def test_outside_the_photograph_its_edge_goes_on():
    pixels = np.full((100, 100, 3), 90, np.uint8)
    pixels[:, :20] = (200, 10, 10)
    square = np.asarray(cut(Image.fromarray(pixels), on_box((-60, 20, 60, 140), 120), 120))
    assert (square[:, :75] == (200, 10, 10)).all()
    assert (square[:, 85:] == 90).all()


@pytest.mark.parametrize("box", [(500, 500, 700, 700), (-300, 10, -200, 50), (99.5, 0, 99.9, 0.4)])
def test_a_square_beside_the_photograph_or_below_a_pixel_is_its_edge(box):
    pixels = np.full((100, 100, 3), 77, np.uint8)
    assert (np.asarray(cut(Image.fromarray(pixels), on_box(box, 32), 32)) == 77).all()
