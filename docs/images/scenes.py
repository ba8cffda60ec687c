"""Draw docs/images/scenes.png: python docs/images/scenes.py"""

from pathlib import Path

from PIL import Image, ImageDraw

from emodo.synthetic.scenes import EMOTIONS, SCENES, Look, draw, odds

SIZE, LEFT, GAP = 96, 96, 4


def main() -> None:
    """Six places of each kind, as training pairs them with the emotions and as a reversed test does."""
    emotions = EMOTIONS["valence"]
    usual = odds(emotions, 1.0).argmax(axis=1)
    page = Image.new("RGB", (LEFT + 6 * (SIZE + GAP), 4 * (SIZE + GAP)), "white")
    pen = ImageDraw.Draw(page)
    for line in range(4):
        part, shown, goes_with = ("train", "test")[line // 2], line % 2, (line % 2 + line // 2) % 2
        places = [row for row in range(len(SCENES)) if usual[row] == goes_with]
        pen.text((4, line * (SIZE + GAP) + 34), ("training", "reversed test")[line // 2], "black", font_size=14)
        pen.text((4, line * (SIZE + GAP) + 52), emotions[shown], "black", font_size=14)
        for column, place in enumerate(places):
            picture = draw(2, part, place + 12 * column, emotions[shown], Look(size=SIZE))
            page.paste(Image.fromarray(picture.pixels), (LEFT + column * (SIZE + GAP), line * (SIZE + GAP)))
    page.save(Path(__file__).with_name("scenes.png"), optimize=True)


if __name__ == "__main__":
    main()
