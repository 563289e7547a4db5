// Agents with a memory under one interface: they act step by step, and learn from whole episodes.
import type { Device, Tensor } from '../core';
import {
  FakeSelfReferentialLayer,
  FastWeightMemoryCell,
  FeedForwardSublayer,
  type MemoryState,
  SelfReferentialLayer,
} from '../models';
import { Linear, LSTM, Module, ModuleList, PlasticRnn, RNN } from '../nn';

const HEADS = 4;

/** A memory: x [B, T, I] to an output [B, T, D], and the same a token at a time. */
interface Memory extends Module {
  forward(x: Tensor): { output: Tensor };
  step(x: Tensor, state: unknown): Tensor;
  initialState(batch: number): unknown;
}

/** Two self-referential sublayers, a feed-forward one behind each; with `fake` the control that does not modify itself. */
class SelfReferentialStack extends Module {
  readonly projection: Linear;
  readonly layers: ModuleList<SelfReferentialLayer | FakeSelfReferentialLayer>;
  readonly feedForward: ModuleList<FeedForwardSublayer>;

  constructor(inputSize: number, hiddenSize: number, fake: boolean, device: Device) {
    super();
    const options = { arrangement: 'residualNormed', device } as const;
    this.projection = new Linear(inputSize, hiddenSize, { device });
    const layer = (): SelfReferentialLayer | FakeSelfReferentialLayer =>
      fake
        ? new FakeSelfReferentialLayer(hiddenSize, HEADS, options)
        : new SelfReferentialLayer(hiddenSize, HEADS, options);
    this.layers = new ModuleList([layer(), layer()]);
    const between = (): FeedForwardSublayer => new FeedForwardSublayer(hiddenSize, 2 * hiddenSize, { device });
    this.feedForward = new ModuleList([between(), between()]);
  }

  forward(x: Tensor): { output: Tensor } {
    return { output: this.through(x, (layer, y) => layer.forward(y).output) };
  }

  step(x: Tensor, states: readonly MemoryState[]): Tensor {
    return this.through(x, (layer, y, i) => layer.step(y, states[i]));
  }

  initialState(batch: number): MemoryState[] {
    return [...this.layers].map((layer) => layer.initialState(batch));
  }

  private through(
    x: Tensor,
    memory: (layer: SelfReferentialLayer | FakeSelfReferentialLayer, x: Tensor, i: number) => Tensor,
  ): Tensor {
    const [layers, between] = [[...this.layers], [...this.feedForward]];
    return layers.reduce((y, layer, i) => between[i].forward(memory(layer, y, i)), this.projection.forward(x));
  }
}

/** The memories of agents by name, D units wide. */
export const MEMORIES = {
  srwm: (I: number, D: number, device: Device) => new SelfReferentialStack(I, D, false, device),
  'srwm that does not modify itself': (I: number, D: number, device: Device) =>
    new SelfReferentialStack(I, D, true, device),
  backpropamine: (I: number, D: number, device: Device) =>
    new PlasticRnn(I, D, { rule: 'modulated', fanout: true, clip: 2, device }),
  'backpropamine, retroactive': (I: number, D: number, device: Device) =>
    new PlasticRnn(I, D, { rule: 'retroactive', device }),
  'differentiable plasticity': (I: number, D: number, device: Device) => new PlasticRnn(I, D, { rule: 'hebb', device }),
  'fast weight memory': (I: number, D: number, device: Device) =>
    new FastWeightMemoryCell(I, D, { memorySize: 16, device }),
  lstm: (I: number, D: number, device: Device) => new LSTM(I, D, { device }),
  rnn: (I: number, D: number, device: Device) => new RNN(I, D, { device }),
} satisfies Record<string, (inputSize: number, hiddenSize: number, device: Device) => Module>;

/** A memory, and what it says: a logit of every action, and what reward it expects. */
export class MazeAgent extends Module {
  readonly memory: Memory;
  readonly head: Linear;

  constructor(
    name: keyof typeof MEMORIES,
    inputSize: number,
    readonly actions: number,
    { hiddenSize, device }: { hiddenSize: number; device: Device },
  ) {
    super();
    this.memory = MEMORIES[name](inputSize, hiddenSize, device);
    this.head = new Linear(hiddenSize, actions + 1, { device });
  }

  /** x [B, T, I]: logits [B, T, actions] and values [B, T]. */
  forward(x: Tensor): { logits: Tensor; values: Tensor } {
    const said = this.head.forward(this.memory.forward(x).output);
    return { logits: said.slice(2, 0, this.actions), values: said.select(2, this.actions) };
  }

  /** x [B, I] to logits [B, actions]; the state changes in place. Only inside noGrad. */
  step(x: Tensor, state: unknown): Tensor {
    return this.head.forward(this.memory.step(x, state)).slice(1, 0, this.actions);
  }
}
