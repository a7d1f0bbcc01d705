"""A reporter that keeps the remarks of a training."""

from altuna.reporting import Reporter


class Notes(Reporter):
    """Keeps each remark, a text, in ``texts``."""

    def __init__(self):
        self.texts = []

    def note(self, text):
        self.texts.append(text)
