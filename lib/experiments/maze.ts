// A small maze by actor-critic (spec 3.12, 2.5, 2.8, 2.10): whether memories that are written while the agent walks help it
// to come back to a reward that it found.
import { breathe } from '../platform';
import { HostRandom, scope, type Tensor, withSeed } from '../core';
import { noGrad } from '../autograd';
import { GridMaze } from '../data';
import { logSoftmax, tensor } from '../ops';
import type { Claim, Example, Experiment, Findings, TrialContext, TrialModel, TrialResult } from './experiment';
import { fit } from './fit';
import { MazeAgent, MEMORIES } from './mazeAgents';
import { mean, trialsOf } from './results';

/** Rewards per episode: of evaluation episodes, in their first and second half, and while training, every 10 episodes. */
type Found = { rewards: number; halves: [number, number]; curve: number[] };

const RANDOM = 'random walk';
const QUICK = [RANDOM, 'srwm'];

interface Sizes {
  size: number;
  steps: number;
  batchSize: number;
  episodes: number;
  hiddenSize: number;
  learningRate: number;
}

const sizesOf = (quick: boolean): Sizes => {
  const common = { batchSize: 64, hiddenSize: 32, learningRate: 1e-2 };
  return quick ? { ...common, size: 5, steps: 40, episodes: 70 } : { ...common, size: 7, steps: 60, episodes: 600 };
};

const EVALUATED = 5;
const DISCOUNT = 0.9;
const VALUE_WEIGHT = 0.5;
const ENTROPY_WEIGHT = 0.03;
/** Of the random numbers by which moves are drawn; mazes have those above. */
const STREAM = 2 ** 47;

/** What happened in an episode: [B, T] of each, but for observations [B, T, I]. */
interface Episode {
  observations: Float32Array;
  moves: Int32Array;
  rewards: Float32Array;
}

type Policy = (observations: Float32Array) => ArrayLike<number>;

function walk(maze: GridMaze, first: Float32Array, choose: Policy): Episode {
  const { batchSize: B, steps: T, inputSize: I } = maze;
  const episode = {
    observations: new Float32Array(B * T * I),
    moves: new Int32Array(B * T),
    rewards: new Float32Array(B * T),
  };
  let seen = first;
  for (let t = 0; t < T; t++) {
    const moves = choose(seen);
    const next = maze.step(moves);
    for (let b = 0; b < B; b++) {
      episode.observations.set(seen.subarray(b * I, (b + 1) * I), (b * T + t) * I);
      episode.moves[b * T + t] = moves[b];
      episode.rewards[b * T + t] = next.rewards[b];
    }
    seen = next.observations;
  }
  return episode;
}

/** A move from the probabilities of each walker. */
function draw(logits: ArrayLike<number>, actions: number, random: HostRandom): Int32Array {
  return Int32Array.from({ length: logits.length / actions }, (_, b) => {
    const own = Array.from({ length: actions }, (__, a) => logits[b * actions + a]);
    const most = Math.max(...own);
    const weights = own.map((logit) => Math.exp(logit - most));
    let rest = random.next() * weights.reduce((x, y) => x + y, 0);
    const chosen = weights.findIndex((weight) => (rest -= weight) < 0);
    return chosen < 0 ? actions - 1 : chosen;
  });
}

/** What the agent does in an episode; its memory begins empty and is carried through it. */
function policyOf(agent: MazeAgent, maze: GridMaze, random: HostRandom, device: TrialContext['device']): Policy {
  const { batchSize, inputSize } = maze;
  const state = agent.memory.initialState(batchSize);
  return (observations) => {
    const x = tensor(observations, { shape: [batchSize, inputSize], device });
    return draw(noGrad(() => agent.step(x, state)).dataSync(), maze.actions, random);
  };
}

/** Rewards that follow, discounted by 0.9 a step: [B, T]. */
function returnsOf(rewards: Float32Array, T: number): Float32Array {
  const returns = Float32Array.from(rewards);
  for (let at = returns.length - 1; at >= 0; at--) if (at % T < T - 1) returns[at] += DISCOUNT * returns[at + 1];
  return returns;
}

/** Of advantage actor-critic, through the whole episode. */
function lossOf(agent: MazeAgent, maze: GridMaze, episode: Episode, device: TrialContext['device']): Tensor {
  const [B, T] = [maze.batchSize, maze.steps];
  const { logits, values } = agent.forward(tensor(episode.observations, { shape: [B, T, maze.inputSize], device }));
  const returns = tensor(returnsOf(episode.rewards, T), { shape: [B, T], device });
  const moves = tensor(episode.moves, { shape: [B, T, 1], dtype: 'int32', device });
  const errors = returns.sub(values);
  const logs = logSoftmax(logits, -1);
  const gain = logs.gather(2, moves).squeeze(2).mul(errors.detach()).mean();
  const entropy = logs.exp().mul(logs).sum(-1).mean().neg();
  return errors.square().mean().mul(VALUE_WEIGHT).sub(gain).sub(entropy.mul(ENTROPY_WEIGHT));
}

/** Rewards per episode in a range of steps. */
function paid({ rewards }: Episode, maze: GridMaze, from = 0, to = maze.steps): number {
  const inRange = rewards.filter((_, at) => at % maze.steps >= from && at % maze.steps < to);
  return inRange.reduce((a, b) => a + b, 0) / maze.batchSize;
}

function agentOf(trial: string, maze: GridMaze, { seed, quick, device }: TrialModel): MazeAgent {
  const { hiddenSize } = sizesOf(quick);
  const name = trial as keyof typeof MEMORIES;
  return withSeed(seed, () => new MazeAgent(name, maze.inputSize, maze.actions, { hiddenSize, device }));
}

/** An episode of one walker: its moves, with a star for those that were paid. */
function example(trial: string, context: TrialModel): Example {
  const seed = context.seed + 4000;
  const { size, steps } = sizesOf(context.quick);
  const maze = new GridMaze({ seed, size, steps, batchSize: 1 });
  const model = agentOf(trial, maze, context);
  return {
    model,
    reading() {
      const policy = policyOf(model, maze, new HostRandom(seed, STREAM), context.device);
      const { observations, moves, rewards } = walk(maze, maze.reset(0), policy);
      const shape = [1, steps, maze.inputSize];
      return {
        tokens: Array.from(moves, (move, t) => `${'↑↓←→'[move]}${rewards[t] > 0 ? '★' : ''} `),
        read: () => void model.forward(tensor(observations, { shape, device: context.device })),
      };
    },
  };
}

async function run(trial: string, context: TrialContext): Promise<Found> {
  const { seed, quick, device } = context;
  const { size, steps, batchSize, episodes, learningRate } = sizesOf(quick);
  const maze = new GridMaze({ seed, size, steps, batchSize });
  const random = new HostRandom(seed, STREAM);
  const anywhere: Policy = () => Int32Array.from({ length: batchSize }, () => random.below(maze.actions));
  const curve: number[] = [];
  if (trial === RANDOM) return { ...(await evaluated(maze, () => anywhere)), curve };
  const agent = agentOf(trial, maze, context);
  try {
    await fit(
      agent.parameters(),
      {
        steps: episodes,
        learningRate,
        loss(step) {
          const episode = walk(maze, maze.reset(step), policyOf(agent, maze, random, device));
          if (step % 10 === 0) curve.push(paid(episode, maze));
          return lossOf(agent, maze, episode, device);
        },
      },
      context,
    );
    await context.keep(agent);
    return { ...(await evaluated(maze, () => policyOf(agent, maze, random, device))), curve };
  } finally {
    agent.dispose();
  }
}

async function evaluated(maze: GridMaze, policy: () => Policy): Promise<Omit<Found, 'curve'>> {
  const half = Math.floor(maze.steps / 2);
  const halves: [number, number] = [0, 0];
  for (let i = 0; i < EVALUATED; i++) {
    const episode = scope(() => walk(maze, maze.reset(i, true), policy()));
    halves[0] += paid(episode, maze, 0, half) / EVALUATED;
    halves[1] += paid(episode, maze, half) / EVALUATED;
    await breathe();
  }
  return { rewards: halves[0] + halves[1], halves };
}

type Results = readonly TrialResult<Found>[];

const rewardsOf = (results: Results, trial: string): number =>
  mean(results.flatMap((result) => (result.trial === trial ? [result.found.rewards] : [])));

function claims(results: Results): Claim[] {
  const trials = trialsOf(results);
  const claim = (text: string, better: string, worse: string, factor: number): Claim[] => {
    if (!trials.includes(better) || !trials.includes(worse)) return [];
    const [more, less] = [better, worse].map((trial) => rewardsOf(results, trial));
    const because = `${more.toFixed(2)} rewards per episode against ${less.toFixed(2)}`;
    return [{ text, holds: more >= factor * less, because }];
  };
  return [
    ...claim('The self-referential matrix collects three times what a random walk does', 'srwm', RANDOM, 3),
    ...claim('It collects more than one that does not modify itself', 'srwm', 'srwm that does not modify itself', 1.2),
    ...claim('Modulated plasticity collects more than a recurrent net without it', 'backpropamine', 'rnn', 1.2),
  ];
}

function findings(results: Results): Findings {
  const trials = trialsOf(results);
  const learning = results.filter(({ seed, found }) => seed === 1 && found.curve.length > 0);
  return {
    measures: Object.fromEntries(
      trials.map((trial) => {
        const own = results.filter((result) => result.trial === trial).map(({ found }) => found);
        const half = (i: number): string => mean(own.map(({ halves }) => halves[i])).toFixed(2);
        const rewards = rewardsOf(results, trial).toFixed(2);
        return [trial, { 'rewards per episode': rewards, 'in its first half': half(0), 'in its second half': half(1) }];
      }),
    ),
    charts: [
      {
        title: 'Rewards per episode while training, first seed',
        xLabel: 'batches of episodes',
        yLabel: 'rewards',
        series: learning.map(({ trial, found }) => ({
          name: trial,
          x: found.curve.map((_, i) => 10 * i),
          y: found.curve,
        })),
      },
    ],
    claims: claims(results),
  };
}

/** No published figure could be verified: the papers show curves of larger mazes and of millions of steps. */
export const mazeExperiment: Experiment<Found> = {
  name: 'maze',
  title: 'A maze by actor-critic: memories that are written while the agent walks',
  source:
    'Miconi et al., "Backpropamine" (ICLR 2019); Irie et al., "A modern self-referential weight matrix that learns to modify itself" (ICML 2022)',
  trials: (quick) => (quick ? QUICK : [RANDOM, ...Object.keys(MEMORIES)]),
  run,
  example,
  findings,
};
