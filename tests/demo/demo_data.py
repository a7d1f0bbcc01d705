"""Names that are HTML or too long for a page, and what Gradio says of an upload."""

NASTY = "<img src=x onerror=alert(1)>"
LONG = "Donaudampfschifffahrtselektrizitaetenhauptbetriebswerk"
META = {"_type": "gradio.FileData"}
