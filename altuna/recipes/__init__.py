"""Data by name: the built-in data sets, and the public releases that ``altuna prepare`` knows.

This file has the names only, so that the command line can list them without importing what reads data.
"""

NAMES = (
    "emoji",
    "htad",
    "htad-sessions",
    "watch",
    "watch-series",
    "digits-views",
    "av-digits",
    "av-digits-hard",
)
RELEASES = ("cremad", "kinetics-sounds", "food101", "mvsa", "iemocap", "av-digits", "av-digits-hard", "icons")
