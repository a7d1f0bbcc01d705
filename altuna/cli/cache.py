"""``altuna cache``."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

from altuna.cli.flags import apply_flags, given_options, naming, with_flags
from altuna.options import validate
from altuna.training.config import FitConfig, options
from altuna.training.option_fields import COMMON, DATA, MISSING, MODEL, marker, option

BEFORE_TRAINING = (COMMON, DATA, MODEL, MISSING)


# Of the common options, those that change what is prepared; the others are accepted in a --config file.
LATER = ("epochs", "time_limit", "out", "resume")


@with_flags(
    {
        name: field
        for name, field in options().items()
        if marker(field, "group") in BEFORE_TRAINING and name not in LATER
    }
    | {"quiet": option(False, "Print nothing.", COMMON)}
)
def cache(config: Path | None, set_: list[str] | None, **flags: Any) -> None:
    """Prepare the data, and print what there is of each modality."""
    of_file = given_options(config, None, {})
    if of_file:
        validate(FitConfig, of_file, str(config))
    given = apply_flags(deepcopy(of_file), set_, flags)
    with naming(config, of_file, given):
        checked = validate(FitConfig, given)

    from altuna.cli.fit import show_problems
    from altuna.files import cache_folder
    from altuna.terminal import tables
    from altuna.terminal.console import out, reporter
    from altuna.training.fit import cache as prepare

    stores = prepare(**given, reporter=reporter(checked.quiet))
    if not checked.quiet:
        folder = checked.store or cache_folder() / "store"
        out.print(tables.stores_table(stores))
        show_problems(folder / "problems.csv")
        out.print(f"prepared in {folder}", soft_wrap=True, markup=False)
