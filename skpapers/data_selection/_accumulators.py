# SPDX-License-Identifier: BSD-3-Clause
"""Scores filled while a classifier trains, from one checkpoint after the other.

An accumulator is told of each checkpoint by `Accumulator.take` and `Accumulator.begin`,
then of the rows, chunk by chunk, by `Accumulator.update`; it keeps O(n) numbers, VoG
O(n d). n rows, d columns, K classes, p probabilities, y labels, c checkpoints,
η learning rate, l cross-entropy, w parameters:

    EL2N           ‖p - y‖ at the end
    GraNd          ‖∂l/∂w‖ at the end
    VoG            mean over the columns of the spread over c of ∂p_y/∂x
    forgetting     number of c at which a row is wrong that was right at c - 1
    PVI            log2 p_y - log2 of the frequency of y
    TracIn         sum over c of η ‖∂l/∂w‖²
"""

import numpy as np

from skpapers.data_selection._checkpoints import ROUNDING
from skpapers.data_selection._labelled import LOG_TINY
from skpapers.data_selection._spreads import (
    group_moments,
    refuse_equal_spreads,
    standardise,
)


class Accumulator:
    """What all accumulators do.

    Parameters
    ----------
    times : tuple of float or None
        Epochs at which to look; None for a classifier that was simply fitted.
    """

    needs_gradients = False

    def __init__(self, times=None):
        self.times = times

    def start(self, codes, n_classes):
        """Forget everything and expect rows with these labels."""
        self.waiting = None if self.times is None else list(self.times)
        self.codes, self.n_classes = codes, n_classes
        self.n_taken = 0

    def take(self, epoch):
        """Return whether the checkpoint at this time is wanted."""
        if self.waiting is None:
            return True
        late = [time for time in self.waiting if time > epoch + ROUNDING]
        wanted = len(late) < len(self.waiting)
        self.waiting = late
        return wanted

    def begin(self, checkpoint):
        """Prepare for the rows of a checkpoint."""
        self.n_taken += 1

    def update(self, rows, p):
        """Read what the model says about a slice of the rows."""
        raise NotImplementedError

    def scores(self, reference=None):
        """Return one number a row.

        Parameters
        ----------
        reference : dict or None
            What `reference` gave for the training rows; None for these themselves.

        Returns
        -------
        ndarray of shape (n_samples,)
            The scores.
        """
        raise NotImplementedError

    def reference(self):
        """Return what it takes to score other rows on the same scale."""
        return {}

    def path(self):
        """Return the scores by checkpoint where they are kept, else None."""
        return None


class LastValue(Accumulator):
    """A number a row that each checkpoint replaces.

    Parameters
    ----------
    times : tuple of float or None
        Epochs at which to look.
    keep_path : bool, default=False
        Whether to keep the numbers of all checkpoints.
    """

    def __init__(self, times=None, keep_path=False):
        super().__init__(times)
        self.keep_path = keep_path

    def start(self, codes, n_classes):
        """Forget everything and expect rows with these labels."""
        super().start(codes, n_classes)
        self.values = [np.zeros(len(codes))]

    def begin(self, checkpoint):
        """Make room for the numbers of a checkpoint."""
        super().begin(checkpoint)
        if self.keep_path and self.n_taken > 1:
            self.values.append(np.zeros(len(self.codes)))

    def update(self, rows, p):
        """Read what the model says about a slice of the rows."""
        self.values[-1][rows] = self.value(p, self.codes[rows])

    def value(self, p, codes):
        """Return the number of each row of a chunk."""
        raise NotImplementedError

    def scores(self, reference=None):
        """Return the numbers of the last checkpoint."""
        return self.values[-1]

    def path(self):
        """Return the numbers of all checkpoints."""
        return np.array(self.values) if self.keep_path else None


class ErrorNorm(LastValue):
    """EL2N: norm of p - y.

    Parameters
    ----------
    times : tuple of float or None
        Epochs at which to look.
    norm : {1, 2}
        Order of the norm.
    keep_path : bool, default=False
        Whether to keep the numbers of all checkpoints.
    """

    def __init__(self, times, norm, keep_path=False):
        super().__init__(times, keep_path)
        self.norm = norm

    def value(self, p, codes):
        """Return the norm of the errors of a chunk."""
        return np.linalg.norm(p.errors(codes), ord=self.norm, axis=1)


class GradientNorm(LastValue):
    """GraNd: norm of the gradient of the loss.

    Parameters
    ----------
    times : tuple of float or None
        Epochs at which to look.
    layers : list of int or None
        Layers that count; None for all.
    keep_path : bool, default=False
        Whether to keep the numbers of all checkpoints.
    """

    needs_gradients = True

    def __init__(self, times, layers=None, keep_path=False):
        super().__init__(times, keep_path)
        self.layers = layers

    def value(self, p, codes):
        """Return the norm of the gradients of a chunk."""
        return p.gradient_norms(codes, layers=self.layers)


class Information(LastValue):
    """PVI: bits that the model adds to the frequency of the label.

    Parameters
    ----------
    times : tuple of float or None
        Epochs at which to look.
    log_null : ndarray of shape (n_classes,) or None
        Natural logarithm of the probability of each class without the columns; None if
        a reference is going to bring it.
    keep_path : bool, default=False
        Whether to keep the numbers of all checkpoints.
    """

    def __init__(self, times, log_null, keep_path=False):
        super().__init__(times, keep_path)
        self.log_null = log_null

    def value(self, p, codes):
        """Return the logarithms of the probabilities of the labels of a chunk."""
        return np.maximum(p.log_proba[np.arange(len(codes)), codes], LOG_TINY)

    def reference(self):
        """Return the probabilities without the columns."""
        return {"log_null": self.log_null}

    def scores(self, reference=None):
        """Return the bits at the last checkpoint."""
        return self._bits(self.values[-1], reference or self.reference())

    def path(self):
        """Return the bits at all checkpoints."""
        log_p = super().path()
        return None if log_p is None else self._bits(log_p, self.reference())

    def _bits(self, log_p, reference):
        return (log_p - reference["log_null"][self.codes]) / np.log(2)


class Forgetting(Accumulator):
    """Number of times that a row is wrong after it was right.

    Two bits and a counter a row are kept.

    Parameters
    ----------
    times : tuple of float
        Epochs at which to look.
    never_learned : {"max", "inf"}
        What a row gets that is never right: the number of checkpoints, or infinity.
    """

    def __init__(self, times, never_learned):
        super().__init__(times)
        self.never_learned = never_learned

    def start(self, codes, n_classes):
        """Forget everything and expect rows with these labels."""
        super().start(codes, n_classes)
        self.right = np.zeros(len(codes), dtype=bool)
        self.learned = np.zeros(len(codes), dtype=bool)
        self.events = np.zeros(len(codes), dtype=np.int32)

    def update(self, rows, p):
        """Compare the predictions of a chunk with the labels."""
        right = p.log_proba.argmax(axis=1) == self.codes[rows]
        self.events[rows] += self.right[rows] & ~right
        self.learned[rows] |= right
        self.right[rows] = right

    def scores(self, reference=None):
        """Return the numbers of events."""
        top = self.n_taken if self.never_learned == "max" else np.inf
        return np.where(self.learned, self.events, float(top))


class SelfInfluence(Accumulator):
    """TracIn: sum over the checkpoints of η ‖∂l/∂w‖².

    Parameters
    ----------
    times : tuple of float or None
        Epochs at which to look.
    learning_rates : "auto", float or sequence of float
        Of the checkpoints; "auto" takes those of the optimiser, and 1 without one.
    layers : list of int or None
        Layers that count; None for all.
    """

    needs_gradients = True

    def __init__(self, times, learning_rates, layers=None):
        super().__init__(times)
        self.learning_rates = learning_rates
        self.layers = layers

    def start(self, codes, n_classes):
        """Forget everything and expect rows with these labels."""
        super().start(codes, n_classes)
        self.total = np.zeros(len(codes))

    def begin(self, checkpoint):
        """Find the learning rate of a checkpoint."""
        super().begin(checkpoint)
        if isinstance(self.learning_rates, str):
            rate = checkpoint.learning_rate
            self.rate = rate if np.isfinite(rate) else 1.0
        elif np.ndim(self.learning_rates):
            self.rate = self.learning_rates[self.n_taken - 1]
        else:
            self.rate = self.learning_rates

    def update(self, rows, p):
        """Add the squared norms of a chunk."""
        norms = p.gradient_norms(self.codes[rows], layers=self.layers)
        self.total[rows] += self.rate * norms**2

    def scores(self, reference=None):
        """Return the sums."""
        return self.total


class GradientSpread(Accumulator):
    """VoG: spread over the checkpoints of the gradient by the columns.

    The spread is followed by Welford's recurrence in 2 n d numbers.

    Parameters
    ----------
    times : tuple of float
        Epochs at which to look.
    output : {"proba", "logit"}
        What is differentiated, for the true class.
    spread : {"var", "std"}
        Population variance of each component, or its root.
    normalize : {"class", "dataset"} or None
        Whose mean and standard deviation standardise the scores.
    clip : float or None
        Bound of the scores' absolute value, before they are standardised.
    """

    needs_gradients = True

    def __init__(self, times, output, spread, normalize, clip):
        super().__init__(times)
        self.output, self.spread = output, spread
        self.normalize, self.clip = normalize, clip

    def start(self, codes, n_classes):
        """Forget everything and expect rows with these labels."""
        super().start(codes, n_classes)
        self.mean = self.squares = None

    def update(self, rows, p):
        """Move means and sums of squares of a chunk."""
        gradients = p.input_gradients(self.codes[rows], output=self.output)
        if self.mean is None:
            shape = len(self.codes), gradients.shape[1]
            self.mean, self.squares = np.zeros(shape), np.zeros(shape)
        step = gradients - self.mean[rows]
        self.mean[rows] += step / self.n_taken
        self.squares[rows] += step * (gradients - self.mean[rows])

    def scores(self, reference=None):
        """Return the standardised spreads."""
        spreads = self._cut_spreads()
        if self.normalize is None:
            return spreads
        reference = self.reference() if reference is None else reference
        return standardise(spreads, self._groups(), reference["mean"], reference["std"])

    def reference(self):
        """Return mean and standard deviation of the spreads, by class if asked for."""
        if self.normalize is None:
            return {}
        groups, spreads = self._groups(), self._cut_spreads()
        mean, std = group_moments(spreads, groups, self.n_classes)
        if self.output == "logit" and self.normalize == "class":
            refuse_equal_spreads(mean, std, groups)
        return {"mean": mean, "std": std}

    def _cut_spreads(self):
        spreads = self.squares / self.n_taken
        if self.spread == "std":
            spreads = np.sqrt(spreads)
        spreads = spreads.mean(axis=1)
        return spreads if self.clip is None else np.minimum(spreads, self.clip)

    def _groups(self):
        if self.normalize == "class":
            return self.codes
        return np.zeros(len(self.codes), dtype=np.intp)
