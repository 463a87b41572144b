# SPDX-License-Identifier: BSD-3-Clause
"""Non-linear causal graphs by moving nodes of a causal order.

The model is x_j = f_j(parents of j) + z_j with independent noise z_j and a small
network f_j for each variable. Given a causal order, each node is regressed on all its
predecessors, and the score of the order is the sum of what is left,

    Q = sum_j q(j, predecessors of j),

q the penalised loss of the network (`skpapers.causal._network_fits`). Moving a node
changes the predecessors of those nodes alone that it passes: only their networks are
trained again, from where they were, all at once. Finally the parents of each node are
chosen among its predecessors.

References
----------
C. Deng, K. Bello, B. Aragam, P. Ravikumar, "Optimizing NOTEARS objectives via
topological swaps", ICML 2023, PMLR 202, 7563-7595.
"""

from numbers import Integral, Real
from warnings import warn

import numpy as np
from scipy.special import expit
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted

from skpapers.causal._base import BaseDAG, LearnedDAG
from skpapers.causal._bic_search import agreeing_order, bic_order_search
from skpapers.causal._knowledge import edge_knowledge, restrict_knowledge
from skpapers.causal._network_fits import NetworkFits
from skpapers.causal._order_search import (
    LOSSES,
    SWEEPS,
    OrderState,
    search_order,
    walk_weights,
    weakest_pairs,
)
from skpapers.causal._topological_swap._starts import start_orders
from skpapers.utils._array_api import float_dtypes
from skpapers.utils._sklearn import (
    HasMethods,
    Interval,
    StrOptions,
    check_sample_weight,
)

JITTER = 1e-10  # added to the variances before linear searches, relative to them
TINY = np.finfo(np.float32).tiny  # weight of an edge whose network gave it none
UNIT_ROUNDS = 2  # trainings of the first order to find the unit of equal noise


class Networks:
    """Networks by node and set of inputs, each trained once.

    Parameters
    ----------
    fits : NetworkFits
        The trainer.
    allowed : bool ndarray of shape (d, d)
        ``allowed[i, j]``: i may explain j.
    """

    def __init__(self, fits, allowed):
        self.fits, self.allowed = fits, allowed
        self.latest = fits.fresh.copy()
        self.known = {}

    def inputs(self, node, before):
        """Return those of ``before`` that may explain a node."""
        return frozenset(int(u) for u in before if self.allowed[u, node])

    def train(self, problems):
        """Train those of the (node, inputs) that are new, in one batch."""
        new = [k for k in dict.fromkeys(problems) if k not in self.known]
        if new:
            nodes = np.array([node for node, _ in new])
            masks = np.zeros((len(new), self.fits.d), dtype=bool)
            for mask, (_, inputs) in zip(masks, new, strict=True):
                mask[list(inputs)] = True
            results = self.fits.train(nodes, masks, self.latest[nodes])
            self.known.update(zip(new, zip(*results, strict=True), strict=True))

    def loss(self, problem):
        """Return the loss of a trained (node, inputs)."""
        return self.known[problem][0]

    def use(self, problems):
        """Train, make these the start of further training; return their losses."""
        problems = list(problems)
        self.train(problems)
        for node, inputs in problems:
            self.latest[node] = self.known[node, inputs][1]
        return np.array([self.loss(problem) for problem in problems])

    def use_order(self, order):
        """The same for all nodes of an order, each on what stands before it."""
        return self.use([(v, self.inputs(v, order[:p])) for p, v in enumerate(order)])

    def strengths(self):
        """Return the weights of the edges in use, ndarray of shape (d, d)."""
        return self.fits.strengths(self.latest).T

    def latest_mean_squares(self):
        """Return the mean squared residuals of the networks in use, by node."""
        return self.fits.mean_squares(np.arange(self.fits.d), self.latest)

    def mean_squares(self, problems):
        """Return the mean squared residuals of trained networks."""
        nodes = [node for node, _ in problems]
        found = np.array([self.known[problem][1] for problem in problems])
        return self.fits.mean_squares(np.array(nodes), found)


def best_insertion(networks, order, losses, q, required):
    """Return the largest fall of Q by moving the node at q, and where to."""
    v, sides = order[q], ([], [])
    for p in range(q - 1, -1, -1):
        if required[order[p], v]:
            break
        with_v = networks.inputs(order[p], [*order[:p], v])
        alone = networks.inputs(v, order[:p])
        sides[0].append((p, (order[p], with_v), (v, alone)))
    for p in range(q + 1, len(order)):
        if required[v, order[p]]:
            break
        before = [u for u in order[:p] if u != v]
        without_v = networks.inputs(order[p], before)
        among = networks.inputs(v, [*before, order[p]])
        sides[1].append((p, (order[p], without_v), (v, among)))
    networks.train([k for side in sides for move in side for k in move[1:]])
    best, place = 0.0, q
    for side in sides:
        between = 0.0
        for p, passed, own in side:
            between += networks.loss(passed) - losses[p]
            change = between + networks.loss(own) - losses[q]
            if change < best:
                best, place = change, p
    return best, place


def insertion_sweep(networks, order, losses, required, threshold):
    """Move each node to its best place; yield the order after each move."""
    for v in list(order):
        q = order.index(v)
        change, p = best_insertion(networks, order, losses, q, required)
        if change < -threshold(losses):
            order.insert(p, order.pop(q))
            losses[:] = networks.use_order(order)
            yield float(losses.sum())


def exchange_round(networks, order, losses, required, threshold):
    """Exchange the first pair of the candidate sets that lowers Q; yield Q if any.

    The candidates are the pairs whose walks are weakest, first d and then 3 d of them.
    """
    d = len(order)
    walks = walk_weights(networks.strengths(), np.array(order))
    n_pairs = d * (d - 1) // 2
    tried = np.zeros_like(walks, dtype=bool)
    for size in (min(d, n_pairs), min(3 * d, n_pairs)):
        candidates = weakest_pairs(walks, size) if size else tried
        for p, q in np.argwhere(candidates & ~tried):
            swapped = list(order)
            swapped[p], swapped[q] = order[q], order[p]
            part = swapped[p : q + 1]
            if (
                required[np.ix_(part, part)].any()
                and np.tril(required[np.ix_(part, part)]).any()
            ):
                continue
            interval = range(p, q + 1)
            problems = [
                (swapped[k], networks.inputs(swapped[k], swapped[:k])) for k in interval
            ]
            networks.train(problems)
            new = sum(networks.loss(problem) for problem in problems)
            if new - losses[p : q + 1].sum() < -threshold(losses):
                order[:] = swapped
                losses[:] = networks.use_order(order)
                yield float(losses.sum())
                return
        tried |= candidates


def search(networks, order, required, *, sweep, threshold, max_iter):
    """Move nodes until a sweep finds nothing.

    Returns
    -------
    order : list of int
        Nodes, causes first.
    history : list of float
        Q at the start and after each move.
    n_iter : int
        Number of sweeps.
    converged : bool
        Whether the last one found nothing.
    """
    order = [int(v) for v in order]
    losses = networks.use_order(order)
    history = [float(losses.sum())]
    for n_iter in range(1, max_iter + 1):
        found = list(sweep(networks, order, losses, required, threshold))
        history += found
        if not found:
            return order, history, n_iter, True
    return order, history, max_iter, False


def prune(networks, order, required, price):
    """Drop inputs as long as log(mean squared residual) rises by less than the price.

    All nodes at the same time: for each the networks without one of its inputs are
    trained, and the less useful half of the dispensable inputs goes, at least one.
    """
    parents = {v: networks.inputs(v, order[:p]) for p, v in enumerate(order)}
    networks.use(parents.items())
    open_nodes = sorted(v for v in parents if parents[v])
    while open_nodes:
        drops = [
            (v, i) for v in open_nodes for i in sorted(parents[v]) if not required[i, v]
        ]
        if not drops:
            break
        problems = [(v, parents[v] - {i}) for v, i in drops]
        networks.train(problems)
        known = [(v, parents[v]) for v, _ in drops]
        rise = np.log(networks.mean_squares(problems) / networks.mean_squares(known))
        for v in list(open_nodes):
            weak = sorted(
                (r, i)
                for (u, i), r in zip(drops, rise, strict=True)
                if u == v and r < price
            )
            if not weak:
                open_nodes.remove(v)
            parents[v] -= {i for _, i in weak[: max(1, len(weak) // 2)]}
        networks.use([(v, parents[v]) for v in open_nodes])
        open_nodes = [v for v in open_nodes if parents[v]]
    return parents


class TopologicalSwapMLP(BaseDAG):
    r"""Non-linear causal graph by a local search over causal orders.

    Each variable is a small network of its causes plus noise,
    :math:`x_j = f_j(x_{\mathrm{pa}(j)}) + z_j`. The search looks for the causal order
    in which networks of all predecessors leave the least, and then for the parents of
    each variable among its predecessors. This is the non-linear problem of NOTEARS,
    solved by moves in the order (TOPO [1]_).

    Needs torch for fitting (``pip install "skpapers[torch]"``), not for anything else.

    Parameters
    ----------
    noise : {"equal", "nonequal"}, default="equal"
        Whether the variances of the noise are about the same in the given units. The
        fit of an order is then half the summed mean squared residuals, else half the
        summed logarithms of them, which does not depend on units.

    hidden : int, default=10
        Number of sigmoid units of each network.

    alpha1 : float, default=0.003
        Strength of the l1 penalty on the weights of the inputs.

    alpha2 : float, default=0.01
        Strength of half the squared weights, of inputs and outputs.

    neighborhood : {"insertion", "paper"}, default="insertion"
        Moves of the search. "insertion" takes each node to its best place. "paper"
        exchanges the first pair that helps, of d and then 3 d candidates whose reverse
        edge disturbs the present graph least; it trains less and finds less.

    init : {"linear", "variance", "random"}, array-like or estimator, default="linear"
        Where the search starts:

        - "linear": the order of a linear search, of least squares for equal noise and
          of the BIC else,
        - "variance", "random", array-like or estimator as in `TopologicalSwap`.

    sparsifier : {"bic", "threshold"} or None, default="bic"
        How parents are chosen. "bic" drops inputs as long as n log(mean squared
        residual) of the network trained without them rises by less than ``penalty``
        log(n); "threshold" drops weights below ``w_threshold``; None keeps all edges of
        the order.

    penalty : float, default=2.0
        Price of an edge in "bic".

    w_threshold : float, default=0.5
        Smallest weight that "threshold" keeps.

    forbidden_edges : bool array or pairs, default=None
        Edges that the graph may not have: a boolean mask of shape (`n_features_in_`,
        `n_features_in_`), or (cause, effect) pairs of column names or indices.

    required_edges : bool array or pairs, default=None
        Edges that the graph must have, in the same formats.

    tiers : sequence of sequences, default=None
        Groups of columns (names or indices), causes first: no edge leads from a later
        group to an earlier one.

    max_iter : int, default=20
        Largest number of sweeps over all nodes (exchanges of "paper").

    max_steps : int, default=1000
        Largest number of steps of a training.

    tol : float, default=1e-3
        A training ends when eight steps lower the loss of its node by less than this
        fraction, or by less than this for unequal noise. A move must lower the score of
        the order by more than that of an average node.

    device : str, default="cpu"
        Where torch trains, for example "cuda".

    random_state : int, RandomState instance or None, default=None
        Source of the first weights, and of a random start.

    verbose : int, default=0
        Whether to print a line when the order is found and one for the graph.

    Attributes
    ----------
    adjacency_ : ndarray of shape (`n_features_in_`, `n_features_in_`)
        ``adjacency_[i, j] != 0`` means i -> j; the weight is the norm of the weights of
        the standardised column i in the hidden layer of the network of j.

    raw_adjacency_ : ndarray of shape (`n_features_in_`, `n_features_in_`)
        The same for the networks of all predecessors.

    causal_order_ : ndarray of shape (`n_features_in_`,)
        Columns, causes first. Constant columns are put last.

    noise_std_ : ndarray of shape (`n_features_in_`,)
        Standard deviation of what the networks leave over.

    residual_std_ : ndarray of shape (`n_features_in_`,)
        The same.

    hidden_weights_ : ndarray of shape (`n_features_in_`, hidden, `n_features_in_`)
        Weights A of the networks f_j(x) = c_j + sum_k v_jk sigmoid(a_jk + A_jk (x -
        mean)), 0 outside the parents.

    hidden_bias_ : ndarray of shape (`n_features_in_`, hidden)
        Their a.

    output_weights_ : ndarray of shape (`n_features_in_`, hidden)
        Their v, in units of the columns.

    output_bias_ : ndarray of shape (`n_features_in_`,)
        Their c, in units of the columns; the mean is added to it.

    objective_ : float
        Score of the order, in its own units.

    start_objective_ : float
        Score of the first order.

    history_ : list of float
        Score at the start and after each move; it falls.

    n_moves_ : int
        Number of moves.

    n_iter_ : int
        Number of sweeps.

    n_trained_ : int
        Number of networks trained.

    mean_ : ndarray of shape (`n_features_in_`,)
        Column means.

    covariance_ : ndarray of shape (`n_features_in_`, `n_features_in_`)
        Covariance of the columns.

    n_samples_seen_ : int
        Number of rows.

    n_features_in_ : int
        Number of columns.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Column names, if X had any.

    See Also
    --------
    TopologicalSwap : Linear graphs, in milliseconds.

    Notes
    -----
    A sweep trains at most 2 d (d - 1) networks, in batches of 2 (d - 1); each step of a
    training costs O(n d hidden). Choosing the parents trains about d² / 2 more. Ten
    columns and 1000 rows take some CPU seconds, and the cost grows with d³. Rows that
    occur several times are trained on once, with their share, so weights are the same
    as repeated rows.

    Graphs with additive noise and non-linear effects are identified by the data, also
    if the noise variances differ; whether the search finds them is another matter. The
    columns are centred and, as inputs, standardised. As outputs they have a common unit
    for equal noise, the standard deviation of it as estimated by networks for the
    first order, and their own standard deviations else; the penalties refer to these
    units.

    References
    ----------
    .. [1] C. Deng, K. Bello, B. Aragam, P. Ravikumar, "Optimizing NOTEARS objectives
       via topological swaps", ICML 2023, PMLR 202, 7563-7595.

    Examples
    --------
    >>> import numpy as np
    >>> from skpapers.causal import TopologicalSwapMLP
    >>> rng = np.random.default_rng(0)
    >>> cause = rng.uniform(-3, 3, 300)
    >>> effect = np.sin(cause) + 0.3 * rng.standard_normal(300)
    >>> X = np.column_stack([effect, cause])
    >>> learner = TopologicalSwapMLP(noise="nonequal", random_state=0).fit(X)
    >>> learner.causal_order_
    array([1, 0])
    >>> means = learner.intervene({1: np.pi / 2}, n_samples=1000, random_state=0)
    >>> round(float(means[:, 0].mean()), 1)
    0.8
    """

    _parameter_constraints = {
        "noise": [StrOptions({"equal", "nonequal"})],
        "hidden": [Interval(Integral, 1, None, closed="left")],
        "alpha1": [Interval(Real, 0, None, closed="left")],
        "alpha2": [Interval(Real, 0, None, closed="left")],
        "neighborhood": [StrOptions({"insertion", "paper"})],
        "init": [
            StrOptions({"linear", "variance", "random"}),
            "array-like",
            HasMethods("get_params"),
        ],
        "sparsifier": [StrOptions({"bic", "threshold"}), None],
        "penalty": [Interval(Real, 0, None, closed="left")],
        "w_threshold": [Interval(Real, 0, None, closed="left")],
        "forbidden_edges": ["array-like", None],
        "required_edges": ["array-like", None],
        "tiers": ["array-like", list, tuple, None],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "max_steps": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, 1, closed="left")],
        "device": [str],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        noise="equal",
        *,
        hidden=10,
        alpha1=0.003,
        alpha2=0.01,
        neighborhood="insertion",
        init="linear",
        sparsifier="bic",
        penalty=2.0,
        w_threshold=0.5,
        forbidden_edges=None,
        required_edges=None,
        tiers=None,
        max_iter=20,
        max_steps=1000,
        tol=1e-3,
        device="cpu",
        random_state=None,
        verbose=0,
    ):
        self.noise = noise
        self.hidden = hidden
        self.alpha1 = alpha1
        self.alpha2 = alpha2
        self.neighborhood = neighborhood
        self.init = init
        self.sparsifier = sparsifier
        self.penalty = penalty
        self.w_threshold = w_threshold
        self.forbidden_edges = forbidden_edges
        self.required_edges = required_edges
        self.tiers = tiers
        self.max_iter = max_iter
        self.max_steps = max_steps
        self.tol = tol
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def _needs_rows(self):
        return True

    def _learn_rows(self, C, n_samples, columns, X, weight):
        X = np.asarray(X, dtype=np.float64)[:, columns]
        rows, share = _distinct_rows(X, weight)
        mean = share @ rows
        centred = rows - mean
        C = (centred.T * share) @ centred  # equal for weights and repeated rows
        rng = check_random_state(self.random_state)
        allowed, required = self._knowledge(columns)
        order = self._start(C, n_samples, columns, allowed, required, rng)
        scale = np.sqrt(np.diag(C))
        seed = rng.randint(np.iinfo(np.int32).max)
        unit = scale if self.noise == "nonequal" else self._first_unit(C, order)
        for _ in range(UNIT_ROUNDS if self.noise == "equal" else 0):
            networks = Networks(self._fits(centred, share, unit, seed), allowed)
            networks.use_order(order)
            unit = unit * np.sqrt(networks.latest_mean_squares().mean())
        fits = self._fits(centred, share, unit, seed)
        networks = Networks(fits, allowed)
        order, history, n_iter, converged = self._search(networks, order, required)
        if not converged:
            warn(
                f"The search stopped after max_iter={self.max_iter} sweeps with score "
                f"{history[-1]:.6g}: raise max_iter.",
                ConvergenceWarning,
                stacklevel=2,
            )
        raw = networks.strengths()
        problems = self._sparsify(networks, order, required, n_samples)
        networks.use(problems)
        adjacency = networks.strengths()
        for j, parents in problems:  # also a weight that was trained to 0 is an edge
            used = sorted(parents)
            adjacency[used, j] = np.maximum(adjacency[used, j], TINY)
        noise_std = unit * np.sqrt(networks.latest_mean_squares())
        if self.verbose:
            print(f"[TopologicalSwapMLP] {np.count_nonzero(adjacency)} edges.")
        attributes = {
            "objective": history[-1],
            "start_objective": history[0],
            "history": history,
            "n_moves": len(history) - 1,
            "n_iter": n_iter,
            "n_trained": len(networks.known),
            **self._spread(fits, networks.latest, columns, scale, unit, noise_std),
        }
        return LearnedDAG(adjacency, raw, np.array(order), noise_std, attributes)

    def _knowledge(self, columns):
        """Return the allowed and the required edges among the columns that vary."""
        names = self.get_feature_names_out()
        knowledge = (self.forbidden_edges, self.required_edges, self.tiers)
        return restrict_knowledge(*edge_knowledge(names, *knowledge), columns, names)

    def _start(self, C, n_samples, columns, allowed, required, rng):
        """Return the order from which the search starts."""
        if isinstance(self.init, str) and self.init == "linear":
            C = C + JITTER * np.diag(np.diag(C))
            if self.noise == "nonequal":
                seed = rng.randint(np.iinfo(np.int32).max)
                return bic_order_search(
                    C, n_samples, allowed=allowed, required=required, seeds=[seed]
                ).order
            by_variance = np.argsort(np.diag(C), kind="stable")
            options = {"loss": LOSSES["squared"], "sweeps": SWEEPS["insertion"]}
            found = search_order(C, by_variance, tol=JITTER, max_iter=1000, **options)
            order = found.state.order
        else:
            order = start_orders(self, C, n_samples, columns, n_init=1)[0]
        return agreeing_order(order, required)

    def _fits(self, centred, share, unit, seed):
        """Return a trainer on standardised inputs and on targets in these units."""
        return NetworkFits(
            centred / np.sqrt(share @ centred**2),
            centred / unit,
            share,
            hidden=self.hidden,
            alpha1=self.alpha1,
            alpha2=self.alpha2,
            logarithm=self.noise == "nonequal",
            tol=self.tol,
            max_iter=self.max_steps,
            seed=seed,
            device=self.device,
        )

    def _first_unit(self, C, order):
        """Return what linear regressions in an order leave over, for all columns."""
        regular = C + JITTER * np.diag(np.diag(C))
        variances = OrderState(regular, order).arrays[2]
        return np.full(len(C), np.sqrt(variances.mean()))

    def _search(self, networks, order, required):
        """Search for the order, as the parameters say."""
        sweeps = {"insertion": insertion_sweep, "paper": exchange_round}

        def threshold(losses):
            return self.tol * (1.0 if self.noise == "nonequal" else losses.mean())

        found = search(
            networks,
            order,
            required,
            sweep=sweeps[self.neighborhood],
            threshold=threshold,
            max_iter=self.max_iter,
        )
        if self.verbose:
            history = found[1]
            print(
                f"[TopologicalSwapMLP] score {history[0]:.6g}, {history[-1]:.6g} after "
                f"{len(history) - 1} moves, {len(networks.known)} networks trained."
            )
        return found

    def _sparsify(self, networks, order, required, n_samples):
        """Return the (node, parents) of the final graph."""
        if self.sparsifier == "bic":
            price = self.penalty * np.log(n_samples) / n_samples
            return prune(networks, order, required, price).items()
        kept = networks.allowed
        if self.sparsifier == "threshold":
            kept = kept & ((networks.strengths() >= self.w_threshold) | required)
        return [
            (v, frozenset(u for u in order[:p] if kept[u, v]))
            for p, v in enumerate(order)
        ]

    def _spread(self, fits, parameters, columns, scale, unit, noise_std):
        """Return the networks of all columns of the table, in its units."""
        d = self.n_features_in_
        A, a, v, c = fits.weights(parameters)
        hidden_weights = np.zeros((d, self.hidden, d))
        inner = np.ix_(columns, np.arange(self.hidden), columns)
        hidden_weights[inner] = A / scale
        hidden_bias, output_weights = np.zeros((2, d, self.hidden))
        hidden_bias[columns], output_weights[columns] = a, v * unit[:, None]
        output_bias, residual_std = np.zeros((2, d))
        output_bias[columns], residual_std[columns] = c * unit, noise_std
        return {
            "hidden_weights": hidden_weights,
            "hidden_bias": hidden_bias,
            "output_weights": output_weights,
            "output_bias": output_bias,
            "residual_std": residual_std,
        }

    def _means(self, X, nodes=slice(None)):
        """Return the conditional means of some columns given all others."""
        centred = np.asarray(X, dtype=np.float64) - np.asarray(self.mean_, dtype=float)
        A, v = self.hidden_weights_[nodes], self.output_weights_[nodes]
        units = centred @ A.reshape(-1, A.shape[2]).T + self.hidden_bias_[nodes].ravel()
        values = expit(units).reshape(len(centred), *v.shape)
        f = np.einsum("njk,jk->nj", values, v) + self.output_bias_[nodes]
        return f + np.asarray(self.mean_, dtype=float)[nodes]

    def predict(self, X):
        """Predict each variable from its parents.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The table.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            Conditional mean of each column given its parents' values.
        """
        X = self._validate(X, "predict")
        return self._means(X).astype(X.dtype)

    def _residuals(self, X):
        return (X - self._means(X)).astype(X.dtype)

    def inverse_transform(self, Z):
        """Rebuild the table from its exogenous noise.

        Parameters
        ----------
        Z : array-like of shape (n_samples, n_features)
            Residuals as from `transform`.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            The table.
        """
        check_is_fitted(self)
        Z = check_array(Z, dtype=float_dtypes(Z), input_name="Z")
        if Z.shape[1] != self.n_features_in_:
            raise ValueError(
                f"Z has {Z.shape[1]} features, but {type(self).__name__} is expecting "
                f"{self.n_features_in_} features as input."
            )
        return self._simulate(Z, {}).astype(Z.dtype)

    def intervene(self, do, *, n_samples, random_state=None):
        """Draw rows from the model with some variables set from outside.

        An intervention do(x_i = v) cuts the edges into x_i and lets the value v act on
        all descendants of x_i; the other variables keep their mechanisms.

        Parameters
        ----------
        do : dict
            Values by column name or index, in the units of the table.
        n_samples : int
            Number of rows. Their average estimates the means under the intervention,
            which have no closed form.
        random_state : int, RandomState instance or None, default=None
            Source of the random numbers.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            Rows with Gaussian noise.

        Raises
        ------
        ValueError
            If a name or index is unknown, a value is not a finite number, or
            ``n_samples`` is not a positive integer.
        """
        check_is_fitted(self)
        if not isinstance(n_samples, Integral) or n_samples < 1:
            raise ValueError(
                f"n_samples must be a positive integer, got {n_samples!r}."
            )
        columns, values = self._parse_intervention(do)
        rng = check_random_state(random_state)
        Z = rng.standard_normal((n_samples, self.n_features_in_)) * self.residual_std_
        given = dict(zip(columns.tolist(), values, strict=True))
        return self._simulate(Z, given).astype(self.mean_.dtype)

    def _simulate(self, Z, given):
        """Return the table with this noise, some columns set to given values."""
        X = np.zeros(Z.shape)
        for j in self.causal_order_:
            if j in given:
                X[:, j] = given[j]
            else:
                X[:, j] = self._means(X, [j])[:, 0] + Z[:, j]
        return X


def _distinct_rows(X, weight):
    """Return the distinct rows with positive weight, sorted, and their shares."""
    if weight is not None:
        weight = check_sample_weight(weight, X).astype(np.float64)
        X, weight = X[weight > 0], weight[weight > 0]
    rows, inverse = np.unique(X, axis=0, return_inverse=True)
    share = np.bincount(inverse.ravel(), weights=weight, minlength=len(rows))
    return rows, share / share.sum()
