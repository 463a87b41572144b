# SPDX-License-Identifier: BSD-3-Clause
"""What all deep estimators share: the shell between scikit-learn and a net of skorch.

A deep estimator is a shell (this), an engine (a net of skorch that changes the training
step, `skpapers.utils._engine`) and a module. A subclass says what is its own:

- ``_engine``: the class of the net, and ``_engine_params`` what it is given;
- ``_make_module`` and ``_make_criterion``: one network, and its loss of each row;
- ``_learn_units`` and ``_encode``: what is learnt of a table before the training, and
  the inputs and targets of the network;
- ``predict``, through ``_outputs``.

Validation, seeds, dtype, device, batches, weights of the rows, early stopping, going
on with a training, callbacks, persistence and weights in a safe format are here. torch
is imported when a network is made, not with this module.
"""

import json
import warnings
from numbers import Integral, Real

import numpy as np
from sklearn.base import is_regressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from skpapers.utils._callbacks import CallbackSupportMixin, with_callbacks
from skpapers.utils._estimator import DocumentedEstimator, all_or_nothing
from skpapers.utils._optional import import_optional
from skpapers.utils._sklearn import (
    HasMethods,
    Interval,
    StrOptions,
    check_sample_weight,
    fit_context,
)
from skpapers.utils._torch import (
    import_torch,
    load_weights,
    seeded,
    weights_to_numpy,
)

__all__ = ["DEEP_CONSTRAINTS", "DeepEstimator", "engine_module"]

# of the parameters that every deep estimator has
DEEP_CONSTRAINTS: dict[str, list] = {
    "module": [None, HasMethods("forward"), callable],
    "optimizer": [StrOptions({"adam", "adamw", "sgd", "rmsprop"}), callable],
    "lr": [Interval(Real, 0, None, closed="neither")],
    "weight_decay": [Interval(Real, 0, None, closed="left")],
    "batch_size": [None, Interval(Integral, 1, None, closed="left")],
    "max_epochs": [Interval(Integral, 1, None, closed="left")],
    "early_stopping": ["boolean"],
    "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
    "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
    "tol": [Interval(Real, 0, None, closed="left")],
    "warm_start": ["boolean"],
    "device": [str],
    "dtype": [None, StrOptions({"float32", "float64"})],
    "callbacks": [None, list],
    "net_params": [None, dict],
    "compile": ["boolean"],
    "random_state": ["random_state"],
    "verbose": ["verbose"],
}
CHUNK = 16_384  # rows of a forward pass that nothing is learnt from


def engine_module(needed_by):
    """Return `skpapers.utils._engine`, or say what to install."""
    import_torch(needed_by)
    import_optional("skorch", extra="torch", needed_by=needed_by)
    return import_optional("skpapers.utils._engine", extra="torch", needed_by=needed_by)


class DeepEstimator(CallbackSupportMixin, DocumentedEstimator):
    """Base of the estimators that train networks on a table.

    Subclasses list the parameters of `DEEP_CONSTRAINTS` in their constructor.
    """

    n_estimators = 1  # networks side by side; a subclass may make it a parameter
    bootstrap = False

    # --- what a subclass says --------------------------------------------------------
    def _engine(self, engine):
        """Return the class of the net, from the names of the engine's module."""
        return engine.WeightedNet

    def _engine_params(self):
        """Return further parameters of the net."""
        return {}

    def _make_module(self, n_inputs, n_outputs):
        """Return a new network."""
        raise NotImplementedError

    def _make_criterion(self):
        """Return the loss: outputs (B, m, o), targets (m, o) -> (B, m)."""
        raise NotImplementedError

    def _learn_units(self, X, y, weight):
        """Learn scales, classes, ... and set ``n_outputs_``."""
        raise NotImplementedError

    def _encode(self, X, y=None):
        """Return the inputs of the network, and with y also its targets (n, o)."""
        raise NotImplementedError

    # --- training --------------------------------------------------------------------
    @all_or_nothing
    @with_callbacks
    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Train the networks.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; float32 or float64, others are converted.
        y : array-like of shape (n_samples,)
            Targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; rows of weight 0 are left out.

        Returns
        -------
        self
            The fitted estimator.
        """
        going_on = self.warm_start and hasattr(self, "net_")
        return self._train(X, y, sample_weight, going_on, self.max_epochs)

    @all_or_nothing
    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, sample_weight=None):
        """Train for one more epoch; units are those of the first call.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights.

        Returns
        -------
        self
            The estimator.
        """
        return self._train(X, y, sample_weight, hasattr(self, "net_"), 1)

    def _train(self, X, y, sample_weight, going_on, n_epochs):
        """Train for some epochs, from the start or from where the net is."""
        kinds = [np.float64, np.float32] if self.dtype is None else np.dtype(self.dtype)
        numeric = is_regressor(self)
        X, y = validate_data(
            self, X, y, reset=not going_on, dtype=kinds, y_numeric=numeric
        )
        weight = check_sample_weight(sample_weight, X)
        kept = weight > 0
        if not kept.all():
            X, y, weight = X[kept], y[kept], weight[kept]
        random = check_random_state(self.random_state)
        seeds = random.randint(2**31 - 1, size=self.n_estimators).tolist()
        if going_on and self.n_estimators != self._n_members:
            raise ValueError(
                f"n_estimators={self.n_estimators}, but the training that goes on is "
                f"of {self._n_members}; set it back, or fit without warm_start."
            )
        if not going_on:
            self._fit_params = self.get_params(deep=False)
            self._n_members = self.n_estimators
            self._learn_units(X, y, weight)
            self._dtype = X.dtype.name
            self.net_ = self._make_net(seeds)
        inputs, targets = self._encode(X, y)
        weights = self._member_weights(weight, random)
        self._run_net(inputs, targets, weights, seeds[0], n_epochs)
        return self

    def _member_weights(self, weight, random):
        """Return the weights (n, B) of the rows for each network, of mean 1."""
        n, B = len(weight), self.n_estimators
        weights = np.repeat(weight[:, None], B, axis=1)
        if B > 1 and self.bootstrap:
            weights = weights * random.multinomial(n, np.full(n, 1 / n), size=B).T
            weights[:, weights.sum(axis=0) == 0] = 1.0
        return weights / weights.mean(axis=0)

    def _make_net(self, seeds):
        """Return the initialised net of new networks."""
        engine = engine_module(type(self).__name__)
        torch = import_torch(type(self).__name__)
        device = self._torch_device()
        kind = getattr(torch, self._dtype)
        members = []
        for seed in seeds:
            with seeded(seed, device):
                member = self._new_member(engine)
            members.append(member.to(kind))
        module = (
            engine.Single(members[0]) if len(members) == 1 else engine.Stack(members)
        )
        optimizer = engine.OPTIMIZERS.get(self.optimizer, self.optimizer)
        params = {"optimizer__weight_decay": self.weight_decay}
        if optimizer in engine.FUSED:
            params["optimizer__fused"] = True
        params |= self._engine_params() | (self.net_params or {})
        net = self._engine(engine)(
            module.to(device),
            criterion=self._make_criterion(),
            optimizer=optimizer,
            lr=self.lr,
            batch_size=self.batch_size or -1,
            device=device,
            iterator_train=engine.TableBatches,
            iterator_valid=engine.TableBatches,
            train_split=None,
            callbacks=self.callbacks,
            compile=self.compile,
            verbose=int(self.verbose),
            **params,
        )
        with seeded(seeds[0], device):
            return net.initialize()

    def _new_member(self, engine):
        """Return a new network: our own, or one as the user's."""
        if self.module is None:
            return self._make_module(self.n_features_in_, self.n_outputs_)
        if hasattr(self.module, "forward") and not isinstance(self.module, type):
            return engine.fresh_module(self.module)
        return self.module(self.n_features_in_, self.n_outputs_)

    def _torch_device(self):
        """Return the name of the device to compute on."""
        if self.device != "auto":
            return self.device
        return "cuda" if import_torch("device").cuda.is_available() else "cpu"

    def _run_net(self, inputs, targets, weights, seed, n_epochs):
        """Run the loop of skorch and keep what it tells."""
        engine, net = engine_module(type(self).__name__), self.net_
        torch, seed = import_torch("fit"), seed + len(net.history)
        # a shuffled order, dropout and the watched rows differ when a training goes on
        seed %= 2**31 - 1
        parts = [self._tensor(a) for a in (inputs, targets, weights)]
        guard = engine.FiniteGradients()
        told = [("finite", guard), ("progress", engine.Progress(self, n_epochs))]
        net.train_split = None
        if self.early_stopping and len(inputs) > 1:
            net.train_split = engine.HeldOut(self.validation_fraction, seed)
            early = engine.stop_early(self.n_iter_no_change, self.tol)
            told.append(("early_stopping", early.initialize()))
        # set_params of an initialised net refuses the one and forgets callbacks' state
        net.iterator_train__seed, net.max_epochs = seed, n_epochs
        net.callbacks_ += told
        try:
            with seeded(seed, net.device), torch.enable_grad():
                net.partial_fit(engine.Table(*parts))
        finally:
            net.callbacks_ = net.callbacks_[: -len(told)]
        if guard.failed_:
            warnings.warn(
                f"{type(self).__name__} stopped in epoch {len(net.history)}: the "
                "gradient is not finite. The weights are the last finite ones; a "
                "smaller lr may help.",
                ConvergenceWarning,
                stacklevel=4,
            )
        self.history_ = self._history(net)
        self.n_iter_ = len(net.history)

    def _history(self, net):
        """Return the means of what was recorded in each epoch."""
        recorded = {"loss": "train_loss", "valid_loss": "valid_loss"}
        recorded |= {name: name for name in getattr(net, "recorded", ())}
        B, history = self.n_estimators, {}
        for name, key in recorded.items():
            epochs = [
                [b[key] for b in epoch["batches"] if key in b] for epoch in net.history
            ]
            if any(epochs):
                means = [np.mean(e, axis=0) if e else np.nan for e in epochs]
                history[name] = np.array(means) / (B if key.endswith("loss") else 1)
        return history

    # --- what is read from networks --------------------------------------------------
    def _tensor(self, values):
        """Return an array as tensor of the fitted dtype on the net's device."""
        torch = import_torch("fit")
        values = np.ascontiguousarray(values, dtype=self._dtype)
        if not values.flags.writeable:
            values = values.copy()  # torch warns of memory that it could not write to
        return torch.from_numpy(values).to(self.net_.device)

    def _outputs(self, X):
        """Return the outputs (B, n, o) of the networks for a validated table."""
        torch, module = import_torch("predict"), self.net_.module_.eval()
        inputs = self._encode(X)
        with torch.inference_mode():
            chunks = [
                module(self._tensor(inputs[start : start + CHUNK])).cpu().numpy()
                for start in range(0, len(inputs), CHUNK)
            ]
        return np.concatenate(chunks, axis=1)

    def _validated(self, X):
        """Return a table to predict for."""
        check_is_fitted(self)
        return validate_data(
            self, X, reset=False, dtype=np.dtype(self._dtype), force_writeable=False
        )

    # --- persistence -----------------------------------------------------------------
    def __getstate__(self):
        state = dict(super().__getstate__())
        net = state.pop("net_", None)
        if net is not None:
            state["_weights"] = weights_to_numpy(net.module_)
        return state

    def __setstate__(self, state):
        state = dict(state)
        weights = state.pop("_weights", None)
        super().__setstate__(state)
        if weights is not None:
            self.net_ = self._net_of(weights)

    def _net_of(self, weights):
        """Return the net of stored weights; its optimizer begins anew."""
        torch = import_torch(type(self).__name__)
        twin = type(self)(**self._fit_params)
        vars(twin).update({k: v for k, v in vars(self).items() if k.endswith("_")})
        twin._dtype = self._dtype
        if twin.device.startswith("cuda") and not torch.cuda.is_available():
            twin.device = "cpu"
        net = twin._make_net([0] * twin.n_estimators)
        load_weights(net.module_, weights)
        return net

    def save_weights(self, path):
        """Write the fitted networks and units to a file that holds no code.

        Parameters
        ----------
        path : str or path-like
            File of the safetensors format.

        See Also
        --------
        load_weights : Reads it.
        """
        check_is_fitted(self)
        numpy_format = import_optional(
            "safetensors.numpy", extra="torch", needed_by="save_weights"
        )
        arrays, words = {}, {}
        for name, value in weights_to_numpy(self.net_.module_).items():
            arrays[f"net.{name}"] = np.ascontiguousarray(value)
        for name, value in vars(self).items():
            if name in ("net_", "history_", "_fit_params") or not _is_fitted_name(name):
                continue
            if isinstance(value, np.ndarray) and value.dtype != object:
                arrays[f"fit.{name}"] = np.ascontiguousarray(value)
            else:
                words[name] = np.asarray(value).tolist()
        numpy_format.save_file(arrays, path, metadata={"fitted": json.dumps(words)})

    def load_weights(self, path):
        """Read what `save_weights` of an estimator with the same parameters wrote.

        Parameters
        ----------
        path : str or path-like
            File of the safetensors format.

        Returns
        -------
        self
            The estimator, ready to predict; only ``history_`` is missing.
        """
        import_torch(type(self).__name__)
        safetensors = import_optional(
            "safetensors", extra="torch", needed_by="load_weights"
        )
        with safetensors.safe_open(path, framework="numpy") as stored:
            words = json.loads(stored.metadata()["fitted"])
            arrays = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
        fitted = {k[4:]: v for k, v in arrays.items() if k.startswith("fit.")}
        weights = {k[4:]: v for k, v in arrays.items() if k.startswith("net.")}
        if "feature_names_in_" in words:
            names = np.asarray(words["feature_names_in_"], dtype=object)
            words["feature_names_in_"] = names
        vars(self).update(words | fitted, _fit_params=self.get_params(deep=False))
        self.net_ = self._net_of(weights)
        return self


def _is_fitted_name(name):
    """Tell whether an attribute was learnt in fit."""
    return name in ("_dtype", "_n_members") or (
        name.endswith("_") and not name.startswith("_")
    )
