# SPDX-License-Identifier: BSD-3-Clause
"""The protein-signalling data of Sachs et al. (2005), shipped with the package."""

import gzip
from importlib.resources import files

import numpy as np
from sklearn.utils import Bunch

from skpapers.utils._optional import import_optional
from skpapers.utils._sklearn import StrOptions, validate_params

# The names that the network's edges use, by the columns of the shipped table.
FEATURE_NAMES = {
    "praf": "Raf",
    "pmek": "Mek",
    "plcg": "Plcg",
    "PIP2": "PIP2",
    "PIP3": "PIP3",
    "p44/42": "Erk",
    "pakts473": "Akt",
    "PKA": "PKA",
    "PKC": "PKC",
    "P38": "P38",
    "pjnk": "Jnk",
}

CONDITION_NAMES = (
    "anti-CD3/CD28",
    "anti-CD3/CD28 + ICAM-2",
    "anti-CD3/CD28 + Akt inhibitor",
    "anti-CD3/CD28 + G06976",
    "anti-CD3/CD28 + psitectorigenin",
    "anti-CD3/CD28 + U0126",
    "anti-CD3/CD28 + LY294002",
    "PMA",
    "beta2cAMP",
)
N_OBSERVATIONAL = 853

SACHS_EDGES = (
    ("Raf", "Mek"),
    ("Mek", "Erk"),
    ("Erk", "Akt"),
    ("Plcg", "PIP2"),
    ("Plcg", "PIP3"),
    ("PIP3", "PIP2"),
    ("PKC", "Raf"),
    ("PKC", "Mek"),
    ("PKC", "PKA"),
    ("PKC", "Jnk"),
    ("PKC", "P38"),
    ("PKA", "Raf"),
    ("PKA", "Mek"),
    ("PKA", "Erk"),
    ("PKA", "Akt"),
    ("PKA", "Jnk"),
    ("PKA", "P38"),
)


def _read_table(max_rows):
    """Return the header and the first rows (all for None) of the shipped table."""
    packed = files("skpapers.datasets").joinpath("data/sachs.csv.gz").read_bytes()
    header, *lines = gzip.decompress(packed).decode("ascii").splitlines()
    return header.split(","), np.loadtxt(lines[:max_rows], delimiter=",")


def _consensus_graph(names):
    graph = np.zeros((len(names), len(names)), dtype=np.int8)
    for cause, effect in SACHS_EDGES:
        graph[names.index(cause), names.index(effect)] = 1
    return graph


@validate_params(
    {
        "subset": [StrOptions({"observational", "all"})],
        "return_X_graph": ["boolean"],
        "as_frame": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def load_sachs(*, subset="observational", return_X_graph=False, as_frame=False):
    """Load the flow-cytometry data of Sachs et al. with their consensus network.

    Amounts of 11 phosphorylated proteins and phospholipids in single human immune
    cells, and the 17 causal edges among them that biologists agreed on [1]_: the
    standard real benchmark of causal discovery. Nothing is downloaded.

    ==========  ================================================
    Rows        853 (``"observational"``) or 7466 (``"all"``)
    Features    11, real, positive
    Edges       17
    Conditions  9
    ==========  ================================================

    Parameters
    ----------
    subset : {"observational", "all"}, default="observational"
        ``"observational"``: the 853 cells under general stimulation (anti-CD3/CD28)
        that most papers use. ``"all"``: all 7466 cells of the nine experiments, six of
        which inhibit or activate single molecules.
    return_X_graph : bool, default=False
        If True, return ``(data, graph)`` instead of a Bunch.
    as_frame : bool, default=False
        If True, ``data`` and ``graph`` are pandas DataFrames with the names of the
        molecules, and ``condition`` is a Series.

    Returns
    -------
    sachs : :class:`~sklearn.utils.Bunch`
        With the attributes

        data : ndarray or DataFrame of shape (n_samples, 11), dtype=float64
            Fluorescence intensities in the units of the source, neither centred nor
            scaled nor transformed.
        feature_names : list of str
            ``Raf, Mek, Plcg, PIP2, PIP3, Erk, Akt, PKA, PKC, P38, Jnk``.
        graph : ndarray or DataFrame of shape (11, 11), dtype=int8
            The consensus network, ``graph[i, j] == 1`` when ``i -> j``.
        edges : tuple of (str, str)
            The same as pairs of names, `SACHS_EDGES`.
        condition : ndarray or Series of shape (n_samples,), dtype=int64
            Number of the experiment, 1 to 9; 1 is the observational one.
        condition_names : tuple of str
            ``condition_names[c - 1]`` is the name of condition ``c``.
        DESCR : str
            Where the table comes from and under which licence.
    (data, graph) : tuple
        If `return_X_graph` is True.

    Raises
    ------
    ImportError
        If `as_frame` is True and pandas is not installed.

    See Also
    --------
    make_linear_sem : Simulated data.

    Notes
    -----
    The source names its columns praf, pmek, plcg, PIP2, PIP3, p44/42, pakts473, PKA,
    PKC, P38, pjnk, in the order of `feature_names`: p44/42 is Erk, pakts473 is Akt.

    With 17 edges among 11 molecules and a reference that is itself a summary of the
    literature, differences of one or two edges between methods mean nothing.

    References
    ----------
    .. [1] K. Sachs, O. Perez, D. Pe'er, D. A. Lauffenburger and G. P. Nolan, "Causal
       protein-signaling networks derived from multiparameter single-cell data",
       Science 308 (2005) 523-529. https://doi.org/10.1126/science.1105809

    Examples
    --------
    >>> from skpapers.datasets import load_sachs
    >>> sachs = load_sachs()
    >>> sachs.data.shape, int(sachs.graph.sum())
    ((853, 11), 17)
    >>> sachs.edges[0]
    ('Raf', 'Mek')
    >>> X, graph = load_sachs(subset="all", return_X_graph=True)
    >>> X.shape
    (7466, 11)
    """
    columns, table = _read_table(N_OBSERVATIONAL if subset == "observational" else None)
    names = [FEATURE_NAMES[column] for column in columns[:-1]]
    data = np.ascontiguousarray(table[:, :-1])
    condition = table[:, -1].astype(np.int64)
    graph = _consensus_graph(names)
    if as_frame:
        pd = import_optional(
            "pandas", extra="frames", needed_by="load_sachs(as_frame=True)"
        )
        data = pd.DataFrame(data, columns=names)
        condition = pd.Series(condition, name="condition")
        graph = pd.DataFrame(graph, index=names, columns=names)
    if return_X_graph:
        return data, graph
    provenance = files("skpapers.datasets").joinpath("data/SACHS_PROVENANCE.md")
    return Bunch(
        data=data,
        feature_names=names,
        graph=graph,
        edges=SACHS_EDGES,
        condition=condition,
        condition_names=CONDITION_NAMES,
        DESCR=provenance.read_text("utf-8"),
    )
