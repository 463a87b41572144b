# SPDX-License-Identifier: BSD-3-Clause
"""The main job from end to end: causal graphs from real tables, as a short report.

Run it with ``python -m skpapers.demo`` (or ``make demo`` in a clone). It learns the
protein-signalling network of Sachs et al., compares it with the network that biologists
agreed on, selects features by their place in a causal graph inside scikit-learn's grid
search, and saves the pictures. It takes well under a minute after the first run, which
compiles.
"""

from argparse import ArgumentParser
from pathlib import Path
from time import perf_counter
from warnings import catch_warnings, filterwarnings

import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.exceptions import FitFailedWarning
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, KFold, cross_validate
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from skpapers import __version__
from skpapers.causal import (
    CausalFeatureSelector,
    CoLiDE,
    DAGDisplay,
    SortRegress,
    TopologicalSwap,
)
from skpapers.datasets import load_sachs
from skpapers.metrics import dag_metrics
from skpapers.utils._optional import import_optional

# Distances (SHD) that the CoLiDE paper reports for the same 853 rows: S. S. Saboksayr,
# G. Mateos, M. Tepper, "CoLiDE: Concomitant linear DAG estimation", ICLR 2024.
PUBLISHED = {
    "CoLiDE, unequal noise": 12,
    "CoLiDE, equal noise": 13,
    "sort by variance, regress": 13,
}


def sachs_learners():
    """Return the learners of the first part by name."""
    return {
        "CoLiDE, unequal noise": CoLiDE(noise="nonequal"),
        "CoLiDE, equal noise": CoLiDE(noise="equal"),
        "topological swaps": TopologicalSwap(
            loss="squared", sparsifier="threshold", w_threshold=0.3
        ),
        "sort by variance, regress": SortRegress(),
    }


def learn_sachs(learners):
    """Fit learners to the Sachs table.

    Parameters
    ----------
    learners : dict of {str: estimator}
        The learners by name.

    Returns
    -------
    fitted : dict of {str: estimator}
        The same, fitted.
    rows : dict of {str: dict}
        Scores of each against the consensus network, with the wall time in seconds of
        the first fit, which may compile, and of another one; and the scores of the
        graph without edges.
    """
    sachs = load_sachs()
    rows = {"no edges": {**dag_metrics(sachs.graph, 0 * sachs.graph), "seconds": []}}
    for name, learner in learners.items():
        seconds = []
        for _ in range(2):
            start = perf_counter()
            learner.fit(sachs.data)
            seconds.append(perf_counter() - start)
        scores = dag_metrics(sachs.graph, learner.adjacency_)
        rows[name] = {**scores, "seconds": seconds}
    return learners, rows


def print_sachs(rows):
    """Print the scores of `learn_sachs` beside the published ones."""
    heading(
        "1. Which protein acts on which? 853 cells, 11 molecules (Sachs et al., 2005)"
    )
    print(f"{'':27}{'SHD':>5}{'published':>11}{'SID':>6}{'edges':>7}{'seconds':>10}")
    for name, row in rows.items():
        published = PUBLISHED.get(name, "-")
        seconds = f"{row['seconds'][-1]:.3f}" if row["seconds"] else "-"
        print(
            f"{name:27}{row['shd']:5}{published:>11}{row['sid']:6}"
            f"{row['n_edges']:7}{seconds:>10}"
        )
    first = sum(row["seconds"][0] for row in rows.values() if row["seconds"])
    print(
        "\nSHD: pairs of molecules that differ from the consensus network, 17 edges.\n"
        "SID: pairs whose causal effect would be computed wrongly, of 110.\n"
        "On 17 edges, differences of 1 or 2 in SHD mean nothing.\n"
        f"Seconds: with compiled loops; the first fits took {first:.1f} s in all."
    )


def selection_search(cv):
    """Return a grid search over a pipeline with causal feature selection."""
    pipeline = Pipeline(
        [
            ("scale", StandardScaler()),
            ("select", CausalFeatureSelector()),
            ("regress", Ridge()),
        ]
    )
    grid = {
        "scale": [StandardScaler(), "passthrough"],
        "select__kind": ["parents", "markov_blanket"],
        "select__learner": [
            TopologicalSwap(loss="squared"),
            TopologicalSwap(loss="squared", penalty=0.5),
            CoLiDE(noise="nonequal"),
        ],
    }
    return GridSearchCV(pipeline, grid, cv=cv)


def select_features():
    """Compare causal feature selection with all features on the diabetes table.

    Returns
    -------
    selector : CausalFeatureSelector
        The best selector of the grid, fitted to all rows.
    report : dict
        Scores (R², one an outer fold) of both ways, and what was chosen.
    """
    X, y = load_diabetes(return_X_y=True, scaled=False)
    outer = KFold(5, shuffle=True, random_state=0)
    inner = KFold(5, shuffle=True, random_state=1)
    search = selection_search(inner)
    everything = Pipeline([("scale", StandardScaler()), ("regress", Ridge())])
    with catch_warnings():
        # a candidate that selects nothing in some fold fails and loses the search
        filterwarnings("ignore", "No features were selected", UserWarning)
        filterwarnings("ignore", category=FitFailedWarning)
        filterwarnings("ignore", "One or more of the test scores", UserWarning)
        selected = cross_validate(search, X, y, cv=outer, return_estimator=True)
        search.fit(X, y)
    used = [fit.best_estimator_["select"] for fit in selected["estimator"]]
    report = {
        "all": cross_validate(everything, X, y, cv=outer)["test_score"],
        "selected": selected["test_score"],
        "n_selected": [int(selector.get_support().sum()) for selector in used],
        "params": search.best_params_,
    }
    return search.best_estimator_["select"], report


def print_selection(selector, report):
    """Print what `select_features` found."""
    names = load_diabetes().feature_names
    chosen = [names[j] for j in selector.get_support(indices=True)]
    n_selected, gains = report["n_selected"], report["selected"] - report["all"]
    heading("2. Which of 10 measurements foretell how diabetes proceeds? 442 patients")
    print(
        "scaling > CausalFeatureSelector > Ridge in GridSearchCV, R² on held-out rows"
    )
    print("(five outer folds; scaling, kind and learner tuned inside each):\n")
    print(f"  all {len(names)} columns     {spread(report['all'])}")
    least, most = min(n_selected), max(n_selected)
    size = f"{least}" if least == most else f"{least} to {most}"
    print(f"  selected columns   {spread(report['selected'])}   ({size} columns)")
    print(f"  difference         {spread(gains)}   {verdict(gains)}\n")
    print(f"On all rows the search keeps {', '.join(chosen)}, with")
    for name, value in sorted(report["params"].items()):
        print(f"  {name} = {value}")


def verdict(gains):
    """Say what a difference of scores on the same folds amounts to."""
    error = gains.std(ddof=1) / np.sqrt(len(gains))
    if abs(gains.mean()) < 2 * error:
        return "no clear difference"
    if gains.mean() < 0:
        return "all columns predict better"
    return "the selected columns predict better"


def spread(scores):
    """Return mean and standard deviation of scores as text."""
    return f"{scores.mean():6.3f} ± {scores.std(ddof=1):.3f}"


def save_pictures(folder, fitted, selector):
    """Save the pictures of both parts.

    Parameters
    ----------
    folder : Path
        Where to; it is made if needed.
    fitted : dict of {str: estimator}
        Fitted learners of the Sachs network.
    selector : CausalFeatureSelector
        Fitted selector on the diabetes table.

    Returns
    -------
    dict of {Path: str}
        What each picture shows.
    """
    pyplot = import_optional(
        "matplotlib.pyplot", extra="plot", needed_by="skpapers.demo"
    )
    folder.mkdir(parents=True, exist_ok=True)
    sachs = load_sachs()
    shown = {}

    def save(display, name, title):
        display.ax_.set_title(title, fontsize=10)
        path = folder / f"{name}.png"
        display.figure_.savefig(path, dpi=150)
        pyplot.close(display.figure_)
        shown[path] = title

    for name, short in [
        ("CoLiDE, unequal noise", "colide"),
        ("topological swaps", "swap"),
    ]:
        learner = fitted[name]
        given = {
            "adjacency": learner.adjacency_,
            "names": sachs.feature_names,
            "std": np.sqrt(np.diag(learner.covariance_)),
            "truth": sachs.graph,
        }
        display = DAGDisplay.from_adjacency(**given)
        save(display, f"sachs_{short}", f"Sachs network: {name}, and the consensus")
        display = DAGDisplay.from_adjacency(**given, kind="heatmap")
        save(display, f"sachs_{short}_heatmap", f"Sachs network: {name}, weights")
    names = [*load_diabetes().feature_names, "progression"]
    display = DAGDisplay.from_adjacency(
        selector.learner_.adjacency_,
        names=names,
        std=np.sqrt(np.diag(selector.learner_.covariance_)),
        highlight={
            "target": ["progression"],
            "selected": selector.get_support(indices=True),
        },
    )
    save(display, "diabetes", "Diabetes: the graph behind the selection")
    return shown


def heading(text):
    """Print a heading."""
    print(f"\n{text}\n{'-' * len(text)}")


def main(argv=None):
    """Run the demonstration.

    Parameters
    ----------
    argv : list of str, default=None
        Arguments; None takes those of the command line.
    """
    parser = ArgumentParser(prog="python -m skpapers.demo", description=__doc__)
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("demo-output"),
        help="folder for the pictures (default: demo-output)",
    )
    folder = parser.parse_args(argv).output
    import_optional("matplotlib", extra="plot", needed_by="skpapers.demo")
    start = perf_counter()
    print(f"skpapers {__version__}: causal graphs from tables")
    fitted, rows = learn_sachs(sachs_learners())
    print_sachs(rows)
    selector, report = select_features()
    print_selection(selector, report)
    heading("3. Pictures")
    shown = save_pictures(folder, fitted, selector)
    for path, title in shown.items():
        print(f"{path}: {title}")
    print(f"\nDone in {perf_counter() - start:.0f} s.")


if __name__ == "__main__":
    main()
