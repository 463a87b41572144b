# SPDX-License-Identifier: BSD-3-Clause
"""What all deep estimators share: the shell between scikit-learn and a net of skorch.

A deep estimator is a shell (this), an engine (a net of skorch that changes the training
step, `skpapers.utils._engine`) and a module. A subclass says what is its own:

- ``_engine``: the class of the net, and ``_engine_params`` what it is given;
- ``_structure``: its parameters that a training which goes on cannot change;
- ``_make_module`` and ``_make_criterion``: one network, and its loss of each row;
- ``_learn_units`` and ``_encode``: what is learnt of a table before the training, and
  the inputs and targets of the network;
- ``predict``, through ``_outputs``.

Validation, seeds, dtype, device, batches, weights of the rows, early stopping, going
on with a training, callbacks, persistence and weights in a safe format are here. torch
is imported when a network is made, not with this module.
"""

import json
import os
import warnings
from contextlib import nullcontext
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
# what a training that goes on cannot change, since the networks are there
STRUCTURE = (
    "module",
    "optimizer",
    "dtype",
    "device",
    "callbacks",
    "net_params",
    "compile",
)
FLOATS = (np.float64, np.float32)
CHUNK = 16_384  # rows of a forward pass that nothing is learnt from


def engine_module(needed_by):
    """Return `skpapers.utils._engine`, or say what to install."""
    import_torch(needed_by)
    import_optional("skorch", extra="torch", needed_by=needed_by)
    from skpapers.utils import _engine

    return _engine


class DeepEstimator(CallbackSupportMixin, DocumentedEstimator):
    """Base of the estimators that train networks on a table.

    Subclasses list the parameters of `DEEP_CONSTRAINTS` in their constructor.
    """

    n_estimators = 1  # networks side by side; a subclass may make it a parameter
    bootstrap = False
    _structure: tuple[str, ...] = ("n_estimators",)

    # --- what a subclass says --------------------------------------------------------
    def _engine(self):
        """Return the class of the net; torch and skorch are there."""
        return engine_module(type(self).__name__).WeightedNet

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

    def _set_state(self, net):
        """Give a new net what was learnt beside its weights."""

    def _conclude(self, inputs, weight):
        """Set attributes that need the net and the rows that it was trained on."""

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
        X, y = validate_data(
            self, X, y, reset=not going_on, dtype=FLOATS, y_numeric=is_regressor(self)
        )
        weight = check_sample_weight(sample_weight, X)
        kept = weight > 0
        if not kept.all():
            X, y, weight = X[kept], y[kept], weight[kept]
        weight = weight / weight.max()  # their sum must not overflow
        if going_on:
            self._take_changes()
        else:
            self._begin(X, y, weight)
        inputs, targets = self._encode(X, y)
        weights = self._member_weights(weight)
        self._run_net(inputs, targets, weights, going_on, n_epochs)
        self._conclude(inputs, weight)
        return self

    def _begin(self, X, y, weight):
        """Learn the units and make new networks."""
        self._fit_params = self.get_params(deep=False)
        # one number: a training that goes on watches and resamples the same rows
        seed = self._fit_params.pop("random_state")
        if not isinstance(seed, Integral):
            seed = check_random_state(seed).randint(2**31 - 1)
        self._seed = int(seed)
        self._dtype = self.dtype or X.dtype.name
        self._y_dtype = "float32" if y.dtype == np.float32 else "float64"
        self._learn_units(X, y, weight)
        self.net_ = self._make_net(self._member_seeds())

    def _take_changes(self):
        """Give the net the parameters that were changed since it was made."""
        then = self._fit_params
        now = {name: getattr(self, name) for name in then}
        changed = {name for name in then if _differ(now[name], then[name])}
        refused = changed.intersection((*STRUCTURE, *self._structure))
        for name in sorted(refused):
            raise ValueError(
                f"{name}={now[name]!r}, but the training that goes on is of "
                f"{name}={then[name]!r}; set it back, or fit without warm_start."
            )
        self._fit_params, net = now, self.net_
        for group in net.optimizer_.param_groups:
            names = changed.intersection(("lr", "weight_decay"), group)
            group.update({name: now[name] for name in names})
        net.batch_size, net.verbose = self.batch_size or -1, int(self.verbose)
        for name, value in self._engine_params().items():
            setattr(net, name, value)

    def _member_seeds(self):
        """Return a seed for each network."""
        random = np.random.RandomState(self._seed)
        return random.randint(2**31 - 1, size=self.n_estimators).tolist()

    def _member_weights(self, weight):
        """Return the weights (n, B) of the rows for each network, of mean 1."""
        n, B = len(weight), self.n_estimators
        weights = np.repeat(weight[:, None], B, axis=1)
        if B > 1 and self.bootstrap:
            random = np.random.RandomState(self._seed)
            random.randint(2**31 - 1, size=B)  # the seeds come first
            weights = weights * random.multinomial(n, np.full(n, 1 / n), size=B).T
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
        net = self._engine()(module.to(device), **self._net_params(engine, device))
        with seeded(seeds[0], device):
            return net.initialize()

    def _net_params(self, engine, device):
        """Return the parameters of the net; some are the user's."""
        optimizer = engine.OPTIMIZERS.get(self.optimizer, self.optimizer)
        own = {
            "criterion": self._make_criterion(),
            "optimizer": optimizer,
            "lr": self.lr,
            "max_epochs": self.max_epochs,
            "batch_size": self.batch_size or -1,
            "device": device,
            "iterator_train": engine.TableBatches,
            "iterator_valid": engine.TableBatches,
            "train_split": None,
            "callbacks": self.callbacks,
            "compile": self.compile,
            "verbose": int(self.verbose),
        }
        given = self.net_params or {}
        taken = sorted(own.keys() & given.keys())
        if taken:
            raise ValueError(
                f"net_params holds {', '.join(taken)}, which {type(self).__name__} "
                "itself sets; use its parameters."
            )
        params = self._engine_params()
        if self.weight_decay:  # not every optimizer has one
            params["optimizer__weight_decay"] = self.weight_decay
        if optimizer in engine.FUSED:
            params["optimizer__fused"] = True
        return own | params | given

    def _new_member(self, engine):
        """Return a new network: our own, or one as the user's."""
        if self.module is None:
            return self._make_module(self.n_features_in_, self.n_outputs_)
        if hasattr(self.module, "forward") and not isinstance(self.module, type):
            member = engine.fresh_module(self.module)
        else:
            member = self.module(self.n_features_in_, self.n_outputs_)
        engine.check_answer(member, self.n_features_in_, self.n_outputs_)
        return member

    def _torch_device(self):
        """Return the name of the device to compute on."""
        if self.device != "auto":
            return self.device
        return "cuda" if import_torch("device").cuda.is_available() else "cpu"

    def _run_net(self, inputs, targets, weights, going_on, n_epochs):
        """Run the loop of skorch and keep what it tells."""
        engine, net = engine_module(type(self).__name__), self.net_
        n_before, n_told = self.n_iter_ if going_on else 0, len(net.history)
        first = self._member_seeds()[0]
        # the order of the rows and dropout differ when a training goes on
        seed = (first + n_before) % (2**31 - 1)
        guard = engine.FiniteGradients()
        told = [("finite", guard), ("progress", engine.Progress(self, n_epochs))]
        net.train_split = None
        if self.early_stopping and len(inputs) > 1:
            net.train_split = engine.HeldOut(self.validation_fraction, first)
            told.append(("early_stopping", self._stop_early(engine)))
        # set_params of an initialised net refuses the one and forgets callbacks' state
        net.iterator_train__seed, net.max_epochs = seed, n_epochs
        net.callbacks_ += told
        table = engine.Table(*map(self._tensor, (inputs, targets, weights)))
        undone = engine.undone_on_failure(net) if going_on else nullcontext()
        try:
            with undone, seeded(seed, net.device), engine.training(self.compile):
                net.partial_fit(table)
        finally:
            net.callbacks_ = net.callbacks_[: -len(told)]
        before = getattr(self, "history_", {}) if going_on else {}  # not of a file
        self.history_ = self._history(net, n_told, before, n_before)
        self.n_iter_ = n_before + len(net.history) - n_told
        self._warn_of_end(guard.failed_, net.was_interrupted_)

    def _stop_early(self, engine):
        """Return the callback; what it watches is the sum over the networks."""
        tol = self.tol * self.n_estimators
        return engine.stop_early(self.n_iter_no_change, tol).initialize()

    def _warn_of_end(self, has_failed, was_interrupted):
        """Warn of a training that did not come to its end."""
        if not (has_failed or was_interrupted):
            return
        reason = "the gradient is not finite" if has_failed else "it was interrupted"
        advice = "; a smaller lr may help" if has_failed else ""
        warnings.warn(
            f"{type(self).__name__} stopped in epoch {self.n_iter_}: {reason}. The "
            f"weights are the last finite ones{advice}.",
            ConvergenceWarning,
            stacklevel=5,
        )

    def _history(self, net, n_told, before, n_before):
        """Return the means of what each epoch recorded, after those before.

        Parameters
        ----------
        net : skorch net
            Its history.
        n_told : int
            Epochs of that history that are not new.
        before : dict of str to ndarray
            What the ``n_before`` epochs before recorded.
        """
        names = {"loss": "train_loss", "valid_loss": "valid_loss"}
        names |= {name: name for name in getattr(net, "recorded", ())}
        epochs, history = net.history[n_told:], {}
        for name, key in names.items():
            means = [_mean_of_batches(epoch["batches"], key) for epoch in epochs]
            if key.endswith("loss"):  # the sum over the networks
                means = [m if m is None else m / self.n_estimators for m in means]
            means = [*before.get(name, [None] * n_before), *means]
            like = next((m for m in means if m is not None), None)
            if like is not None:
                missing = np.full(np.shape(like), np.nan)
                history[name] = np.array([missing if m is None else m for m in means])
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
        return validate_data(self, X, reset=False, dtype=FLOATS, force_writeable=False)

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
        vars(twin).update({k: v for k, v in vars(self).items() if _is_fitted_name(k)})
        if twin.device.startswith("cuda") and not torch.cuda.is_available():
            twin.device = "cpu"
        net = twin._make_net([0] * twin.n_estimators)
        load_weights(net.module_, weights)
        self._set_state(net)
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
        part = f"{os.fspath(path)}.part"  # a file is there whole or not at all
        numpy_format.save_file(arrays, part, metadata={"fitted": json.dumps(words)})
        os.replace(part, path)

    @all_or_nothing
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
        for name in [name for name in vars(self) if _is_fitted_name(name)]:
            del vars(self)[name]
        own = self.get_params(deep=False)
        own.pop("random_state")
        vars(self).update(words | fitted, _fit_params=own)
        self.net_ = self._net_of(weights)
        return self


def _is_fitted_name(name):
    """Tell whether an attribute was learnt in fit."""
    return name in ("_dtype", "_y_dtype", "_seed") or (
        name.endswith("_") and not name.startswith("_")
    )


def _differ(now, then):
    """Tell whether a parameter has another value; sequences may be of another type."""
    if now is then:
        return False
    return not np.array_equal(
        np.asarray(now, dtype=object), np.asarray(then, dtype=object)
    )


def _mean_of_batches(batches, key):
    """Return the mean over the rows of what batches recorded; None without any."""
    size = "valid_batch_size" if key == "valid_loss" else "train_batch_size"
    found = [(b[key], b[size]) for b in batches if key in b and size in b]
    if not found:
        return None
    values, rows = zip(*found, strict=True)
    return np.average(values, axis=0, weights=rows)
