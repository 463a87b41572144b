# SPDX-License-Identifier: BSD-3-Clause
"""The outer loop: a Newton step for (x, lam), penalties, line search, stopping."""

import time
from dataclasses import dataclass, field

import numpy as np
from scipy.linalg import qr
from scipy.optimize import OptimizeResult

from skpapers.solvers._constrained._direct import FactorisationError
from skpapers.solvers._constrained._matrices import add_hessians, hessian_dot
from skpapers.solvers._constrained._problem import Evaluation

CONVERGED, MAX_ITER, STOPPED, PRECISION, UNBOUNDED, INFEASIBLE, FAILED = range(7)
HALVINGS = 60
SHORT = 1 / 64  # part of a step below which B is stiffened instead
STIFFENINGS = 8  # tries an iteration
RELAX = 10.0
RETRIES = 5  # of a line search, with ever less weight on the Hessian
ROUNDING = 10 * np.finfo(float).eps
HUGE = 1e20
REFINEMENTS = 4
ACCURATE = 1e-6  # relative residual above which a factorisation is not trusted
UNSOLVABLE = 1e-3  # relative residual above which the equations contradict each other


@dataclass
class Step:
    """A direction with the products that the merit function needs."""

    dx: np.ndarray
    dlam: np.ndarray
    H_dx: np.ndarray
    G_dx: np.ndarray
    Gt_dlam: np.ndarray
    tau: float = 0.0
    n_inner: int = 0
    residual: float = 0.0


def complete(dx, dlam, H, G, tau, n_inner=0, H_dx=None):
    """Return the step of a direction."""
    H_dx = hessian_dot(H, dx) if H_dx is None else H_dx
    return Step(dx, dlam, H_dx, G.dot(dx), G.tdot(dlam), tau, n_inner)


@dataclass
class Iterate:
    """A point with multipliers and what follows from both."""

    point: object
    lam: np.ndarray
    gL: np.ndarray = field(init=False)  # noqa: N815
    kkt: float = field(init=False)

    def __post_init__(self):
        point = self.point
        self.gL = point.g + point.G.tdot(self.lam)
        self.kkt = float(np.sqrt(self.gL @ self.gL + point.c @ point.c))

    @property
    def optimality(self):
        """Largest entry of the gradient of the Lagrangian."""
        return float(np.max(np.abs(self.gL), initial=0.0))

    @property
    def violation(self):
        """Largest entry of c."""
        return float(np.max(np.abs(self.point.c), initial=0.0))


def curves(step, c):
    """Tell whether the curvature along a step is positive enough."""
    length = float(step.dx @ step.dx)
    curvature = float(step.dx @ step.H_dx) + step.tau * length
    return curvature + max(-float(step.dlam @ c), 0.0) >= 1e-10 * length


def stiffened(H, extra):
    """Return H + extra I."""
    return add_hessians(H, np.full(H.shape[0], extra)) if extra else H


def soften(step, extra):
    """Count what was added to H as part of the shift."""
    if extra:
        step.H_dx = step.H_dx - extra * step.dx
        step.tau += extra


def within_reach(G, c):
    """Return the part of c that steps can change, the projection onto G's columns."""
    Q, R, _ = qr(G.dense(), mode="economic", pivoting=True)
    size = np.abs(np.diag(R))
    Q = Q[:, size > 1e-8 * max(size[0], 1e-300)]
    return Q @ (Q.T @ c)


class ExactSteps:
    """Steps from a factorisation, refined until the residual is that of rounding."""

    def __init__(self, system):
        self.system = system
        self.name = system.name

    def direction(self, H, iterate, merit, size, extra=0.0):
        """Return a step along which the merit falls, and a, b, q."""
        G, c, gL = iterate.point.G, iterate.point.c, iterate.gL
        step = self._solve(stiffened(H, extra), G, gL, c)
        soften(step, extra)
        parts = merit.slope_parts(c, gL, step)
        while not (merit.descends(parts, size) or merit.at_cap):
            merit.tighten()
        return step, parts

    def _solve(self, H, G, gL, c):
        system = self.system
        system.tau = system.prepare(H, G)
        step = self._refine(H, G, gL, c, system.tau)
        exchange = getattr(system, "refactorise", lambda: False)
        if step.residual > ACCURATE and exchange():
            step = self._refine(H, G, gL, c, system.tau)
        if step.residual > UNSOLVABLE:  # dependent rows: as far as they allow
            step = self._refine(H, G, gL, within_reach(G, c), system.tau)
        while not getattr(system, "proven", True) and not curves(step, c):
            step = self._refine(H, G, gL, c, system.prepare_more())
        return step

    def _refine(self, H, G, gL, c, tau):
        size = float(np.sqrt(gL @ gL + c @ c))
        dx, dlam = self.system.solve(-gL, -c)
        best = None
        for _ in range(REFINEMENTS + 1):
            step = complete(dx, dlam, H, G, tau)
            r1 = -gL - step.H_dx - tau * dx - step.Gt_dlam
            r2 = -c - step.G_dx
            step.residual = float(np.sqrt(r1 @ r1 + r2 @ r2)) / size
            if best is not None and not step.residual < 0.5 * best.residual:
                break
            best = step
            if best.residual <= 1e-11:
                break
            ddx, ddlam = self.system.solve(r1, r2)
            dx, dlam = dx + ddx, dlam + ddlam
        if not np.isfinite(best.residual):
            raise FactorisationError("The linear system for the step is singular.")
        return best


@dataclass
class Outcome:
    """What the loop hands back."""

    iterate: Iterate
    status: int
    nit: int
    n_inner: int
    history: list
    detail: str = ""


class Loop:
    """Newton steps on the exact augmented Lagrangian.

    Parameters
    ----------
    problem : Problem
        The callbacks.
    make_engine : callable
        From the first Hessian and Jacobian, and the size of the former or None, to
        what makes steps.
    tol, max_iter : float, int
        When to stop.
    report : callable
        Takes the record and the iterate after every step; True stops.
    stiffens : bool
        Whether B may get more curvature where only very short steps are accepted.
    """

    def __init__(self, problem, make_engine, tol, max_iter, report, stiffens=True):
        self.problem, self.make_engine = problem, make_engine
        self.stiffens = stiffens
        self.tol, self.max_iter, self.report = tol, max_iter, report
        self.start = time.perf_counter()

    def run(self, iterate, merit, nit=0, n_inner=0, history=None):
        """Iterate from a start to an `Outcome`."""
        self.merit, self.engine, self.f0 = merit, None, iterate.point.f
        self.extra = 0.0
        history = [] if history is None else history
        record = self._record(iterate)
        while True:
            history.append(record)
            stop = self.report(record, iterate)
            status, detail = self._state(iterate, nit, stop), ""
            if status is None:
                try:
                    iterate, record, detail = self._advance(iterate)
                except (Evaluation, FactorisationError) as error:
                    status, detail = FAILED, str(error)
                else:
                    n_inner += record["n_inner"]
                    status = PRECISION if detail else None
            if status is not None:
                return Outcome(iterate, status, nit, n_inner, history, detail)
            nit += 1

    def run_again(self, iterate, merit, outcome):
        """Start again with another merit; return the better outcome."""
        self.problem.forget()
        so_far = (outcome.nit, outcome.n_inner, outcome.history)
        again = self.run(iterate, merit, *so_far)
        if again.status == CONVERGED or again.iterate.kkt < outcome.iterate.kkt:
            return again
        outcome.nit, outcome.n_inner = again.nit, again.n_inner
        return outcome

    def _state(self, iterate, nit, stop):
        """Return the status to stop with, or None."""
        if iterate.kkt <= self.tol:
            return CONVERGED
        if stop:
            return STOPPED
        if iterate.point.f < -HUGE * max(1.0, abs(self.f0)) or not (
            np.max(np.abs(iterate.point.x), initial=0.0) < HUGE
        ):
            return UNBOUNDED
        return MAX_ITER if nit == self.max_iter else None

    def _record(self, iterate, **more):
        return {
            "fun": iterate.point.f,
            "kkt": iterate.kkt,
            "optimality": iterate.optimality,
            "constr_violation": iterate.violation,
            "eta1": self.merit.eta1,
            "eta2": self.merit.eta2,
            "delta": self.merit.delta,
            "seconds": time.perf_counter() - self.start,
            **more,
        }

    def _advance(self, iterate):
        """Return the next iterate, its record, and a word if nothing moved."""
        merit, penalties = self.merit, self.merit.penalties()
        found = self._try(iterate)
        if found["new"] is None and self.problem.has_learnt:
            self.problem.forget()  # what was learnt about the Hessian misleads
            merit.restore(penalties)
            found = self._try(iterate)
        new, word = found.pop("new"), ""
        if new is None:
            new, word = iterate, "no step along the Newton direction lowers the merit"
        return new, self._record(new, **found), word

    def _try(self, iterate):
        """Make a step; return the new iterate (or None) and what to note."""
        merit, point = self.merit, iterate.point
        H = self.problem.hessian(point, iterate.lam)
        merit.weigh(H, point.G)
        if self.engine is None:
            self.engine = self.make_engine(H, point.G, merit.h)
        size = merit.size(point.c, iterate.gL)
        penalties = merit.penalties()
        for k in range(STIFFENINGS + 1):
            step, parts = self.engine.direction(H, iterate, merit, size, self.extra)
            slope = merit.slope(parts)
            before = merit.value(point.f, point.c, iterate.gL, iterate.lam)
            shortest = SHORT if self.stiffens and k < STIFFENINGS else 0.0
            new, alpha, after = self._search(iterate, step, slope, before, shortest)
            if new is not None or not shortest or abs(slope) < 1e-12 * abs(before):
                break
            # constraints bend more than the Lagrangian knows: its multipliers are far
            # off; more curvature in B keeps the step where the model holds
            length = max(float(step.dx @ step.dx), 1e-300)
            curvature = float(step.dx @ step.H_dx) / length + step.tau
            self.extra = max(RELAX * self.extra, RELAX * abs(curvature), 1e-12)
            merit.restore(penalties)
        for _ in range(RETRIES):
            if new is not None or merit.at_cap or self.problem.has_learnt:
                break
            merit.trust_less(parts, size)  # q is wrong as far as H is
            slope = merit.slope(parts)
            before = merit.value(point.f, point.c, iterate.gL, iterate.lam)
            new, alpha, after = self._search(iterate, step, slope, before)
        if alpha == 1.0:
            self.extra = self.extra / RELAX if self.extra > 1e-3 * step.tau else 0.0
        return {
            "new": new,
            "alpha": alpha,
            "merit_before": before,
            "merit": after,
            "slope": slope,
            "size": size,
            "tau": step.tau,
            "n_inner": step.n_inner,
            "residual": step.residual,
        }

    def _search(self, iterate, step, slope, before, shortest=0.0):
        """Backtrack; return the accepted iterate (or None), alpha and the merit."""
        merit, alpha = self.merit, 1.0
        if slope >= 0:  # the penalties are at their limits
            return None, 0.0, before
        for _ in range(HALVINGS):
            if alpha < shortest:
                break
            trial = self._trial(iterate, alpha * step.dx, alpha * step.dlam)
            enough = before + alpha * merit.beta * slope
            after = self._merit_of(trial)
            if after <= enough:
                return trial, alpha, after
            # below the rounding of M only the residual can tell
            if trial is not None and abs(alpha * slope) < ROUNDING * abs(before):
                better = trial.kkt < iterate.kkt
                return (trial if better else None), alpha, after
            alpha /= 2
        return None, 0.0, before

    def _merit_of(self, trial):
        if trial is None:
            return np.inf
        point = trial.point
        return self.merit.value(point.f, point.c, trial.gL, trial.lam)

    def _trial(self, iterate, dx, dlam):
        point = self.problem.point(iterate.point.x + dx)
        if point is None:
            return None
        with np.errstate(all="ignore"):
            trial = Iterate(point, iterate.lam + dlam)
        return trial if np.isfinite(trial.kkt) else None


def result_of(outcome, problem, words):
    """Return the `scipy.optimize.OptimizeResult` of an outcome."""
    iterate = outcome.iterate
    return OptimizeResult(
        x=iterate.point.x.copy(),
        fun=iterate.point.f,
        jac=iterate.point.g.copy(),
        lam=iterate.lam.copy(),
        optimality=iterate.optimality,
        constr_violation=iterate.violation,
        kkt=iterate.kkt,
        nit=outcome.nit,
        nfev=problem.nfev,
        njev=problem.njev,
        nhev=problem.nhev,
        n_inner=outcome.n_inner,
        status=outcome.status,
        success=outcome.status == CONVERGED,
        message=words,
    )
