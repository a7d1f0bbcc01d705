"""How values are written in tables: numbers, dates, lists, spellings, and the Arrow types of columns."""
