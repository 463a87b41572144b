# SPDX-License-Identifier: BSD-3-Clause
"""The steps of `TargetSurrogateOptimizer`, in torch."""

from numbers import Integral, Real

import torch

__all__ = ["SurrogateSteps"]

ARMIJO = 0.1  # of the inner steps
SUFFICIENT = 0.5  # of the line search on eta
GROWTH, EXPAND, SHRINK = 2.0, 1.8, 0.9
FIRST_STEP = 10.0
KEY = "surrogate"  # what the optimizer remembers, beside the states of parameters


class SurrogateSteps(torch.optim.Optimizer):
    """Outer and inner steps on the parameters of all groups together."""

    def _set_up(self, params, lr, n_inner, weight_decay):
        if not (lr == "armijo" or (isinstance(lr, Real) and 0 < lr < float("inf"))):
            raise ValueError(f"lr must be 'armijo' or a positive number, got {lr!r}.")
        if not isinstance(n_inner, Integral) or n_inner < 1:
            raise ValueError(f"n_inner must be an integer >= 1, got {n_inner!r}.")
        if not (isinstance(weight_decay, Real) and weight_decay >= 0):
            raise ValueError(f"weight_decay must be >= 0, got {weight_decay!r}.")
        defaults = {"lr": lr, "n_inner": n_inner, "weight_decay": weight_decay}
        torch.optim.Optimizer.__init__(self, params, defaults)

    @property
    def n_oracle_calls(self):
        """Return the number of evaluations of the loss with gradient."""
        return self._memory()["n_oracle_calls"]

    @property
    def n_value_calls(self):
        """Return the number of evaluations for a value alone."""
        return self._memory()["n_value_calls"]

    def _memory(self):
        fresh = {"n_oracle_calls": 0, "n_value_calls": 0, "step": FIRST_STEP}
        return self.state.setdefault(KEY, fresh)

    def _trained(self):
        """Return pairs of parameter and weight decay."""
        return [
            (p, group["weight_decay"])
            for group in self.param_groups
            for p in group["params"]
            if p.requires_grad
        ]

    def _take_step(self, forward, loss):
        memory = self._memory()
        with torch.enable_grad():
            prediction = forward()
            z = prediction.detach().requires_grad_()
            value, g = self._call(loss, z)
        memory["n_oracle_calls"] += 1
        eta = self.param_groups[0]["lr"]
        if eta == "armijo":
            with torch.no_grad():
                eta = self._search(loss, z, g, value, memory)
        self._solve(forward, prediction, z.detach(), g, eta, memory)
        return value

    @staticmethod
    def _call(loss, z):
        """Return the loss and the gradients of the rows."""
        value = loss(z)
        if not isinstance(value, torch.Tensor) or value.numel() != 1:
            raise ValueError("loss(z) must return a tensor with one element.")
        if not value.requires_grad:
            raise ValueError("loss(z) must depend on z by differentiable operations.")
        (gradient,) = torch.autograd.grad(value.reshape(()), z)
        if not torch.isfinite(value).all() or not torch.isfinite(gradient).all():
            raise ValueError("loss(z) or its gradient is not finite.")
        return value.detach().reshape(()), gradient * len(z)

    @staticmethod
    def _search(loss, z, g, value, memory):
        """Return the eta that decreases the loss along -g enough."""
        slope = SUFFICIENT * float((g * g).sum()) / len(z)
        largest = float(g.abs().max())
        if largest == 0:
            return memory.get("eta", 1.0)

        def accepted(eta):
            memory["n_value_calls"] += 1
            return float(loss(z - eta * g)) <= float(value) - eta * slope

        first = "eta" not in memory
        eta = 1 / largest if first else memory["eta"] * EXPAND
        if first and accepted(eta):
            for _ in range(60):
                if not accepted(eta * EXPAND):
                    break
                eta *= EXPAND
        else:
            for _ in range(400):
                if accepted(eta):
                    break
                eta *= SHRINK
        memory["eta"] = eta
        return eta

    def _solve(self, forward, prediction, z, g, eta, memory):
        """Take the inner steps; the first forward pass is that of the outer step."""
        trained = self._trained()
        parameters = [p for p, _ in trained]

        def surrogate(f):
            move = f - z
            q = ((g + move / (2 * eta)) * move).sum() / len(z)
            for p, decay in trained:
                if decay:
                    q = q + 0.5 * decay * (p * p).sum()
            return q

        step = memory["step"]
        for k in range(self.param_groups[0]["n_inner"]):
            with torch.enable_grad():
                q = surrogate(prediction if k == 0 else forward())
                found = torch.autograd.grad(q, parameters, allow_unused=True)
            slopes = [
                torch.zeros_like(p) if s is None else s
                for p, s in zip(parameters, found, strict=True)
            ]
            square = float(sum((s * s).sum() for s in slopes))
            if square == 0:
                break
            with torch.no_grad():
                taken = self._backtrack(
                    lambda: float(surrogate(forward())),
                    parameters,
                    slopes,
                    float(q),
                    square,
                    step * GROWTH,
                )
            if taken is None:
                break
            step = taken
        memory["step"] = step

    @staticmethod
    def _backtrack(value, parameters, slopes, q, square, step):
        """Move the parameters and return the step, or leave them and return None."""
        start = [p.clone() for p in parameters]
        for _ in range(60):
            for p, p0, s in zip(parameters, start, slopes, strict=True):
                p.copy_(p0 - step * s)
            excess = value() - (q - step * square)  # over the tangent
            if excess <= (1 - ARMIJO) * step * square:
                return step
            # to the minimum of the parabola through what is known
            factor = 0.5 * step * square / excess if excess < float("inf") else 0.1
            step *= min(max(factor, 0.1), SHRINK)
        for p, p0 in zip(parameters, start, strict=True):
            p.copy_(p0)
        return None
