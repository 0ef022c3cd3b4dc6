"""What a person needs to see of a city that was just built: one HTML page with pictures, and lines for a terminal.

Names of cells, files and reasons come from strangers: the page escapes them and forbids scripts and requests, the lines
hold no control characters (nor is their text markup: whoever prints them escapes what the printer would read).

facts.py    what both say; report.py what the build counted
page.py     the page
lines.py    the terminal; letters.py draws its map and bars
"""

from fomo.app.service.city_page.lines import city_lines
from fomo.app.service.city_page.page import city_page

__all__ = ["city_lines", "city_page"]
