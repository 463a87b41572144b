# SPDX-License-Identifier: BSD-3-Clause
r"""A surrogate that is pessimistic where a search would go (conservative objectives).

References
----------
B. Trabucco, A. Kumar, X. Geng, S. Levine, Conservative objective models for effective
offline model-based optimization, ICML 2021, PMLR 139, 10358-10368.
"""

from numbers import Integral, Real

from skpapers.offline_optimization._regressor import (
    SHARPNESS_CONSTRAINTS,
    SharpnessRegularizedRegressor,
)
from skpapers.offline_optimization._searches._conservative import STEP_SIZE_OF_LOGITS
from skpapers.utils._sklearn import Interval

__all__ = ["ConservativeRegressor"]

CONSERVATIVE_CONSTRAINTS: dict[str, list] = {
    "alpha": [Interval(Real, 0, None, closed="left")],
    "alpha_lr": [Interval(Real, 0, None, closed="left")],
    "overestimation_limit": [Interval(Real, None, None, closed="neither")],
    "n_ascent_steps": [Interval(Integral, 0, None, closed="left")],
    "ascent_step_size": [Interval(Real, 0, None, closed="left")],
}
INHERITED = SharpnessRegularizedRegressor._parameter_constraints
FOR_CATEGORIES = {
    "overestimation_limit": 2.0,
    "ascent_step_size": STEP_SIZE_OF_LOGITS,
}
OF_ENSEMBLES = ("loss", "n_estimators", "bootstrap")


class ConservativeRegressor(SharpnessRegularizedRegressor):
    r"""Neural-network regressor that does not promise much beyond its rows.

    The network is fitted to the squared error and, at the same time, lowered at the
    designs that a gradient ascent from the rows of each batch arrives at. The surrogate
    of ``OfflineOptimizer(search="coms")``.

    Parameters
    ----------
    hidden_layer_sizes : sequence of int, default=(256, 256)
        Units of the hidden layers; not used with ``module``.
    alpha : float, default=0.1
        Strength of the conservative term at the start; 0 trains without it.
    alpha_lr : float, default=0.01
        Step of Adam on log alpha.
    overestimation_limit : float, default=0.5
        How much higher the mean prediction after the ascent may be, in standard
        deviations of y: alpha grows while it is more, and falls while it is less. The
        paper has 2 for sequences.
    n_ascent_steps : int, default=50
        Steps of the ascent.
    ascent_step_size : float, default=0.05
        Their size in standardised columns, times the root of the number of columns. The
        paper has 2 for sequences, whose columns are logits (`LogitEncoder`).
    activation : {"leaky_relu", "relu", "tanh", "elu", "gelu"}, default="relu"
        Activation.
    sharpness : {"constraint", "penalty", None}, default=None
        Whether the sharpness term comes on top, taken on the rows themselves.
    sharpness_radius, sharpness_limit, multiplier, multiplier_lr : float
        Settings of that term, as of `SharpnessRegularizedRegressor`.
    difference_radius : float, default=0.05
        Step of the difference that stands for the product with the Hessian.
    hvp : {"difference", "exact"}, default="difference"
        Difference of gradients, or a second backward pass.
    sharpness_every : int, default=1
        The sharpness term enters every so many batches, so many times as strong.
    module : torch.nn.Module or callable, default=None
        Another network with one output: a module, copied and initialised anew, or a
        function of the numbers of inputs and outputs that returns one.
    optimizer : {"adam", "adamw", "sgd", "rmsprop"} or class, default="adam"
        The optimizer, or a class of ``torch.optim``.
    lr : float, default=3e-4
        Step of the optimizer.
    weight_decay : float, default=0.0
        Weight decay of the optimizer.
    batch_size : int or None, default=128
        Rows of a batch; None takes all.
    max_epochs : int, default=50
        Passes over the table.
    early_stopping : bool, default=False
        Watch the squared error of held-out rows and keep the best epoch.
    validation_fraction : float, default=0.1
        Share of the rows that are held out then.
    n_iter_no_change : int, default=10
        Epochs without improvement before stopping.
    tol : float, default=1e-4
        Least improvement.
    warm_start : bool, default=False
        Whether `fit` goes on with the network of the former call, in its units.
    device : str, default="cpu"
        Device of torch; "auto" takes a GPU if there is one.
    dtype : {"float32", "float64"} or None, default=None
        Precision of the computation; None takes that of X.
    callbacks : list, default=None
        Callbacks of skorch, as (name, callback) or instances; see
        `SharpnessRegularizedRegressor`.
    net_params : dict, default=None
        Further parameters of the skorch net.
    compile : bool, default=False
        Whether torch compiles the network.
    random_state : int, RandomState instance or None, default=None
        Of the initial weights and batches.
    verbose : int, default=0
        Passed to skorch.

    Attributes
    ----------
    net_ : skorch net
        The engine; ``net_.module_`` is the network.
    sharpness_ : ndarray of shape (1,)
        Sharpness over the training rows.
    multiplier_ : ndarray of shape (1,)
        Multiplier of the sharpness term at the end.
    alpha_ : float
        Strength of the conservative term at the end.
    history_ : dict of str to ndarray
        By epoch: ``loss`` (with the term), ``alpha``, ``overestimation``,
        ``valid_loss`` with early stopping and, with a sharpness term, ``sharpness`` and
        ``multiplier``.
    x_mean_, x_scale_ : ndarray of shape (n_features,)
        Units of the columns.
    y_mean_, y_scale_ : float
        Units of the target.
    n_outputs_ : int
        Always 1.
    n_iter_ : int
        Epochs.
    n_features_in_ : int
        Columns of X.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, if all are strings.

    Raises
    ------
    ImportError
        If torch or skorch is not installed.
    ValueError
        If X or y holds NaN or infinite values, or a parameter is out of range.

    Warns
    -----
    ConvergenceWarning
        If a gradient is not finite; the weights are those before it. If the training is
        interrupted (Ctrl-C); the weights are those so far.

    See Also
    --------
    OfflineOptimizer : Searches for designs with it.

    Notes
    -----
    Time O(max_epochs n n_ascent_steps P) for a network of P weights: each step of the
    ascent costs a pass forward and one back to the inputs.

    References
    ----------
    B. Trabucco, A. Kumar, X. Geng, S. Levine, Conservative objective models for
    effective offline model-based optimization, ICML 2021, PMLR 139, 10358-10368.

    Examples
    --------
    >>> import numpy as np
    >>> from skpapers.offline_optimization import ConservativeRegressor
    >>> X = np.random.default_rng(0).uniform(size=(200, 2))
    >>> y = X[:, 0] ** 2 - X[:, 1]
    >>> model = ConservativeRegressor((32,), lr=0.01, max_epochs=20, random_state=0)
    >>> bool(model.fit(X, y).score(X, y) > 0.7)
    True
    """

    _parameter_constraints: dict = {
        **{name: v for name, v in INHERITED.items() if name not in OF_ENSEMBLES},
        **CONSERVATIVE_CONSTRAINTS,
    }

    loss = "squared_error"
    n_estimators = 1
    bootstrap = False

    def __init__(
        self,
        hidden_layer_sizes=(256, 256),
        *,
        alpha=0.1,
        alpha_lr=0.01,
        overestimation_limit=0.5,
        n_ascent_steps=50,
        ascent_step_size=0.05,
        activation="relu",
        sharpness=None,
        sharpness_radius=0.05,
        sharpness_limit=0.1,
        multiplier=1e-3,
        multiplier_lr=1e-3,
        difference_radius=0.05,
        hvp="difference",
        sharpness_every=1,
        module=None,
        optimizer="adam",
        lr=3e-4,
        weight_decay=0.0,
        batch_size=128,
        max_epochs=50,
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=10,
        tol=1e-4,
        warm_start=False,
        device="cpu",
        dtype=None,
        callbacks=None,
        net_params=None,
        compile=False,
        random_state=None,
        verbose=0,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.alpha = alpha
        self.alpha_lr = alpha_lr
        self.overestimation_limit = overestimation_limit
        self.n_ascent_steps = n_ascent_steps
        self.ascent_step_size = ascent_step_size
        self.activation = activation
        self.sharpness = sharpness
        self.sharpness_radius = sharpness_radius
        self.sharpness_limit = sharpness_limit
        self.multiplier = multiplier
        self.multiplier_lr = multiplier_lr
        self.difference_radius = difference_radius
        self.hvp = hvp
        self.sharpness_every = sharpness_every
        self.module = module
        self.optimizer = optimizer
        self.lr = lr
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.warm_start = warm_start
        self.device = device
        self.dtype = dtype
        self.callbacks = callbacks
        self.net_params = net_params
        self.compile = compile
        self.random_state = random_state
        self.verbose = verbose

    _structure = ("hidden_layer_sizes", "activation")

    def _engine(self):
        from skpapers.offline_optimization._conservative_net import ConservativeNet

        return ConservativeNet

    def _engine_params(self):
        names = (*SHARPNESS_CONSTRAINTS, *CONSERVATIVE_CONSTRAINTS)
        return {name: getattr(self, name) for name in names}

    def _set_state(self, net):
        super()._set_state(net)
        if hasattr(self, "alpha_"):
            net.begin_alpha(self.alpha_)

    def _conclude(self, inputs, weight):
        super()._conclude(inputs, weight)
        self.alpha_ = self.net_.alpha_[0].exp().item()
