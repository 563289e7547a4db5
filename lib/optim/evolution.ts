// Evolution strategies: parameters follow the ranks of random changes, without gradients.
import {
  argumentError,
  checkFunction,
  checkInteger,
  checkNumber,
  checkObject,
  checkOptions,
  describe,
  Generator,
  type OptionNames,
  scope,
  type Tensor,
  withGenerator,
} from '../core';
import { noGrad } from '../autograd';
import { cat, convert, randn, tensor, toFloat32 } from '../ops';
import { checkParameter, iterable, type Parameter } from './parameters';

/** Settings of `EvolutionStrategy`. */
export interface EvolutionSettings {
  /** P: members of a generation, an even number; 200. */
  populationSize: number;
  /** Deviation of the members from the parameters; 0.1. */
  sigma: number;
  /** Step size; 0.2. */
  lr: number;
  /** What the step size is multiplied by after a generation, as long as it is above 0.001; 0.995. */
  lrDecay: number;
  /** What sigma is multiplied by after a generation, as long as it is above 0.01; 0.999. */
  sigmaDecay: number;
  /** How much of its mean square a member's fitness loses; 0.01. */
  penalty: number;
  /** Of all random numbers; 0. */
  seed: number;
}

/** What `loadState` needs to go on: plain numbers, beside the parameters, which are the model's to save. */
export interface EvolutionState {
  /** Generations that were told. */
  generation: number;
  /** Step size of the next. */
  lr: number;
  /** Deviation of the next. */
  sigma: number;
  /** Of all random numbers. */
  seed: number;
}

const DEFAULTS: EvolutionSettings = {
  populationSize: 200,
  sigma: 0.1,
  lr: 0.2,
  lrDecay: 0.995,
  sigmaDecay: 0.999,
  penalty: 0.01,
  seed: 0,
};
const SETTINGS = Object.fromEntries(
  Object.keys(DEFAULTS).map((name) => [name, true]),
) as OptionNames<EvolutionSettings>;
const STATE: OptionNames<EvolutionState> = { generation: true, lr: true, sigma: true, seed: true };

const LEAST_RATE = 0.001;
const LEAST_SIGMA = 0.01;

/** Streams of random numbers that a generation may take, one for each parameter. */
const STREAMS = 2 ** 20;

/**
 * The evolution strategy of Salimans et al. 2017 with mirrored samples and centred ranks, as Najarro, Risi 2020 train
 * Hebbian rules by it (`evolution_strategy_hebb.py`; spec 2.10), whose settings are the defaults. Members 2 i and 2 i + 1
 * of a generation are the parameters plus and minus sigma times the same noise N(0, 1). Ranks of their fitness, those of
 * equal ones their mean, are brought to mean 0 and deviation 1; the parameters then move by lr / (P sigma) times the sum of
 * the noises weighted by them. A larger fitness is better. The same seed gives the same bits in every run.
 *
 *     const es = new optim.EvolutionStrategy(model.namedParameters(), { seed: 1 });
 *     es.tell(Array.from({ length: es.populationSize }, (_, i) => es.withMember(i, () => fitnessOf(model))));
 */
export class EvolutionStrategy {
  /** P: members of a generation. */
  readonly populationSize: number;
  /** Step size. */
  lr: number;
  /** Deviation of the members from the parameters. */
  sigma: number;
  /** Generations that were told. */
  generation = 0;
  private seed: number;
  private readonly settings: EvolutionSettings;
  private readonly named: readonly (readonly [name: string, parameter: Tensor])[];

  /** Over `model.parameters()` or `model.namedParameters()`. */
  constructor(parameters: Iterable<Parameter>, settings: Partial<EvolutionSettings> = {}) {
    const where = 'EvolutionStrategy';
    checkOptions(where, settings, SETTINGS as OptionNames<Partial<EvolutionSettings>>);
    const given = Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined));
    const all: EvolutionSettings = { ...DEFAULTS, ...given };
    checkInteger(where, 'populationSize', all.populationSize, 2);
    if (all.populationSize % 2 === 1) {
      throw argumentError('INVALID_ARGUMENT', where, 'populationSize', 'even', String(all.populationSize));
    }
    checkNumber(where, 'lr', all.lr, 0);
    checkNumber(where, 'sigma', all.sigma, Number.MIN_VALUE);
    checkNumber(where, 'lrDecay', all.lrDecay, 0, 1);
    checkNumber(where, 'sigmaDecay', all.sigmaDecay, Number.MIN_VALUE, 1);
    checkNumber(where, 'penalty', all.penalty, 0);
    this.seed = checkInteger(where, 'seed', all.seed);
    [this.populationSize, this.lr, this.sigma] = [all.populationSize, all.lr, all.sigma];
    this.settings = all;
    this.named = [...iterable(where, 'parameters', parameters)].map((item, i) => checkParameter(where, item, i));
    if (this.named.length === 0) {
      throw argumentError('INVALID_ARGUMENT', where, 'parameters', 'one at least', 'none');
    }
  }

  /** The noises [P / 2, ...] of this generation for the parameter at a place, float32 beside bfloat16. */
  private noiseOf(place: number): Tensor {
    const [, { shape, dtype, device }] = this.named[place];
    const stream = this.generation * STREAMS + place;
    return withGenerator(new Generator(this.seed, stream), () =>
      randn([this.populationSize / 2, ...shape], { device, dtype: dtype === 'float64' ? dtype : 'float32' }),
    );
  }

  /** All members of this generation: [P, ...] for each parameter by its name, float32 beside bfloat16. */
  ask(): Record<string, Tensor> {
    const { sigma } = this;
    return noGrad(() =>
      scope(() =>
        Object.fromEntries(
          this.named.map(([name, parameter], place) => {
            const noise = this.noiseOf(place).mul(sigma).unsqueeze(1);
            const pairs = cat([noise, noise.neg()], 1).add(toFloat32(parameter.detach()));
            return [name, pairs.reshape(this.populationSize, ...parameter.shape)];
          }),
        ),
      ),
    );
  }

  /** Runs the synchronous function `fn` while the parameters have the values of member `i`, and returns what it returns. */
  withMember<T>(i: number, fn: () => T): T {
    const where = 'EvolutionStrategy.withMember';
    checkInteger(where, 'i', i, 0, this.populationSize - 1);
    checkFunction(where, 'fn', fn);
    const before = this.named.map(([, parameter]) => noGrad(() => parameter.detach().clone()));
    const put = (place: number, values: Tensor): void => {
      const [, parameter] = this.named[place];
      noGrad(() => parameter.copy_(convert(values, parameter.device, parameter.dtype)));
    };
    try {
      noGrad(() =>
        scope(() =>
          this.named.forEach(([, parameter], place) => {
            const noise = this.noiseOf(place).select(0, i >> 1);
            const change = noise.mul(i % 2 === 0 ? this.sigma : -this.sigma);
            put(place, toFloat32(parameter.detach()).add(change));
          }),
        ),
      );
      return fn();
    } finally {
      before.forEach((values, place) => scope(() => put(place, values)));
      before.forEach((values) => values.dispose());
    }
  }

  /** Moves the parameters by the fitness of all members, one finite number each, and goes on to the next generation. */
  tell(fitness: ArrayLike<number>): void {
    const where = 'EvolutionStrategy.tell';
    const { populationSize: P, sigma, lr } = this;
    const found = typeof fitness === 'object' && fitness !== null && typeof fitness.length === 'number';
    if (!found || fitness.length !== P) {
      const size = found ? `${fitness.length} numbers` : describe(fitness);
      throw argumentError('INVALID_ARGUMENT', where, 'fitness', `${P} numbers, one a member`, size);
    }
    const values = Array.from(fitness, (value, i) => checkNumber(where, `fitness[${i}]`, value));
    noGrad(() =>
      scope(() => {
        const penalized = this.penalized(values);
        const ranks = standardRanks(penalized);
        const weights = Array.from({ length: P / 2 }, (_, i) => ranks[2 * i] - ranks[2 * i + 1]);
        this.named.forEach(([, parameter], place) => {
          const noise = this.noiseOf(place);
          const like = { device: parameter.device, dtype: noise.dtype };
          const row = tensor(weights, { ...like, shape: [1, P / 2] });
          const sum = row.matmul(noise.reshape(P / 2, parameter.size)).reshape(parameter.shape);
          const moved = toFloat32(parameter.detach()).add(sum.mul(lr / (P * sigma)));
          parameter.copy_(convert(moved, parameter.device, parameter.dtype));
        });
      }),
    );
    this.generation++;
    if (lr > LEAST_RATE) this.lr *= this.settings.lrDecay;
    if (sigma > LEAST_SIGMA) this.sigma *= this.settings.sigmaDecay;
  }

  /** Less `penalty` times the mean square of each member over all parameters. */
  private penalized(fitness: readonly number[]): number[] {
    const { penalty } = this.settings;
    if (penalty === 0) return [...fitness];
    const members = Object.values(this.ask());
    const squares = new Float64Array(fitness.length);
    let size = 0;
    for (const t of members) {
      size += t.size / fitness.length;
      t.reshape(fitness.length, t.size / fitness.length)
        .square()
        .sum(1)
        .dataSync()
        .forEach((s, i) => (squares[i] += s));
    }
    return fitness.map((value, i) => value - (penalty * squares[i]) / size);
  }

  /** Plain numbers that let another one over the same parameters go on bit for bit. */
  state(): EvolutionState {
    const { generation, lr, sigma, seed } = this;
    return { generation, lr, sigma, seed };
  }

  /** Takes over a state; the parameters must have their values already. */
  loadState(state: EvolutionState): void {
    const where = 'EvolutionStrategy.loadState';
    checkObject(where, 'state', state);
    checkOptions(where, state, STATE);
    const generation = checkInteger(where, 'generation', state.generation);
    const lr = checkNumber(where, 'lr', state.lr, 0);
    const sigma = checkNumber(where, 'sigma', state.sigma, Number.MIN_VALUE);
    const seed = checkInteger(where, 'seed', state.seed);
    Object.assign(this, { generation, lr, sigma, seed });
  }
}

/** Ranks with mean 0 and deviation 1; of equal values their mean; zeros where all are equal. */
function standardRanks(values: readonly number[]): number[] {
  const order = values.map((_, i) => i).sort((a, b) => values[a] - values[b]);
  const ranks = new Array<number>(values.length);
  for (let from = 0; from < order.length;) {
    let to = from;
    while (to < order.length && values[order[to]] === values[order[from]]) to++;
    for (let i = from; i < to; i++) ranks[order[i]] = (from + to - 1) / 2;
    from = to;
  }
  const mean = (values.length - 1) / 2;
  const deviation = Math.sqrt(ranks.reduce((sum, rank) => sum + (rank - mean) ** 2, 0) / ranks.length);
  return ranks.map((rank) => (deviation === 0 ? 0 : (rank - mean) / deviation));
}
