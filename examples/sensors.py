"""Two sensors that fail: how accurate is an accelerometer without a gyroscope, and the other way round?

The readings are generated. Each sensor recognises one movement of three, and fails in a third of
the rows.
"""

from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pyarrow as pa
import pyarrow.csv

import altuna
from altuna.comparison.robustness import robustness

MOVEMENTS = ("sitting", "walking", "turning")


def write_table(path: Path, samples: int = 600) -> Path:
    """Write a manifest in which columns with one prefix (acc_0 to acc_5) form one modality."""
    rng = np.random.default_rng(0)
    movement = rng.integers(3, size=samples)
    # By movement, the shift of a sensor's six readings.
    seen = {"acc": np.array([0, 2, 0]), "gyro": np.array([0, 0, 2])}
    table = {"id": [*range(samples)], "label": [MOVEMENTS[m] for m in movement]}
    failed = rng.integers(3, size=samples)  # 0: acc, 1: gyro, 2: none
    for number, (sensor, shift) in enumerate(seen.items()):
        readings = rng.normal(shift[movement][:, None] * 0.6, 1, size=(samples, 6))
        for column in range(6):
            table[f"{sensor}_{column}"] = pa.array(readings[:, column], mask=failed == number)
    pyarrow.csv.write_csv(pa.table(table), path)
    return path


def main() -> None:
    """Train, then test with every subset of sensors and at increasing missing rates."""
    folder = Path(mkdtemp(prefix="altuna-"))
    data = write_table(folder / "readings.csv")
    run = altuna.fit(data, epochs=15, out=folder / "run", logger="none", quiet=True)
    tested = robustness([run], rates=[0.1, 0.2], masks=3)
    print((tested / "robustness.md").read_text(encoding="utf-8"))
    print(f"The same with plots: robustness.html in {tested}")


if __name__ == "__main__":
    main()
