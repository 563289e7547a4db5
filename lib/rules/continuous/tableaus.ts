// Explicit Runge-Kutta methods as Butcher tableaus.

/** Stages at t + c h; stage i reads y + h sum_j a[i][j] k_j, and the step is h sum_i b_i k_i. */
export interface Tableau {
  /** The error of a step is of order h^(order + 1). */
  readonly order: number;
  readonly c: readonly number[];
  readonly a: readonly (readonly number[])[];
  readonly b: readonly number[];
  /** Where the step size is adapted: b minus the weights of the embedded method of the order below. */
  readonly error?: readonly number[];
}

/** The names of the methods. */
export type OdeMethod = 'euler' | 'midpoint' | 'rk4' | 'rk4Classic' | 'dopri5';

export const TABLEAUS: Readonly<Record<OdeMethod, Tableau>> = {
  euler: { order: 1, c: [0], a: [[]], b: [1] },
  midpoint: { order: 2, c: [0, 1 / 2], a: [[], [1 / 2]], b: [0, 1] },
  // Kutta's 3/8 rule, which torchdiffeq has under this name.
  rk4: {
    order: 4,
    c: [0, 1 / 3, 2 / 3, 1],
    a: [[], [1 / 3], [-1 / 3, 1], [1, -1, 1]],
    b: [1 / 8, 3 / 8, 3 / 8, 1 / 8],
  },
  rk4Classic: {
    order: 4,
    c: [0, 1 / 2, 1 / 2, 1],
    a: [[], [1 / 2], [0, 1 / 2], [0, 0, 1]],
    b: [1 / 6, 1 / 3, 1 / 3, 1 / 6],
  },
  // Dormand and Prince 1980; the last stage is the first one of the next step.
  dopri5: {
    order: 5,
    c: [0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1, 1],
    a: [
      [],
      [1 / 5],
      [3 / 40, 9 / 40],
      [44 / 45, -56 / 15, 32 / 9],
      [19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729],
      [9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656],
      [35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84],
    ],
    b: [35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84, 0],
    error: [
      35 / 384 - 5179 / 57600,
      0,
      500 / 1113 - 7571 / 16695,
      125 / 192 - 393 / 640,
      -2187 / 6784 + 92097 / 339200,
      11 / 84 - 187 / 2100,
      -1 / 40,
    ],
  },
};

export const ODE_METHODS = Object.keys(TABLEAUS) as OdeMethod[];
