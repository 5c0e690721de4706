"""What was measured, as a page of tables and one picture."""

import json
from dataclasses import asdict
from pathlib import Path

INK, BAR, GRID = "#24292f", "#2f6f9f", "#d0d7de"


def write(results, wrong, machine, directory: Path):
    """Write NAME.md, NAME.json and NAME.svg, NAME being the date and the commit, and what was measured unless it was all."""
    directory.mkdir(exist_ok=True)
    name = "-".join([machine["date"], machine["commit"], *([] if machine["all"] else [result.name for result in results])])
    found = {"machine": machine, "results": [asdict(result) for result in results], "wrong": wrong}
    (directory / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")
    (directory / f"{name}.md").write_text(page(results, wrong, machine, f"{name}.svg"))
    picture(results, machine, directory / f"{name}.svg")
    return directory / f"{name}.md"


def page(results, wrong, machine, image):
    lines = [f"# Benchmarks of {machine['date']}", ""]
    lines += [f"- **{key}**: {value}" for key, value in machine.items() if key != "all"]
    lines += ["", "All goals are met." if not wrong else "Goals that were missed, and benchmarks that failed:", ""]
    lines += [f"- {line}" for line in wrong]
    lines += ["", "Medians; the spread is from the lowest to the highest.", "", f"![All figures as bars]({image})", ""]
    for result in results:
        lines += [f"## {result.title}", "", result.about, "", "| What | Median | Spread | Runs |", "|---|---|---|---|"]
        for row in result.rows:
            spread = f"{figure(min(row.samples))} to {figure(max(row.samples))}"
            lines.append(f"| {row.what} | {figure(row.median)} {row.unit} | {spread} | {len(row.samples)} |")
        lines += ["", "| Claim | Value | Goal | |", "|---|---|---|---|"]
        for claim in result.claims:
            verdict = {True: "met", False: "**missed**", None: ""}[claim.met]
            lines.append(f"| {claim.what} | {figure(claim.value)} {claim.unit} | {claim.goal} | {verdict} |")
        lines.append("")
    return "\n".join(lines)


def figure(value):
    """Three digits are what a few runs are good for."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def picture(results, machine, path):
    """One panel a benchmark and unit, bars from zero, whiskers from the lowest to the highest."""
    # here, because it is large, and what is measured should run beside nothing large
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    panels = [(result, unit) for result in results for unit in dict.fromkeys(row.unit for row in result.rows)]
    rows = [[row for row in result.rows if row.unit == unit] for result, unit in panels]
    plt.rcParams.update({"font.size": 9, "text.color": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK, "svg.hashsalt": "benches", "svg.fonttype": "none"})
    heights = [0.9 + 0.34 * len(shown) for shown in rows]
    drawing, axes = plt.subplots(
        len(panels), 1, figsize=(9, sum(heights)), squeeze=False, layout="constrained", gridspec_kw={"height_ratios": heights}
    )
    for ((result, unit), shown, axis) in zip(panels, rows, axes[:, 0]):
        panel(axis, result.title, unit, shown)
    drawing.suptitle(f"{machine['date']}, commit {machine['commit']}, {machine['processors']}", fontsize=8)
    drawing.savefig(path, metadata={"Date": None})
    plt.close(drawing)


def panel(axis, title, unit, rows):
    medians = [row.median for row in rows]
    whiskers = [[row.median - min(row.samples) for row in rows], [max(row.samples) - row.median for row in rows]]
    places = range(len(rows))
    axis.barh(places, medians, xerr=whiskers, color=BAR, ecolor=INK, capsize=2, height=0.6)
    axis.set_yticks(places, [row.what.replace("`", "") for row in rows])
    axis.invert_yaxis()
    axis.set_title(f"{title} ({unit})", loc="left", fontsize=10)
    axis.set_xlim(0, max(max(row.samples) for row in rows) * 1.12)
    axis.grid(axis="x", color=GRID, linewidth=0.6)
    axis.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    for place, row in zip(places, rows):
        axis.text(max(row.samples), place, f"  {figure(row.median)}", va="center", fontsize=8)
