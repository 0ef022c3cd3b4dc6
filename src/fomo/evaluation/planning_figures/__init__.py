"""Figures of plans: strategies side by side (Figure 11), and what each application does over time and on the map.

They take plain arrays and rows, never a plan of a solver. Names and units come from strangers: they are drawn as plain
text, never read as formulas. A strategy has one colour in all of them.

strategies.py   the comparison, its sensitivity, and how strategies and numbers look
sleep.py        load and radio units that are on; scheduling.py resource blocks, backlog and delay
deployment.py   stations on the map, coverage by hour
"""

from fomo.evaluation.planning_figures.deployment import coverage_figure, deployment_figure
from fomo.evaluation.planning_figures.scheduling import scheduling_figure
from fomo.evaluation.planning_figures.sleep import sleep_figure
from fomo.evaluation.planning_figures.strategies import sensitivity_figure, strategies_figure

__all__ = [
    "coverage_figure",
    "deployment_figure",
    "scheduling_figure",
    "sensitivity_figure",
    "sleep_figure",
    "strategies_figure",
]
