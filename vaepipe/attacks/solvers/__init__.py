"""Solvers: what lowers an objective over images in [0,1]ⁿ. They know no model, no loss and no file.

**Contract with the caller.** A solver of penalised attacks is a module with

    minimise(value_and_grad, x, lambda_, *,
             slots, sizes, max_iterations, tolerance, memory, start, initial) -> Solution

which minimises φ(u) + λ‖u − x‖₂ over u in [0,1]ⁿ, for R rows at once:

* ``value_and_grad`` maps inputs (B, n) and their row numbers (B,) to φ (B,) and ∇φ (B, n). It treats rows
  independently. A solver calls it with ``slots`` rows or one of ``sizes``; only then does a row's rounding
  not depend on the batch.
* ``x`` (R, n) in [0,1]: the image of each row; ``lambda_`` (R,): its positive weight.
* ``start`` (R, n) in [0,1]: the first point, ``x`` where None; ``initial`` (R,): φ(x), required where
  ``start`` is given.
* ``max_iterations``, ``tolerance``, ``memory``: budget of evaluations, stopping rule and length of the
  history. A solver that has rules of its own ignores them.
* The result is a `solution.Solution`: fields of R rows in the order of ``x``. A row's values do not depend
  on the other rows. A row whose φ is never finite is returned at its start, with ``converged`` False and a
  NaN objective.

The caller chooses the module by the name of the method. A new method is one more module
with this function. A method that first runs another (momentum, for example) hands the points it reaches to
the second one as ``start``.

`momentum.descend` walks on from given points. `restoration.descend` does so where φ is half a sum of squares,
with the residuals and their Jacobian in place of ``value_and_grad``.

`spectral_gradient.descend` solves the other problem, φ(x + d) over a ball ‖d‖ ≤ ε, with the same
``value_and_grad``.

**Parts of the batched L-BFGS.** Each is one small file:

* `slots`: the queue of rows and the base class of everything that has one entry per slot
* `iterate`: current point, objective and gradient
* `line_search`: sufficient decrease, shorter steps (shared with `spectral_gradient`)
* `history`: the ring of pairs and their products
* `direction`: the quasi-Newton direction
* `window`: the last accepted values (shared with `spectral_gradient`)
* `stopping`: when a row has converged
* `lbfgs`: the loop over them

`projections` has the nearest points of balls, `vectors` the row-wise products and norms.
"""
