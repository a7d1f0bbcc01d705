"""Train on a table of generated pictures and captions, and predict samples that lack a picture or a caption.

The colour is only in the picture, the mood is only in the caption, and the four classes need both.
The run and its report are in a temporary folder, whose path is printed.
"""

import csv
import random
from pathlib import Path
from tempfile import mkdtemp

from PIL import Image, ImageDraw

import altuna

COLOURS = {"red": (200, 60, 50), "blue": (50, 80, 200)}
WORDS = {"calm": ("a quiet evening", "still and slow"), "wild": ("a roaring storm", "fast and loud")}


def picture(colour: str, draw: random.Random) -> Image.Image:
    """Return a shape of about this colour at a random place."""
    image = Image.new("RGB", (24, 24), "white")
    x, y, size = draw.randrange(8), draw.randrange(8), draw.randrange(8, 16)
    tint = tuple(c + draw.randrange(-50, 50) for c in COLOURS[colour])
    ImageDraw.Draw(image).ellipse((x, y, x + size, y + size), fill=tint)
    return image


def write_table(folder: Path, samples: int = 240) -> Path:
    """Write pictures, and a manifest in which every fifth picture or caption is missing."""
    draw = random.Random(0)
    table = folder / "samples.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "label", "photo", "caption"])
        for i in range(samples):
            colour, mood = draw.choice([*COLOURS]), draw.choice([*WORDS])
            picture(colour, draw).save(folder / f"{i}.png")
            photo, caption = f"{i}.png", draw.choice(WORDS[mood])
            writer.writerow([i, f"{mood} {colour}", photo if i % 5 else "", caption if i % 5 != 1 else ""])
    return table


def main() -> None:
    """Train, then predict a sample with both modalities and two with one each."""
    folder = Path(mkdtemp(prefix="altuna-"))
    run = altuna.fit(
        write_table(folder),
        encoders={"photo": {"width": 8}},
        epochs=12,
        batch_size=32,
        lr=3e-3,
        out=folder / "run",
        logger="none",
    )
    model = altuna.load(run)
    photo = folder / "red.png"
    picture("red", random.Random(1)).save(photo)
    samples = [
        {"photo": photo, "caption": "a roaring storm"},
        {"photo": photo},
        {"caption": "still and slow"},
    ]
    print("\nA red picture and 'a roaring storm'; the picture alone; 'still and slow' alone:")
    for row in model.predict(samples).to_pylist():
        probabilities = {c: f"{row[f'p_{c}']:.0%}" for c in model.classes}
        weights = {m: f"{row[f'weight_{m}']:.0%}" for m in model.modalities}
        print(f"{row['prediction']:<10} {probabilities}  weights: {weights}")


if __name__ == "__main__":
    main()
