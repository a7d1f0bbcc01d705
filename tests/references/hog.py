"""Histograms of gradients and of colours, pixel by pixel in float64."""

import math

import numpy as np


def gradients(picture):
    """Return the normalised blocks of a picture [3, H, W] of 0..1: 36 numbers for each block, row by row."""
    roots = np.sqrt(np.asarray(picture, np.float64))
    _, height, width = roots.shape
    cells = np.zeros((9, height // 8, width // 8))
    for y in range(height // 8 * 8):
        for x in range(width // 8 * 8):
            pairs = []
            for channel in roots:
                dx = channel[y, min(x + 1, width - 1)] - channel[y, max(x - 1, 0)]
                dy = channel[min(y + 1, height - 1), x] - channel[max(y - 1, 0), x]
                pairs.append((dx * dx + dy * dy, dx, dy))
            energy, dx, dy = max(pairs, key=lambda pair: pair[0])
            angle = math.atan2(dy, dx)
            for k in range(9):
                cells[k, y // 8, x // 8] += math.sqrt(energy) * math.cos(angle - math.pi * k / 9) ** 16 / 64
    blocks = []
    for y in range(height // 8 - 1):
        row = []
        for x in range(width // 8 - 1):
            block = np.concatenate([cells[:, y + i, x + j] for i in (0, 1) for j in (0, 1)])
            block = np.minimum(block / math.sqrt((block**2).sum() + 1e-4), 0.2)
            row.append(block / math.sqrt((block**2).sum() + 1e-6))
        blocks.append(row)
    return np.array(blocks).transpose(2, 0, 1).ravel()


def colours(picture):
    """Return the square roots of the histogram of 4 x 4 x 4 colours of a picture [3, H, W]."""
    picture = np.asarray(picture, np.float64)
    histogram = np.zeros((4, 4, 4))
    for pixel in picture.reshape(3, -1).T:
        red, green, blue = ([max(0.0, 1 - abs(3 * value - level)) for level in range(4)] for value in pixel)
        histogram += np.einsum("r,g,b->rgb", red, green, blue) / picture[0].size
    return np.sqrt(histogram.ravel() + 1e-8)
