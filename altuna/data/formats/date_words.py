"""Write dates with words as ``strptime`` reads them: names of months in other languages, 3rd, 31 janvier."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

MONTHS = {  # English month to the names of other languages
    "January": "januar|jänner|janvier|enero|gennaio|janeiro|januari",
    "February": "februar|février|fevrier|febrero|febbraio|fevereiro|februari",
    "March": "märz|maerz|mars|marzo|março|maart",
    "April": "avril|abril|aprile",
    "May": "mai|mayo|maggio|maio|mei",
    "June": "juni|juin|junio|giugno|junho",
    "July": "juli|juillet|julio|luglio|julho",
    "August": "août|aout|agosto|augustus",
    "September": "septembre|septiembre|setiembre|settembre|setembro",
    "October": "oktober|octobre|octubre|ottobre|outubro",
    "November": "novembre|noviembre|novembro",
    "December": "dezember|décembre|decembre|diciembre|dicembre|dezembro",
}
SPELLINGS = (  # patterns, and what they are replaced by, in this order
    (r"^datetime\.datetime\((\d{4}), (\d\d?), (\d\d?).*\)$", r"\1-\2-\3"),
    (r"^\[?(\d\d?)/([A-Za-z]{3})/(\d{4}):(\d\d:\d\d:\d\d)( [+-]\d{4})?\]?$", r"\1 \2 \3 \4"),  # of Apache
    (r"^(\d{4})[年년]\s?(\d\d?)[月월]\s?(\d\d?)[日일]", r"\1-\2-\3"),
    (r"^(\d{4})\. (\d\d?)\. (\d\d?)\.?$", r"\1-\2-\3"),  # as in Korea
    (r"^\w+day,\s+", ""),
    (r"(\d)(?:st|nd|rd|th)\b", r"\1"),
    (r"^(\d\d?)\. (\D)", r"\1 \2"),  # 3. März
    (r"(\d) de (\D+?) (?:de |del )?(\d)", r"\1 \2 \3"),
    (r"(\d{4}),\s+(\d)", r"\1 \2"),  # before a time
    # a quarter is its first month
    *((rf"^(\d{{4}})[ -]?Q{q}$", rf"\1-{3 * q - 2:02}") for q in (1, 2, 3, 4)),
    *((rf"^Q{q}[ /-]?(\d{{4}})$", rf"\1-{3 * q - 2:02}") for q in (1, 2, 3, 4)),
    (r"^(\d{4})[mM](\d)$", r"\1-0\2"),  # as Stata writes months
    (r"^(\d{4})[mM](\d\d)$", r"\1-\2"),
    *((rf"(?i)\b(?:{names})\b", month) for month, names in MONTHS.items()),
)
LETTERS = (  # what such dates have, and others have not
    r"^\pL{3,12},? .*\d{4}|\d\D{1,6}\pL{3}.*\d{4}|^\[?\d\d?/[A-Z]|^\d{4}([年년]|\. )|^datetime\."
    r"|^\d{4}[ -]?[QmM]\d\d?$|^Q\d[ /-]?\d{4}$"
)
LOOKED_AT, MAX_LENGTH = 20, 50  # cells that tell whether a column has such dates, and their characters


def plain_dates(cells: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return texts in which dates have English months and no other words; other columns stay as they are.

    Example:
        >>> plain_dates(pa.chunked_array([["3. März 2020", "31 de mayo de 2021", None]])).to_pylist()
        ['3 March 2020', '31 May 2021', None]
    """
    first = cells.slice(0, 10 * LOOKED_AT).drop_null().slice(0, LOOKED_AT)
    if not len(first) or pc.max(pc.utf8_length(first)).as_py() > MAX_LENGTH:
        return cells
    if pc.mean(pc.match_substring_regex(first, LETTERS).cast(pa.float64())).as_py() <= 0.5:
        return cells
    for pattern, replacement in SPELLINGS:
        cells = pc.replace_substring_regex(cells, pattern, replacement)
    return cells
