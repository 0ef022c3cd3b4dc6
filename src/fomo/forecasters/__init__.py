"""Everything that answers a task with a forecast: FoMo, the simple rules, and (one file each) its rivals."""
