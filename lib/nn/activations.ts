// Activations, dropout and shapes as modules, for chains of them; PyTorch's names and defaults.
import { checkChoice, checkInteger, checkNumber, scope, type Tensor } from '../core';
import { checkTensor, dropout, gelu, leakyRelu } from '../ops';
import { Module } from './module';

/** max(x, 0) */
export class ReLU extends Module {
  /** x of any shape, element by element. */
  forward(x: Tensor): Tensor {
    checkTensor('ReLU', 'x', x);
    return x.relu();
  }
}

/** x where it is positive, else negativeSlope x, 0.01 by default. */
export class LeakyReLU extends Module {
  constructor(
    /** Slope below 0. */
    readonly negativeSlope = 0.01,
  ) {
    super();
    checkNumber('LeakyReLU', 'negativeSlope', negativeSlope);
  }

  /** x of any shape, element by element. */
  forward(x: Tensor): Tensor {
    checkTensor('LeakyReLU', 'x', x);
    return leakyRelu(x, this.negativeSlope);
  }
}

/** x times the normal distribution function of x, or its approximation by tanh. */
export class GELU extends Module {
  constructor(
    /** Which of the two. */
    readonly approximate: 'none' | 'tanh' = 'none',
  ) {
    super();
    checkChoice('GELU', 'approximate', approximate, ['none', 'tanh']);
  }

  /** x of any shape, element by element. */
  forward(x: Tensor): Tensor {
    return gelu(x, this.approximate);
  }
}

/** x sigmoid(x) */
export class SiLU extends Module {
  /** x of any shape, element by element. */
  forward(x: Tensor): Tensor {
    checkTensor('SiLU', 'x', x);
    return x.silu();
  }
}

/** tanh(x) */
export class Tanh extends Module {
  /** x of any shape, element by element. */
  forward(x: Tensor): Tensor {
    checkTensor('Tanh', 'x', x);
    return x.tanh();
  }
}

/** 1 / (1 + e^-x) */
export class Sigmoid extends Module {
  /** x of any shape, element by element. */
  forward(x: Tensor): Tensor {
    checkTensor('Sigmoid', 'x', x);
    return x.sigmoid();
  }
}

/** log(sigmoid(x)), accurate for large |x|. */
export class LogSigmoid extends Module {
  /** x of any shape, element by element. */
  forward(x: Tensor): Tensor {
    checkTensor('LogSigmoid', 'x', x);
    return x.logSigmoid();
  }
}

/** log(1 + e^(beta x)) / beta, beta 1 by default; accurate for large |x|, so it has no threshold as PyTorch's has. */
export class Softplus extends Module {
  constructor(
    /** Sharpness, above 0. */
    readonly beta = 1,
  ) {
    super();
    checkNumber('Softplus', 'beta', beta, Number.MIN_VALUE);
  }

  /** x of any shape, element by element. */
  forward(x: Tensor): Tensor {
    checkTensor('Softplus', 'x', x);
    return this.beta === 1 ? x.softplus() : scope(() => x.mul(this.beta).softplus().div(this.beta));
  }
}

/** e^x / sum e^x along a dimension, the last one by default. */
export class Softmax extends Module {
  constructor(
    /** The dimension that adds up to 1. */
    readonly dim = -1,
  ) {
    super();
    checkInteger('Softmax', 'dim', dim, -Number.MAX_SAFE_INTEGER);
  }

  /** x of any shape. */
  forward(x: Tensor): Tensor {
    checkTensor('Softmax', 'x', x);
    return x.softmax(this.dim);
  }
}

/** The logarithm of the softmax along a dimension, the last one by default. */
export class LogSoftmax extends Module {
  constructor(
    /** The dimension of the softmax. */
    readonly dim = -1,
  ) {
    super();
    checkInteger('LogSoftmax', 'dim', dim, -Number.MAX_SAFE_INTEGER);
  }

  /** x of any shape. */
  forward(x: Tensor): Tensor {
    checkTensor('LogSoftmax', 'x', x);
    return x.logSoftmax(this.dim);
  }
}

/** x itself, another handle of it. */
export class Identity extends Module {
  /** x of any shape. */
  forward(x: Tensor): Tensor {
    checkTensor('Identity', 'x', x);
    return x.another();
  }
}

/**
 * Dropout while training, nothing else: each element becomes 0 with probability p, 0.5 by default, and the others are
 * divided by 1 - p. Random numbers come from the seeded generator, a trainer's from that of its run.
 */
export class Dropout extends Module {
  constructor(
    /** Probability of 0. */
    readonly p = 0.5,
  ) {
    super();
    checkNumber('Dropout', 'p', p, 0, 1);
  }

  /** x of any shape; another handle of it outside training. */
  forward(x: Tensor): Tensor {
    checkTensor('Dropout', 'x', x);
    return this.training && this.p > 0 ? dropout(x, this.p) : x.another();
  }
}

/** The dimensions startDim (1 by default) to endDim (the last one) as one: [B, C, H, W] to [B, C H W]. */
export class Flatten extends Module {
  constructor(
    /** The first dimension that is joined; negative ones count from the end. */
    readonly startDim = 1,
    /** The last one. */
    readonly endDim = -1,
  ) {
    super();
    checkInteger('Flatten', 'startDim', startDim, -Number.MAX_SAFE_INTEGER);
    checkInteger('Flatten', 'endDim', endDim, -Number.MAX_SAFE_INTEGER);
  }

  /** x [B, ...], of at least one dimension. */
  forward(x: Tensor): Tensor {
    checkTensor('Flatten', 'x', x);
    const { startDim, endDim } = this;
    const from = checkInteger('Flatten', 'startDim', startDim < 0 ? startDim + x.ndim : startDim, 0, x.ndim - 1);
    const to = checkInteger('Flatten', 'endDim', endDim < 0 ? endDim + x.ndim : endDim, from, x.ndim - 1);
    const joined = x.shape.slice(from, to + 1).reduce((a, b) => a * b, 1);
    return x.reshape([...x.shape.slice(0, from), joined, ...x.shape.slice(to + 1)]);
  }
}
