# SPDX-License-Identifier: BSD-3-Clause
r"""A network for tables whose predictions change little with its weights.

The network is trained on standardised columns and targets to a loss L (Gaussian
negative log-likelihood or squared error) under :math:`\rho \|\nabla_w h(w)\| \le
\epsilon`, h being the mean prediction (`skpapers.offline_optimization._sharpness`).

References
----------
M. C. Dao, P. L. Nguyen, T. N. Truong, T. N. Hoang, Incorporating surrogate gradient
norm to improve offline optimization techniques, NeurIPS 2024, arXiv:2503.04242.
"""

from numbers import Integral, Real

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_is_fitted

from skpapers.utils._deep import CHUNK, DEEP_CONSTRAINTS, DeepEstimator
from skpapers.utils._sklearn import Interval, StrOptions
from skpapers.utils._torch import import_torch
from skpapers.utils._units import mean_and_scale

__all__ = ["SHARPNESS_CONSTRAINTS", "SharpnessRegularizedRegressor"]

SHARPNESS_CONSTRAINTS: dict[str, list] = {
    "sharpness": [StrOptions({"constraint", "penalty"}), None],
    "sharpness_radius": [Interval(Real, 0, None, closed="left")],
    "sharpness_limit": [Interval(Real, 0, None, closed="left")],
    "multiplier": [Interval(Real, 0, None, closed="left")],
    "multiplier_lr": [Interval(Real, 0, None, closed="left")],
    "difference_radius": [Interval(Real, 0, None, closed="neither")],
    "hvp": [StrOptions({"difference", "exact"})],
    "sharpness_every": [Interval(Integral, 1, None, closed="left")],
}
OF_NETWORKS = ("hidden_layer_sizes", "activation", "loss")


def networks():
    """Return the module of the networks, which imports torch."""
    from skpapers.offline_optimization import _networks

    return _networks


class SharpnessRegularizedRegressor(RegressorMixin, DeepEstimator):
    r"""Neural-network regressor whose output is insensitive to its weights.

    A surrogate for the search of better designs than those of a table
    (`OfflineOptimizer`): besides fitting the targets, the network keeps the *sharpness*
    :math:`\rho \|\nabla_w h\|` small, h being its mean prediction. Such a network
    errs less in ways that a search exploits far from the data.

    Parameters
    ----------
    hidden_layer_sizes : sequence of int, default=(256, 256)
        Units of the hidden layers; not used with ``module``.
    activation : {"leaky_relu", "relu", "tanh", "elu", "gelu"}, default="leaky_relu"
        Activation; the slope of the leaky one is 0.3.
    loss : {"gaussian_nll", "squared_error"}, default="gaussian_nll"
        The former also learns a standard deviation for each row, between 0.1 and 0.3 of
        that of y at the start. Its gradients are 7 (at first) to 50 times those of the
        squared error, so that the same multiplier acts that much weaker.
    sharpness : {"constraint", "penalty", None}, default="constraint"
        Adapt the multiplier to the bound, keep it, or train without the term.
    sharpness_radius : float, default=0.05
        Radius :math:`\rho` of the ball of weights, >= 0.
    sharpness_limit : float, default=0.1
        Bound :math:`\epsilon` of the constraint, in standard deviations of y.
    multiplier : float, default=1e-3
        :math:`\lambda`, the strength of the term: its start, or its value. The paper's
        fixed penalty has 0.01 with radii of 0.2.
    multiplier_lr : float, default=1e-3
        Step of the multiplier, at every batch with the term.
    difference_radius : float, default=0.05
        Step of the difference that stands for the product with the Hessian.
    hvp : {"difference", "exact"}, default="difference"
        Difference of gradients, or a second backward pass.
    sharpness_every : int, default=1
        The term enters every so many batches, so many times as strong.
    n_estimators : int, default=1
        Networks, trained side by side; predictions are their mean.
    bootstrap : bool, default=True
        With several networks: each has its own resample of the rows.
    module : torch.nn.Module or callable, default=None
        Another network: a module, copied and initialised anew, or a function of the
        numbers of inputs and outputs that returns one. It answers one output, or two
        (mean and raw log standard deviation) for ``loss="gaussian_nll"``.
    optimizer : {"adam", "adamw", "sgd", "rmsprop"} or class, default="adam"
        The optimizer, or a class of ``torch.optim``.
    lr : float, default=3e-4
        Step of the optimizer.
    weight_decay : float, default=0.0
        Weight decay of the optimizer.
    batch_size : int or None, default=128
        Rows of a batch; None takes all.
    max_epochs : int, default=100
        Passes over the table.
    early_stopping : bool, default=False
        Watch the loss of held-out rows, in the mean over the networks, and keep the
        weights of the best epoch; multiplier and history are those of the last one.
    validation_fraction : float, default=0.1
        Share of the rows that are held out then.
    n_iter_no_change : int, default=10
        Epochs without improvement before stopping.
    tol : float, default=1e-4
        Least improvement.
    warm_start : bool, default=False
        Whether `fit` goes on with the networks of the former call, in its units.
    device : str, default="cpu"
        Device of torch; "auto" takes a GPU if there is one.
    dtype : {"float32", "float64"} or None, default=None
        Precision of the computation; None takes that of X.
    callbacks : list, default=None
        Callbacks of skorch, as (name, callback) or instances. They see targets in
        standard units and the outputs of all networks at once, so that those which
        score by a name of scikit-learn do not fit.
    net_params : dict, default=None
        Further parameters of the skorch net, as ``{"optimizer__eps": 1e-7}``, which is
        the value of the paper's code for Adam (torch's is 1e-8).
    compile : bool, default=False
        Whether torch compiles the network.
    random_state : int, RandomState instance or None, default=None
        Of the initial weights, resamples and batches.
    verbose : int, default=0
        Passed to skorch.

    Attributes
    ----------
    net_ : skorch net
        The engine; ``net_.module_`` is the network or the stack of networks.
    sharpness_ : ndarray of shape (n_estimators,)
        :math:`\rho \|\nabla_w h\|` of each network over the training rows.
    multiplier_ : ndarray of shape (n_estimators,)
        The multipliers at the end.
    history_ : dict of str to ndarray
        By epoch, in the mean over its rows: ``loss``, ``valid_loss`` with early
        stopping, and with a term ``sharpness`` and ``multiplier``, of shape (n_epochs,
        n_estimators) and NaN in epochs without it.
    x_mean_, x_scale_ : ndarray of shape (n_features,)
        Units of the columns.
    y_mean_, y_scale_ : float
        Units of the target.
    n_outputs_ : int
        Outputs of a network: 2 with a standard deviation, else 1.
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
    SharpnessRegularizedNet : The term in any skorch net.

    Notes
    -----
    Time O(max_epochs n P) for a network of P weights, memory O(P) beside the table. A
    step costs about two and a half plain ones: one more backward pass through the graph
    of the loss and one pass at moved weights. Networks of an ensemble are trained in
    the same tensor operations. On the CPU, fits are reproducible bit for bit.

    With more rows than ``batch_size``, integer weights and repeated rows give the same
    loss in the mean over batches, not in each one. A training that goes on
    (``warm_start``, `partial_fit`) takes up changed numbers, such as ``lr``, and
    refuses changed networks; a pickled estimator has a new state of the optimizer.
    `save_weights` writes a file without code.

    References
    ----------
    M. C. Dao, P. L. Nguyen, T. N. Truong, T. N. Hoang, Incorporating surrogate gradient
    norm to improve offline optimization techniques, NeurIPS 2024, arXiv:2503.04242.

    Examples
    --------
    >>> import numpy as np
    >>> from skpapers.offline_optimization import SharpnessRegularizedRegressor
    >>> X = np.random.default_rng(0).uniform(size=(200, 2))
    >>> y = X[:, 0] ** 2 - X[:, 1]
    >>> model = SharpnessRegularizedRegressor(
    ...     (32,), loss="squared_error", lr=0.01, max_epochs=30, random_state=0)
    >>> bool(model.fit(X, y).score(X, y) > 0.95)
    True
    >>> model.surrogate_sharpness(X).shape
    (1,)
    """

    _parameter_constraints: dict = {
        **DEEP_CONSTRAINTS,
        **SHARPNESS_CONSTRAINTS,
        "hidden_layer_sizes": ["array-like"],
        "activation": [StrOptions({"leaky_relu", "relu", "tanh", "elu", "gelu"})],
        "loss": [StrOptions({"gaussian_nll", "squared_error"})],
        "n_estimators": [Interval(Integral, 1, None, closed="left")],
        "bootstrap": ["boolean"],
    }

    def __init__(
        self,
        hidden_layer_sizes=(256, 256),
        *,
        activation="leaky_relu",
        loss="gaussian_nll",
        sharpness="constraint",
        sharpness_radius=0.05,
        sharpness_limit=0.1,
        multiplier=1e-3,
        multiplier_lr=1e-3,
        difference_radius=0.05,
        hvp="difference",
        sharpness_every=1,
        n_estimators=1,
        bootstrap=True,
        module=None,
        optimizer="adam",
        lr=3e-4,
        weight_decay=0.0,
        batch_size=128,
        max_epochs=100,
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
        self.activation = activation
        self.loss = loss
        self.sharpness = sharpness
        self.sharpness_radius = sharpness_radius
        self.sharpness_limit = sharpness_limit
        self.multiplier = multiplier
        self.multiplier_lr = multiplier_lr
        self.difference_radius = difference_radius
        self.hvp = hvp
        self.sharpness_every = sharpness_every
        self.n_estimators = n_estimators
        self.bootstrap = bootstrap
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

    # --- engine and module -----------------------------------------------------------
    _structure: tuple[str, ...] = ("n_estimators", "bootstrap", *OF_NETWORKS)

    def _engine(self):
        return networks().SharpNet

    def _engine_params(self):
        return {name: getattr(self, name) for name in SHARPNESS_CONSTRAINTS}

    def _make_module(self, n_inputs, n_outputs):
        sizes = tuple(self.hidden_layer_sizes)
        return networks().make_body(n_inputs, sizes, n_outputs, self.activation)

    def _new_member(self, engine):
        body = super()._new_member(engine)
        is_gaussian = self.loss == "gaussian_nll"
        return networks().GaussianHead(body) if is_gaussian else body

    def _make_criterion(self):
        is_gaussian = self.loss == "gaussian_nll"
        return networks().GaussianNLL if is_gaussian else networks().SquaredError

    # --- units -----------------------------------------------------------------------
    def _learn_units(self, X, y, weight):
        self.n_outputs_ = 2 if self.loss == "gaussian_nll" else 1
        self.x_mean_, self.x_scale_ = mean_and_scale(X, weight)
        mean, scale = mean_and_scale(y, weight)
        self.y_mean_, self.y_scale_ = float(mean), float(scale)

    def _encode(self, X, y=None):
        inputs = (X - self.x_mean_) / self.x_scale_
        if y is None:
            return inputs
        return inputs, ((y - self.y_mean_) / self.y_scale_)[:, None]

    def _set_state(self, net):
        torch = import_torch("multiplier")
        if hasattr(self, "multiplier_"):
            kind = getattr(torch, self._dtype)
            net.multiplier_ = torch.tensor(self.multiplier_).to(net.device, kind)

    def _conclude(self, inputs, weight):
        multiplier = self.net_.multiplier_
        if multiplier is None:
            self.multiplier_ = np.full(self.n_estimators, float(self.multiplier))
        else:
            self.multiplier_ = multiplier.cpu().numpy().astype(np.float64)
        self.sharpness_ = self._sharpness_for(inputs, weight / weight.sum())

    def _sharpness_for(self, inputs, shares):
        """Return the sharpness over inputs, of which each has a share in the mean."""
        from skpapers.offline_optimization._sharpness import mean_gradient

        parts = (self._tensor(values).split(CHUNK) for values in (inputs, shares))
        norms = mean_gradient(
            self.net_.module_.eval(),
            zip(*parts, strict=True),
            lambda outputs: outputs[..., 0],
        )
        return self.sharpness_radius * norms.cpu().numpy().astype(np.float64)

    # --- results ---------------------------------------------------------------------
    def predict(self, X, return_std=False):
        """Predict the target.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        return_std : bool, default=False
            Whether to return a standard deviation, too: of the noise that a network
            states and of the networks among each other.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Mean prediction of the networks, in units of y.
        std : ndarray of shape (n_samples,)
            Only with ``return_std``.

        Raises
        ------
        ValueError
            If a standard deviation is asked of a single network that states none.
        """
        X = self._validated(X)
        outputs = self._outputs(X).astype(np.float64)  # y may be larger than float32
        kind = np.result_type(X.dtype, self._y_dtype)
        mean = outputs[..., 0].mean(axis=0) * self.y_scale_ + self.y_mean_
        if not return_std:
            return mean.astype(kind)
        variance = outputs[..., 0].var(axis=0)
        if self.n_outputs_ == 2:
            variance = variance + np.exp(2 * outputs[..., 1]).mean(axis=0)
        elif len(outputs) == 1:
            raise ValueError(
                "return_std: a single network that is fitted to the squared error "
                "states no standard deviation; SharpnessRegularizedRegressor does with "
                "loss='gaussian_nll' or n_estimators > 1."
            )
        return mean.astype(kind), (np.sqrt(variance) * self.y_scale_).astype(kind)

    def tensor_predict(self, X):
        """Predict for a tensor, so that predictions can be differentiated in X.

        Parameters
        ----------
        X : tensor of shape (n_samples, n_features)
            Rows in the units of the training table.

        Returns
        -------
        tensor of shape (n_estimators, n_samples)
            Prediction of each network in units of y, in the dtype of X.
        """
        check_is_fitted(self)
        torch = import_torch("tensor_predict")
        module = self.net_.module_.eval()
        like = next(module.parameters())
        mean, scale = (
            torch.as_tensor(a, dtype=X.dtype, device=X.device)
            for a in (self.x_mean_, self.x_scale_)
        )
        outputs = module(((X - mean) / scale).to(like))[..., 0].to(X)
        return outputs * self.y_scale_ + self.y_mean_

    def surrogate_sharpness(self, X):
        r"""Return how much the mean prediction for X can rise in the ball of weights.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; those of a search tell how far its scores can be trusted.

        Returns
        -------
        ndarray of shape (n_estimators,)
            :math:`\rho \|\nabla_w h\|` of each network, to first order, in standard
            deviations of y.
        """
        inputs = self._encode(self._validated(X))
        return self._sharpness_for(inputs, np.full(len(inputs), 1 / len(inputs)))
