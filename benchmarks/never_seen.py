"""Cities and the weights of runs that never saw them, recipes/without-NAME.toml."""

CITIES = {
    "jinan": "without-jinan",
    "mobile_nanjing": "without-mobile-nanjing",
    "nanchang_grid": "without-nanchang-grid",
    "milan_20x20": "without-milan",
}
