"""Features in two dimensions, for plots."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MIN_POINTS = 8  # fewer points than this are not worth a t-SNE
MIN_SPREAD = 1e-5  # of unit vectors in float32 or half precision that are not all the same
COMPONENTS = 50


def feature_map(features: NDArray[np.float32], seed: int = 0) -> tuple[NDArray[np.float64], str]:
    """Return features [N, d] as points [N, 2], and by what: ``t-SNE`` or, without scikit-learn, ``PCA``.

    Van der Maaten and Hinton, 2008; as they did, of the first 50 principal components. The features are put
    on the unit sphere first, where the modality gap is measured.

    Example:
        >>> points, by = feature_map(np.eye(4, 3, dtype=np.float32))
        >>> points.shape, by  # too few for t-SNE
        ((4, 2), 'PCA')
    """
    unit = features / np.linalg.norm(features, axis=1, keepdims=True).clip(1e-12)
    centred = (unit - unit.mean(0)).astype(np.float64)
    left, scale, _ = np.linalg.svd(centred, full_matrices=False)
    parts = (left * scale)[:, :COMPONENTS]
    flat = np.zeros((len(parts), 2))
    flat[:, : parts.shape[1]] = parts[:, :2]
    # Of points that differ by rounding alone, t-SNE makes NaN, on which scikit-learn's ends the process.
    if len(parts) < MIN_POINTS or parts.shape[1] < 2 or scale[0] <= MIN_SPREAD * len(parts) ** 0.5:
        return flat, "PCA"
    try:
        from sklearn.manifold import TSNE
        from threadpoolctl import threadpool_limits  # scikit-learn needs it too
    except ImportError:
        return flat, "PCA"
    perplexity = min(30.0, (len(parts) - 1) / 3)
    tsne = TSNE(init="pca", perplexity=perplexity, max_iter=500, random_state=seed)
    with threadpool_limits(1):  # for so few points others only wait, for seconds where cores are shared
        return tsne.fit_transform(parts), "t-SNE"
