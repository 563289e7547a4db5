// A matrix that learns at test time, chunk by chunk (spec 2.13.16, 2.13.17), and its gradients.
import type { KernelArguments } from '../../table';
import { type Floats, floats, maybe } from '../view';
import { add, block, type Block, map, multiply, rows, sumsOf, transposed } from './matrices';
import { eachTrack, type Numbers, numbers, type Track } from './words';

type Forward = KernelArguments<'linearLearner'>;
type Backward = KernelArguments<'linearLearnerBackward'>;
type Sizes = Pick<Forward, 'tokens' | 'heads' | 'keyDim' | 'valueDim' | 'chunk' | 'bias' | 'momentum'>;
type Rates = Pick<Forward, 'theta' | 'scale' | 'alpha' | 'eta'>;
type Norm = { weight: Numbers; bias: Numbers } | null;

/** Where a chunk's operands lie. */
interface Place {
  /** Each token's row in an operand [tokens, heads, *]. */
  token(t: number): number;
  /** Among [sequences, chunks, heads]. */
  ordinal: number;
}

function placesOf(track: Track, { tokens, heads, chunk }: Sizes): Place[] {
  const chunks = tokens / chunk;
  const sequence = (track.index - track.head) / heads;
  return Array.from({ length: chunks }, (_, c) => ({
    token: (t: number): number => track.row(c * chunk + t),
    ordinal: (sequence * chunks + c) * heads + track.head,
  }));
}

/** Rows of an operand [tokens, heads, width], with a 1 behind each where there is a bias. */
function fetch(x: Floats, { token }: Place, count: number, width: number, bias = 0): Block {
  const to = block(count, width + bias);
  for (let t = 0; t < count; t++) {
    to.data.set(x.subarray(token(t) * width, (token(t) + 1) * width), t * (width + bias));
    if (bias) to.data[t * (width + bias) + width] = 1;
  }
  return to;
}

/** The first `width` columns to rows of such an operand. */
function save(x: Floats, { token }: Place, from: Block, width = from.columns): void {
  const { columns } = from;
  for (let t = 0; t < from.rows; t++) {
    x.set(from.data.subarray(t * columns, t * columns + width), token(t) * width);
  }
}

/** What the gradients of tokens, S and W before the chunk (columns, in this order) are to what each token (row) finds. */
interface Course {
  toWeights: Block;
  toMomentum: Block;
}

interface Gates {
  theta: Numbers;
  scale: Numbers;
  kept: Numbers;
  eta: Numbers;
}

function gatesOf(rates: Rates, { momentum }: Sizes, place: Place, C: number): Gates {
  const own = (x: Floats | null): Numbers => Float64Array.from({ length: C }, (_, t) => x?.[place.token(t)] ?? 0);
  const [scale, alpha, eta] = [rates.scale, rates.alpha, rates.eta].map(maybe);
  return {
    theta: own(floats(rates.theta)),
    scale: own(momentum ? null : scale),
    kept: own(momentum ? alpha : null).map((x) => 1 - x),
    eta: own(momentum ? eta : null),
  };
}

/** Row t + factor t times row t - 1, that before the first being 1 in the column `unit`. */
function recur(x: Block, factor: Numbers, unit: number): Block {
  const y = map(x, (at) => x.data[at]);
  const { columns } = x;
  y.data[unit] += factor[0];
  for (let at = columns; at < y.data.length; at++) {
    y.data[at] += factor[Math.floor(at / columns)] * y.data[at - columns];
  }
  return y;
}

/** Its way back: row t + factor t + 1 times row t + 1. */
function recurBack(x: Block, factor: Numbers): Block {
  const y = map(x, (at) => x.data[at]);
  const { columns } = x;
  for (let at = y.data.length - columns - 1; at >= 0; at--) {
    y.data[at] += factor[Math.floor(at / columns) + 1] * y.data[at + columns];
  }
  return y;
}

function courseOf({ theta, scale, kept, eta }: Gates, momentum: number): Course {
  const C = theta.length;
  const none = block(C, C + 2);
  if (!momentum) {
    const toWeights = map(none, (_, t, s) => (s === C + 1 ? 1 : s <= t ? -scale[t] * theta[s] : 0));
    return { toWeights, toMomentum: none };
  }
  const toMomentum = recur(
    map(none, (_, t, s) => (s === t ? -theta[t] : 0)),
    eta,
    C,
  );
  return { toMomentum, toWeights: recur(toMomentum, kept, C + 1) };
}

const columnOf = (x: Block, column: number): Numbers =>
  Float64Array.from({ length: x.rows }, (_, t) => x.data[t * x.columns + column]);
const lastRow = (x: Block): Numbers => x.data.subarray((x.rows - 1) * x.columns);
/** The columns of tokens. */
const ofTokens = (x: Block): Block => map(block(x.rows, x.rows), (_, t, s) => x.data[t * x.columns + s]);
/** Rows times numbers. */
const scaled = (x: Block, by: Numbers): Block => map(x, (at, t) => x.data[at] * by[t]);
const plus = (y: Block, x: Block): void => x.data.forEach((value, at) => (y.data[at] += value));
const alongRows = (a: Block, b: Block): Numbers => sumsOf(a, (at) => a.data[at] * b.data[at]);

/** (y - mean y - x mean (y x)) deviation, row by row: through the layer norm that gave x. */
function throughNorm(y: Block, x: Block, deviation: Numbers): Block {
  const [mean, along] = [sumsOf(y, (at) => y.data[at]), alongRows(y, x)];
  return map(y, (at, t) => (y.data[at] - (mean[t] + x.data[at] * along[t]) / y.columns) * deviation[t]);
}

/** Rows less their mean, times `deviation`, 1 over the root of their variance and eps. */
function normalised(z: Block, eps: number): { x: Block; deviation: Numbers } {
  const { columns: V } = z;
  const mean = sumsOf(z, (at) => z.data[at]);
  const centred = map(z, (at, t) => z.data[at] - mean[t] / V);
  const deviation = alongRows(centred, centred).map((sum) => 1 / Math.sqrt(sum / V + eps));
  return { x: scaled(centred, deviation), deviation };
}

/** The gradients of the chunk's tokens, and what their own way back needs. */
function gradientOf(k: Block, target: Block, W: Block, norm: Norm, eps: number) {
  const z = multiply(k, W);
  if (!norm) return { g: map(z, (at) => z.data[at] - target.data[at]), normed: null };
  const { x, deviation } = normalised(z, eps);
  const residual = map(x, (at, t, i) => {
    const normed = x.data[at] * norm.weight[i] + norm.bias[i];
    return k.data[t * k.columns + i] + normed - target.data[at];
  });
  const e = map(x, (at, _, i) => residual.data[at] * norm.weight[i]);
  return { g: throughNorm(e, x, deviation), normed: { x, e, residual, deviation } };
}

/** LN o and what stands beside it, of V columns at least. */
function outputOf(o: Block, beside: Block, norm: NonNullable<Norm>, eps: number): Block {
  const { x } = normalised(o, eps);
  return map(x, (at, t, i) => x.data[at] * norm.weight[i] + norm.bias[i] + beside.data[t * beside.columns + i]);
}

/** From the gradient of such outputs to that of o, but for what stands beside; adds those of weight and bias. */
function outputBack(
  dy: Block,
  o: Block,
  norm: NonNullable<Norm>,
  eps: number,
  dweight: Numbers,
  dbias: Numbers,
): Block {
  const { x, deviation } = normalised(o, eps);
  const dx = map(dy, (at, _, i) => {
    dweight[i] += dy.data[at] * x.data[at];
    dbias[i] += dy.data[at];
    return dy.data[at] * norm.weight[i];
  });
  return throughNorm(dx, x, deviation);
}

export function linearLearner(args: Forward): void {
  const { chunk: C, keyDim: K, valueDim: V, bias, momentum, addsRead, eps } = args;
  const size = (K + bias) * V;
  const [q, k, target] = [args.q, args.k, args.target].map(floats);
  const [initial, output, final] = [args.initialState, args.output, args.finalState].map(floats);
  const [weights, biases] = [args.normWeight, args.normBias].map(maybe);
  const [initialMomentum, finalMomentum] = [args.initialMomentum, args.finalMomentum].map(maybe);
  const [states, reads] = [args.states, args.reads].map(maybe);
  eachTrack({ ...args, offsets: null }, ({ index, head, ...track }) => {
    let W = rows(numbers(initial, index * size, size), V);
    let S = momentum ? rows(numbers(initialMomentum!, index * size, size), V) : null;
    const norm = weights && { weight: numbers(weights, head * V, V), bias: numbers(biases!, head * V, V) };
    for (const place of placesOf({ index, head, ...track }, args)) {
      const kept = place.ordinal * (1 + momentum) * size;
      states?.set(W.data, kept);
      if (S) states?.set(S.data, kept + size);
      const [queries, keys] = [fetch(q, place, C, K, bias), fetch(k, place, C, K, bias)];
      const { g } = gradientOf(keys, fetch(target, place, C, V), W, norm, eps);
      const { toWeights, toMomentum } = courseOf(gatesOf(args, args, place, C), momentum);
      const scores = multiply(queries, transposed(keys));
      const mix = ofTokens(toWeights);
      const o = multiply(scaled(queries, columnOf(toWeights, C + 1)), W);
      if (S) add(o, scaled(queries, columnOf(toWeights, C)), S);
      add(
        o,
        map(mix, (at) => scores.data[at] * mix.data[at]),
        g,
      );
      if (reads) save(reads, place, o);
      save(output, place, norm ? outputOf(o, addsRead ? o : queries, norm, eps) : o);
      const after = (row: Numbers): Block => {
        const next = map(W, (at) => row[C + 1] * W.data[at] + (S ? row[C] * S.data[at] : 0));
        add(next, transposed(scaled(keys, row)), g);
        return next;
      };
      const next = after(lastRow(toWeights));
      if (S) S = after(lastRow(toMomentum));
      W = next;
    }
    final.set(W.data, index * size);
    if (S) finalMomentum!.set(S.data, index * size);
  });
}

/** The gradients of K W and of the target from that of G; adds those of the norm's weight and bias. */
function gradientBack(
  dg: Block,
  { g, normed }: ReturnType<typeof gradientOf>,
  norm: Norm,
  dweight: Numbers,
  dbias: Numbers,
): { dz: Block; dtarget: Block } {
  if (!normed || !norm) return { dz: dg, dtarget: map(dg, (at) => -dg.data[at]) };
  const { x, e, residual, deviation } = normed;
  const { columns: V } = x;
  const de = throughNorm(dg, x, deviation);
  const [ex, gx, gg] = [alongRows(e, x), alongRows(dg, x), alongRows(dg, g)];
  const dresidual = map(de, (at, _, i) => de.data[at] * norm.weight[i]);
  const dx = map(de, (at, t, i) => {
    dweight[i] += de.data[at] * (norm.weight[i] * x.data[at] + residual.data[at]);
    dbias[i] += dresidual.data[at];
    const direct = ((dg.data[at] * ex[t] + e.data[at] * gx[t]) / V) * deviation[t];
    return dresidual.data[at] * norm.weight[i] - direct;
  });
  const through = throughNorm(dx, x, deviation);
  return {
    dz: map(through, (at, t) => through.data[at] - ((x.data[at] * gg[t]) / V) * deviation[t]),
    dtarget: map(dresidual, (at) => -dresidual.data[at]),
  };
}

type GateGradients = Partial<Record<keyof Rates, Numbers>>;

/** From the gradients of the course's rows and of what the momentum after the chunk is, to those of the rates. */
function courseBack(
  dtoWeights: Block,
  dheld: Numbers,
  { theta, scale, kept, eta }: Gates,
  { toWeights, toMomentum }: Course,
  momentum: number,
): GateGradients {
  const C = theta.length;
  const columns = C + 2;
  if (!momentum) {
    const own = map(ofTokens(dtoWeights), (_, t, s) => (s <= t ? -dtoWeights.data[t * columns + s] : 0));
    const dtheta = new Float64Array(C);
    const dscale = sumsOf(own, (at) => own.data[at] * theta[at % C]);
    own.data.forEach((d, at) => (dtheta[at % C] += d * scale[Math.floor(at / C)]));
    return { theta: dtheta, scale: dscale };
  }
  /** For each factor, the row that it multiplied times the gradient of the row that it went to. */
  const factors = (d: Block, course: Block, unit: number): Numbers =>
    Float64Array.from({ length: C }, (_, t) => {
      if (t === 0) return d.data[unit];
      let sum = 0;
      for (let s = 0; s < columns; s++) sum += course.data[(t - 1) * columns + s] * d.data[t * columns + s];
      return sum;
    });
  const ofWeights = recurBack(dtoWeights, kept);
  const dmomentum = map(ofWeights, (at, t, s) => ofWeights.data[at] + (t === C - 1 && s <= C ? dheld[s] : 0));
  const ofMomentum = recurBack(dmomentum, eta);
  return {
    theta: Float64Array.from({ length: C }, (_, t) => -ofMomentum.data[t * columns + t]),
    alpha: factors(ofWeights, toWeights, C + 1).map((d) => -d),
    eta: factors(ofMomentum, toMomentum, C),
  };
}

export function linearLearnerBackward(args: Backward): void {
  const { chunk: C, keyDim: K, valueDim: V, bias, momentum, addsRead, eps } = args;
  const size = (K + bias) * V;
  const [q, k, target, states] = [args.q, args.k, args.target, args.states].map(floats);
  const [weights, biases, reads] = [args.normWeight, args.normBias, args.reads].map(maybe);
  const dfinalMomentum = maybe(args.dfinalMomentum);
  const [doutput, dfinal] = [args.doutput, args.dfinalState].map(floats);
  const [dq, dk, dtarget, dinitial] = [args.dq, args.dk, args.dtarget, args.dinitialState].map(floats);
  const dgates = {
    ...{ theta: floats(args.dtheta), scale: maybe(args.dscale) },
    ...{ alpha: maybe(args.dalpha), eta: maybe(args.deta) },
  };
  const inner = (a: Block, b: Block): number => a.data.reduce((sum, x, at) => sum + x * b.data[at], 0);
  eachTrack({ ...args, offsets: null }, ({ index, head, ...track }) => {
    let dW = rows(numbers(dfinal, index * size, size), V);
    let dS = momentum ? rows(numbers(dfinalMomentum!, index * size, size), V) : null;
    const norm = weights && { weight: numbers(weights, head * V, V), bias: numbers(biases!, head * V, V) };
    const [dweight, dbias] = [new Float64Array(V), new Float64Array(V)];
    for (const place of placesOf({ index, head, ...track }, args).reverse()) {
      const before = place.ordinal * (1 + momentum) * size;
      const W = rows(numbers(states, before, size), V);
      const S = momentum ? rows(numbers(states, before + size, size), V) : null;
      const [queries, keys] = [fetch(q, place, C, K, bias), fetch(k, place, C, K, bias)];
      const result = gradientOf(keys, fetch(target, place, C, V), W, norm, eps);
      const { g } = result;
      const gates = gatesOf(args, args, place, C);
      const course = courseOf(gates, momentum);
      const [lastW, lastS] = [course.toWeights, course.toMomentum].map(lastRow);
      const dy = fetch(doutput, place, C, V);
      const o = norm ? outputBack(dy, fetch(reads!, place, C, V), norm, eps, dweight, dbias) : dy;
      if (norm && addsRead) plus(o, dy);
      const scores = multiply(queries, transposed(keys));
      const mix = ofTokens(course.toWeights);
      const [keep, carry] = [columnOf(course.toWeights, C + 1), columnOf(course.toWeights, C)];

      // What reads G: outputs and the states after the chunk.
      const dg = multiply(transposed(map(mix, (at) => scores.data[at] * mix.data[at])), o);
      const dkeys = block(C, K + bias);
      const written = (d: Block, last: Numbers): Numbers => {
        add(dg, scaled(keys, last), d);
        const own = multiply(g, transposed(d));
        plus(dkeys, scaled(own, last));
        return alongRows(own, keys);
      };
      const dlastW = written(dW, lastW);
      const dheld = new Float64Array(C + 1);
      if (dS && S) dheld.set([...written(dS, lastS), inner(S, dS)]);

      // Scores, and what queries read of the states before the chunk.
      const dmixed = multiply(o, transposed(g));
      const dscores = map(mix, (at) => dmixed.data[at] * mix.data[at]);
      const dqueries = multiply(dscores, keys);
      add(dkeys, transposed(dscores), queries);
      const read = (state: Block | null, factor: Numbers): Numbers => {
        if (!state) return new Float64Array(C);
        const own = multiply(o, transposed(state));
        plus(dqueries, scaled(own, factor));
        const d = alongRows(own, queries);
        d[C - 1] += inner(state, dW);
        return d;
      };
      const [dcarry, dkeep] = [read(S, carry), read(W, keep)];
      const beside = norm && !addsRead ? dy : null;
      save(
        dq,
        place,
        beside ? map(beside, (at, t, i) => beside.data[at] + dqueries.data[t * (K + bias) + i]) : dqueries,
        K,
      );
      const dcourse = map(course.toWeights, (_, t, s) => {
        if (s >= C) return s === C ? dcarry[t] : dkeep[t];
        return dmixed.data[t * C + s] * scores.data[t * C + s] + (t === C - 1 ? dlastW[s] : 0);
      });
      for (const [name, d] of Object.entries(courseBack(dcourse, dheld, gates, course, momentum))) {
        d.forEach((x, t) => (dgates[name as keyof Rates]![place.token(t)] = x));
      }

      const { dz, dtarget: own } = gradientBack(dg, result, norm, dweight, dbias);
      save(dtarget, place, own);
      // k stands in the loss itself, too.
      if (norm) own.data.forEach((d, at) => (dkeys.data[Math.floor(at / V) * (K + bias) + (at % V)] -= d));
      add(dkeys, dz, transposed(W));
      save(dk, place, dkeys, K);

      const [afterW, afterS] = [dW, dS];
      if (afterS) {
        dS = map(afterS, (at) => lastS[C] * afterS.data[at] + lastW[C] * afterW.data[at]);
        add(dS, transposed(scaled(queries, carry)), o);
      }
      dW = map(afterW, (at) => lastW[C + 1] * afterW.data[at]);
      add(dW, transposed(scaled(queries, keep)), o);
      add(dW, transposed(keys), dz);
    }
    dinitial.set(dW.data, index * size);
    if (dS) maybe(args.dinitialMomentum)!.set(dS.data, index * size);
    maybe(args.dnormWeight)?.set(dweight, index * V);
    maybe(args.dnormBias)?.set(dbias, index * V);
  });
}
